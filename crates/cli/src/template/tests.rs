//! Tests of the module above: what it promises, as cases.

use super::*;
use api::json::Json;

fn typed() -> Value {
    let state = Value::record(
        "*container.State",
        vec![
            ("Status".into(), "running".into()),
            ("Running".into(), Value::Bool(true)),
            ("Pid".into(), Value::Int(4242)),
            ("Health".into(), Value::Nil),
        ],
        Some(Json::parse(br#"{"Status":"running","Running":true,"Pid":4242}"#).unwrap()),
    );
    let binding = |ip: &str, port: &str| {
        Value::record(
            "nat.PortBinding",
            vec![("HostIP".into(), ip.into()), ("HostPort".into(), port.into())],
            None,
        )
    };
    let ports = Value::map(
        vec![
            ("443/tcp".into(), Value::List(None)),
            ("80/tcp".into(), Value::list(vec![binding("0.0.0.0", "8080"), binding("::", "8080")])),
        ],
        false,
        Value::List(None),
    );
    let labels = Value::map(vec![("b".into(), "2".into()), ("a".into(), "1".into())], false, Value::from(""));
    Value::record(
        "types.ContainerJSON",
        vec![
            ("ID".into(), "0123456789abcdef".into()),
            ("Name".into(), "/web".into()),
            ("State".into(), state),
            ("Ports".into(), ports),
            ("Labels".into(), labels),
            ("NoLabels".into(), Value::map(vec![], true, Value::from(""))),
            ("Env".into(), Value::list(vec!["A=1".into(), "B=2".into()])),
            ("Binds".into(), Value::List(None)),
            ("Memory".into(), Value::Int(268435456)),
            ("Ratio".into(), Value::Float(1.5)),
            ("Privileged".into(), Value::Bool(false)),
        ],
        None,
    )
}

fn check(cases: &[(&str, &str)]) {
    let data = typed();
    for (source, want) in cases {
        let got = match Template::parse("", source) {
            Ok(template) => template.run(&data).unwrap_or_else(|e| format!("RUN {e}")),
            Err(e) => format!("PARSE {e}"),
        };
        assert_eq!(&got, want, "template {source}");
    }
}

#[test]
fn fields_and_printing() {
    check(&[
        ("", ""),
        ("plain", "plain"),
        ("{{.ID}}", "0123456789abcdef"),
        ("{{ .State.Pid }}", "4242"),
        ("{{.State.Running}} {{.Privileged}}", "true false"),
        ("{{.Env}}", "[A=1 B=2]"),
        ("{{.Binds}}", "[]"),
        ("{{.Labels}}", "map[a:1 b:2]"),
        ("{{.NoLabels}}", "map[]"),
        ("{{.Ports}}", "map[443/tcp:[] 80/tcp:[{0.0.0.0 8080} {:: 8080}]]"),
        ("{{.State}}", "{running true 4242 <nil>}"),
        ("{{.State.Health}}", "<nil>"),
        ("{{.Labels.a}}{{.Labels.zz}}", "1"),
        ("{{.Memory}} {{.Ratio}}", "268435456 1.5"),
        ("{{$.Name}}", "/web"),
        ("{{`raw \\n`}}|{{\"a\\tb\"}}|{{'x'}}|{{0x1F}}|{{1.5}}|{{true}}", "raw \\n|a\tb|120|31|1.5|true"),
        ("{{(.State).Pid}}", "4242"),
        (
            "{{.Foo}}",
            "RUN template: :1:2: executing \"\" at <.Foo>: can't evaluate field Foo in type types.ContainerJSON",
        ),
        (
            "{{.State.Foo}}",
            "RUN template: :1:8: executing \"\" at <.State.Foo>: can't evaluate field Foo in type *container.State",
        ),
        (
            "{{.Name.X}}",
            "RUN template: :1:7: executing \"\" at <.Name.X>: can't evaluate field X in type string",
        ),
        (
            "a\n{{.Foo}}",
            "RUN template: :2:2: executing \"\" at <.Foo>: can't evaluate field Foo in type types.ContainerJSON",
        ),
        (
            "{{.Name 1}}",
            "RUN template: :1:2: executing \"\" at <.Name>: Name has no arguments; it is a field but has arguments",
        ),
    ]);
}

#[test]
fn control_structures() {
    check(&[
        ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
        ("{{if .Privileged}}p{{else if .State.Running}}r{{else}}n{{end}}", "r"),
        ("{{if not .Privileged}}safe{{end}}", "safe"),
        ("{{with .State}}{{.Pid}}{{end}}", "4242"),
        ("{{with .State.Health}}x{{else}}none{{end}}", "none"),
        ("{{with .Binds}}x{{else with .Env}}{{index . 0}}{{end}}", "A=1"),
        ("{{range .Env}}[{{.}}]{{end}}", "[A=1][B=2]"),
        ("{{range $i, $e := .Env}}{{$i}}={{$e}};{{end}}", "0=A=1;1=B=2;"),
        ("{{range $k, $v := .Labels}}{{$k}}:{{$v}},{{end}}", "a:1,b:2,"),
        (
            "{{range $p, $c := .Ports}}{{$p}} -> {{range $c}}{{.HostPort}} {{end}}{{end}}",
            "443/tcp -> 80/tcp -> 8080 8080 ",
        ),
        ("{{range .Binds}}x{{else}}none{{end}}", "none"),
        ("{{range .Env}}{{.}}{{break}}{{end}}", "A=1"),
        ("{{range $i, $e := .Env}}{{if eq $i 0}}{{continue}}{{end}}{{$e}}{{end}}", "B=2"),
        ("{{range 3}}{{.}}{{end}}", "012"),
        ("{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}", "2"),
        ("{{$x := 1}}{{if true}}{{$x := 2}}{{end}}{{$x}}", "1"),
        ("{{define \"T\"}}<{{.}}>{{end}}{{template \"T\" .Name}}", "</web>"),
        ("{{block \"B\" .Name}}[{{.}}]{{end}}", "[/web]"),
        ("a {{- /* gone */ -}} b", "ab"),
        ("a {{/* gone */}} b", "a  b"),
        ("a {{- .Name -}} b", "a/webb"),
        ("a\n  {{- \"x\"}}\n", "ax\n"),
        (
            "{{range .Name}}{{end}}",
            "RUN template: :1:8: executing \"\" at <.Name>: range can't iterate over /web",
        ),
        (
            "{{template \"Q\"}}",
            "RUN template: :1:11: executing \"\" at <{{template \"Q\"}}>: template \"Q\" not defined",
        ),
    ]);
}

#[test]
fn functions_and_pipelines() {
    check(&[
        ("{{json .Env}}", "[\"A=1\",\"B=2\"]"),
        ("{{json .Labels}}", "{\"a\":\"1\",\"b\":\"2\"}"),
        ("{{json .State}}", "{\"Status\":\"running\",\"Running\":true,\"Pid\":4242}"),
        ("{{json .Binds}}", "null"),
        ("{{json \"a<b\"}}", "\"a<b\""),
        ("{{.State | json}}", "{\"Status\":\"running\",\"Running\":true,\"Pid\":4242}"),
        ("{{join .Env \",\"}}", "A=1,B=2"),
        ("{{upper .Name}} {{lower \"ABC\"}} {{title \"hello big world\"}}", "/WEB abc Hello Big World"),
        ("{{index (split .Name \"/\") 1}}", "web"),
        ("{{split \"a,b\" \",\"}}", "[a b]"),
        ("{{len .Env}} {{len .Name}} {{len .Labels}}", "2 4 2"),
        ("{{index .Env 1}} {{index .Labels \"a\"}}{{index .Labels \"zz\"}}", "B=2 1"),
        ("{{(index (index .Ports \"80/tcp\") 0).HostPort}}", "8080"),
        ("{{index .Ports \"81/tcp\"}}", "[]"),
        ("{{slice .ID 0 12}} {{slice .Env 1}}", "0123456789ab [B=2]"),
        ("{{truncate .ID 4}}|{{truncate \"ab\" 4}}|{{pad \"x\" 1 2}}|{{pad \"\" 1 2}}", "0123|ab| x  |"),
        (
            "{{printf \"%.12s|%5d|%-5d|%05d|%q\" .ID 42 42 42 .Name}}",
            "0123456789ab|   42|42   |00042|\"/web\"",
        ),
        (
            "{{printf \"%s %v %t %x %T\" .Env .Labels true 255 .Name}}",
            "[A=1 B=2] map[a:1 b:2] true ff string",
        ),
        (
            "{{printf \"%d\" .Name}} {{printf \"%s\" 1}} {{printf \"%d\"}} {{printf \"x\" 1}}",
            "%!d(string=/web) %!s(int=1) %!d(MISSING) x%!(EXTRA int=1)",
        ),
        ("{{printf \"%.2f %6.1f %e %g %%\" 1.005 2.25 1.5 1.5}}", "1.00    2.2 1.500000e+00 1.5 %"),
        ("{{print 1 2 \"a\" 3}}|{{println \"a\" 1}}", "1 2a3|a 1\n"),
        (
            "{{eq 1 1}} {{eq .Name \"x\" \"/web\"}} {{ne 1 2}} {{lt 1 2}} {{le 2 2}} {{gt 1 2}} {{ge \"b\" \"a\"}}",
            "true true true true true false true",
        ),
        ("{{and 1 0 2}} {{or 0 \"\" \"x\"}} {{and true .Name}} {{not 0}}", "0 x /web true"),
        ("{{or .Binds \"none\"}}", "none"),
        ("{{.Name | printf \"%s-%s\" \"a\" | upper}}", "A-/WEB"),
        (
            "{{html \"<a&'\\\"\"}} {{urlquery \"a b/c\"}} {{js \"it's\"}}",
            "&lt;a&amp;&#39;&#34; a+b%2Fc it\\'s",
        ),
        ("{{eq .State.Health nil}}", "true"),
        (
            "{{index .Env 5}}",
            "RUN template: :1:2: executing \"\" at <index .Env 5>: error calling index: index out of range: 5",
        ),
        (
            "{{eq 1 \"a\"}}",
            "RUN template: :1:2: executing \"\" at <eq 1 \"a\">: error calling eq: incompatible types for comparison",
        ),
        ("{{len 3}}", "RUN template: :1:2: executing \"\" at <len 3>: error calling len: len of type int"),
        (
            "{{index .Nope \"x\"}}",
            "RUN template: :1:8: executing \"\" at <.Nope>: can't evaluate field Nope in type types.ContainerJSON",
        ),
        (
            "{{join .Name}}",
            "RUN template: :1:2: executing \"\" at <join>: wrong number of args for join: want 2 got 1",
        ),
        (
            "{{json}}",
            "RUN template: :1:2: executing \"\" at <json>: wrong number of args for json: want 1 got 0",
        ),
        ("{{upper 1}}", "RUN template: :1:8: executing \"\" at <1>: expected string; found 1"),
        (
            "{{upper .Memory}}",
            "RUN template: :1:8: executing \"\" at <.Memory>: wrong type for value; expected string; got int",
        ),
    ]);
}

#[test]
fn syntax_errors_are_gos() {
    check(&[
        ("{{.Foo", "PARSE template: :1: unclosed action"),
        ("{{", "PARSE template: :1: unclosed action"),
        ("{{foo}}", "PARSE template: :1: function \"foo\" not defined"),
        ("{{}}", "PARSE template: :1: missing value for command"),
        ("{{end}}", "PARSE template: :1: unexpected {{end}}"),
        ("{{else}}", "PARSE template: :1: unexpected {{else}}"),
        ("{{if .ID}}", "PARSE template: :1: unexpected EOF"),
        ("{{if}}x{{end}}", "PARSE template: :1: missing value for if"),
        ("{{range .Env}}", "PARSE template: :1: unexpected EOF"),
        ("{{$x}}", "PARSE template: :1: undefined variable \"$x\""),
        ("{{\"abc}}", "PARSE template: :1: unterminated quoted string"),
        ("{{`abc}}", "PARSE template: :1: unterminated raw quoted string"),
        ("{{(.ID}}", "PARSE template: :1: unclosed left paren"),
        ("{{.ID)}}", "PARSE template: :1: unexpected right paren"),
        ("{{|}}", "PARSE template: :1: missing value for command"),
        ("{{break}}", "PARSE template: :1: {{break}} outside {{range}}"),
        ("{{/* x}}", "PARSE template: :1: unclosed comment"),
        ("\n\n{{foo}}", "PARSE template: :3: function \"foo\" not defined"),
        ("{{1 | 2}}", "PARSE template: :1: non executable command in pipeline stage 2"),
        ("{{.ID}", "PARSE template: :1: bad character U+007D '}'"),
    ]);
}

#[test]
fn untyped_data_reports_missing_keys() {
    let json = Json::parse(br#"{"Id":"x","State":{"Pid":1},"N":null,"L":[1,"a",null]}"#).unwrap();
    let data = Value::from_untyped(&json);
    let strict = Mode { strict_keys: true, ..Mode::default() };
    for (source, want) in [
        ("{{.Id}} {{.State.Pid}} {{.L}} {{.N}}", "x 1 [1 a <nil>] <nil>"),
        ("{{.Foo}}", "template: :1:2: executing \"\" at <.Foo>: map has no entry for key \"Foo\""),
        ("{{.N.X}}", "template: :1:4: executing \"\" at <.N.X>: nil data; no entry for key \"X\""),
    ] {
        let got = Template::parse("", source).unwrap().run_with(&data, strict);
        assert_eq!(got.unwrap_or_else(|e| e.0), want, "{source}");
    }
    let loose = Template::parse("", "{{.Foo}} {{.Foo.Bar}}").unwrap().run(&data).unwrap();
    assert_eq!(loose, "<no value> <no value>");
}
