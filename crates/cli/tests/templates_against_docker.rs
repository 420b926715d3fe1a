//! `--format` in ours and in Docker's CLI 28, whose templates are Go's own, on the same answers.

mod support;

use support::{Answer, Engine, Seen, docker, ours, theirs};

const CONTAINER: &str = r#"{"Id":"0123456789abcdef","Created":"2024-01-02T03:04:05.678901234Z","Path":"/bin/sh","Args":["-c","x <y> & z"],
"State":{"Status":"running","Running":true,"Paused":false,"Restarting":false,"OOMKilled":false,"Dead":false,"Pid":4242,"ExitCode":0,"Error":"","StartedAt":"2024-01-02T03:04:05Z","FinishedAt":"0001-01-01T00:00:00Z"},
"Image":"sha256:ff","Name":"/web","RestartCount":0,"Driver":"overlayfs","Platform":"linux","ExecIDs":null,
"HostConfig":{"Binds":null,"LogConfig":{"Type":"json-file","Config":{}},"NetworkMode":"bridge","PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"8080"}]},"RestartPolicy":{"Name":"no","MaximumRetryCount":0},"Memory":268435456,"NanoCpus":1500000000,"CapAdd":null,"Privileged":false,"PidsLimit":null,"Dns":[]},
"GraphDriver":{"Data":null,"Name":"overlayfs"},"Mounts":[{"Type":"bind","Source":"/a","Destination":"/b","Mode":"ro","RW":false,"Propagation":"rprivate"}],
"Config":{"Hostname":"0123","User":"","Tty":false,"Env":["A=1","B=x=y"],"Cmd":["sh","-c","x"],"Image":"busybox","Volumes":null,"WorkingDir":"","Entrypoint":null,"Labels":{"com.x.y":"v","b":"2","a":"1"}},
"NetworkSettings":{"Bridge":"","Ports":{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"},{"HostIp":"::","HostPort":"8080"}],"443/tcp":null},"Networks":{"bridge":{"IPAMConfig":null,"Links":null,"IPAddress":"172.17.0.2","IPPrefixLen":16,"MacAddress":"02:42"}}},
"Extra":{"Unknown":[1,2.5,"x",null,true]}}"#;

/// Left out are cases in which ours does more: Docker's client decodes some answers without types (because of
/// `{{.Id}}`, or an index by text into the typed ports), and then its numbers print but do not calculate.
const TEMPLATES: &[&str] = &[
    "{{.Id}} {{.Name}}",
    "{{.ID}}",
    "{{.State.Status}} {{.State.Pid}} {{.State.Running}} {{.State.Health}}",
    "{{.State.Health.Status}}",
    "{{.Config.Env}} {{.Config.Labels}} {{.Config.Cmd}} {{.Config.Entrypoint}} {{.Config.Volumes}}",
    "{{json .Config.Env}} {{json .Config.Labels}} {{json .Args}}",
    "{{json .State}}",
    "{{json .NetworkSettings.Ports}}",
    "{{.NetworkSettings.Ports}}",
    "{{json .HostConfig.Binds}} {{.HostConfig.Binds}} {{json .HostConfig.DNS}}",
    "{{.HostConfig.NanoCPUs}} {{.HostConfig.Memory}} {{.HostConfig.PidsLimit}} {{.HostConfig.Init}}",
    "{{.HostConfig.NanoCpus}}",
    "{{.HostConfig.LogConfig.Type}} {{.HostConfig.LogConfig.Config}} {{.HostConfig.RestartPolicy}}",
    "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.NetworkMode}}",
    "{{index .Config.Labels \"com.x.y\"}} {{index .Config.Labels \"nope\"}} {{.Config.Labels.a}}",
    "{{range .Config.Env}}[{{.}}]{{end}}",
    "{{range $i, $e := .Config.Env}}{{$i}}={{$e}} {{end}}",
    "{{range $k, $v := .Config.Labels}}{{$k}}:{{$v}} {{end}}",
    "{{range $p, $c := .NetworkSettings.Ports}} {{$p}} -> {{(index $c 0).HostPort}} {{end}}",
    "{{range $p, $c := .NetworkSettings.Ports}}{{if $c}} {{$p}} -> {{(index $c 0).HostPort}} {{end}}{{end}}",
    "{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}",
    "{{with (index (index .NetworkSettings.Ports \"80/tcp\") 0)}}{{.HostIp}}:{{.HostPort}}{{end}}",
    "{{range .NetworkSettings.Networks}}{{.IPAddress}}/{{.IPPrefixLen}}{{end}}",
    "{{.NetworkSettings.Networks.bridge.IPAddress}}",
    "{{range $name, $n := .NetworkSettings.Networks}}{{$name}} {{$n.MacAddress}}{{end}}",
    "{{range .Mounts}}{{.Type}} {{.Source}}->{{.Destination}} {{.RW}}{{end}}",
    "{{json .Mounts}}",
    "{{len .Mounts}} {{len .Config.Env}} {{len .Name}}",
    "{{if .State.Running}}up{{else}}down{{end}} {{if .State.Paused}}p{{else if .State.Running}}r{{end}}",
    "{{if and .State.Running (not .State.Paused)}}ok{{end}} {{or .Config.User \"root\"}}",
    "{{eq .State.Status \"running\"}} {{ne .State.Pid 0}} {{gt .State.Pid 100}} {{lt .State.ExitCode 1}}",
    "{{printf \"%.4s|%5d|%-6s|%q|%v|%T\" .ID .State.Pid \"ab\" .Name .State.Running .Name}}",
    "{{printf \"%s %d %x\" .Config.Env .HostConfig.Memory .Name}}",
    "{{printf \"%d\" .Name}} {{printf \"%s\" .State.Pid}} {{printf \"%s\"}} {{printf \"x\" 1}}",
    "{{printf \"%t %08.3f %+d %o %b %c %U\" true 3.14159 5 8 5 65 65}}",
    "{{print .Name 1 2 \"x\"}} {{println \"a\" 1}}",
    "{{join .Config.Env \", \"}} {{upper .Name}} {{lower \"ABC\"}} {{title \"hello world\"}}",
    "{{split .Name \"e\"}} {{index (split .Name \"/\") 1}} {{truncate .Id 5}} {{pad \"x\" 1 1}}|",
    "{{slice .Id 0 4}} {{slice .Config.Env 1}}",
    "{{html \"<a>\"}} {{js \"it's\"}} {{urlquery \"a b\"}}",
    "{{.Name | upper | printf \"%s!\"}}",
    "{{$x := .Name}}{{$x}} {{$.Id}}",
    "{{/* comment */}}x{{- /* trim */ -}} y",
    "a {{- .Name -}} b",
    "{{define \"T\"}}<{{.}}>{{end}}{{template \"T\" .Name}}",
    "{{range .Config.Env}}{{.}}{{break}}{{end}}",
    "{{range .HostConfig.Binds}}x{{else}}none{{end}}",
    "{{\"quoted\"}} {{`raw`}} {{'a'}} {{1.5}} {{0x1F}} {{true}}",
    "{{.Created}} {{.RestartCount}} {{.GraphDriver.Name}} {{.GraphDriver.Data}}",
    "{{.Foo}}",
    "{{.Config.Foo}}",
    "{{.Config.Foo.Bar.Baz}}",
    "{{.Name.Foo}}",
    "{{.Extra.Unknown}}",
    "{{json .Extra}}",
    "{{index .Config.Env 5}}",
    "{{index .Config.Env \"x\"}}",
    "{{index .Foo \"x\"}}",
    "{{join .Name \",\"}}",
    "{{index .Config.Env \"a very long text which surely is longer than any limit\"}}",
    "{{index (index .Config.Env 0) \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}}",
    "{{upper 1}}",
    "{{upper .State.Pid}}",
    "{{json}}",
    "{{join .Config.Env}}",
    "{{eq 1 \"a\"}}",
    "{{len 3}}",
    "{{foo}}",
    "{{.Foo",
    "{{}}",
    "{{end}}",
    "{{if .Id}}",
    "{{range}}x{{end}}",
    "{{$x}}",
    "{{\"abc}}",
    "{{.Id}",
    "{{.Id | }}",
    "{{(.Id}}",
    "{{.Id)}}",
    "{{break}}",
    "{{template \"nope\"}}",
    "{{range .Name}}{{.}}{{end}}",
    "{{1 | 2}}",
    "{{nil}}",
    "{{.Name 1}}",
    "{{else}}",
    "{{with}}x{{end}}",
    "{{call .Name}}",
    "{{.}}x{{",
];

fn answers(seen: &Seen) -> Answer {
    let text = if seen.target.contains("/containers/json") {
        format!("[{LISTED}]")
    } else if seen.target.contains("/containers/") {
        CONTAINER.to_owned()
    } else if seen.target.contains("/images/json") {
        format!("[{IMAGE}]")
    } else {
        return Answer::Json(404, r#"{"message":"no"}"#.to_owned());
    };
    Answer::Json(200, text)
}

#[test]
fn inspect() {
    let Some(docker) = docker() else { return };
    let engine = Engine::new(answers);
    let host = engine.host();
    let mut differences = Vec::new();
    for template in TEMPLATES {
        let args = ["-H", &host, "inspect", "-f", template, "web"];
        let (want, got) = (theirs(&docker, &args, ""), ours("docker", &args, ""));
        if want != got {
            differences.push(format!("{template}\n docker {want:?}\n ours   {got:?}"));
        }
    }
    assert!(differences.is_empty(), "{} differ\n{}", differences.len(), differences.join("\n"));
}

const LISTED: &str = r#"{"Id":"0123456789abcdef0123","Names":["/web"],"Image":"docker.io/library/nginx:1.22","ImageID":"sha256:ff",
"Command":"/docker-entrypoint.sh nginx -g 'daemon off;'","Created":1700000000,"Ports":[
{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},{"IP":"::","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},{"PrivatePort":443,"Type":"tcp"}],
"SizeRw":1090,"SizeRootFs":142000000,"Labels":{"b":"2","a":"1","com.x.my-key":"z"},"State":"running","Status":"Up 2 seconds","HostConfig":{"NetworkMode":"bridge"},
"NetworkSettings":{"Networks":{"bridge":{}}},"Mounts":[{"Name":"a-very-long-volume-name","Driver":"local","Source":"","Destination":"/x","Mode":"","RW":true,"Propagation":""}]},
{"Id":"ffff","Names":["/b","/c/d"],"Image":"sha256:abcd","ImageID":"sha256:abcd","Command":"日本語日本語日本語日本語","Created":1600000000,"Ports":[],"Labels":null,"State":"exited","Status":"Exited (0)","NetworkSettings":null,"Mounts":[]}"#;

const IMAGE: &str = r#"{"Id":"sha256:0123456789abcdef","ParentId":"","RepoTags":["nginx:1.22"],"RepoDigests":["nginx@sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"],"Created":1700000000,"Size":142000000,"SharedSize":-1,"Containers":-1,"Labels":null},
{"Id":"sha256:ffff","ParentId":"","RepoTags":[],"RepoDigests":[],"Created":1600000000,"Size":5,"SharedSize":3,"Containers":2,"Labels":null}"#;

const LISTS: &[&[&str]] = &[
    &["ps"],
    &["ps", "--no-trunc"],
    &["ps", "-s"],
    &["ps", "-q"],
    &["ps", "-q", "--no-trunc"],
    &["ps", "-q", "--format", "x"],
    &["ps", "--format", "json"],
    &["ps", "--format", "{{json .}}"],
    &["ps", "--format", "raw"],
    &["ps", "-s", "--format", "raw"],
    &["ps", "-q", "--format", "raw"],
    &["ps", "--format", "table"],
    &["ps", "--format", "table {{.ID}}\t{{.Names}}\t{{.Size}}"],
    &["ps", "--format", "table {{.ID}}\\t{{.Label \"com.x.my-key\"}}\\t{{.Mounts}}"],
    &["ps", "--format", "table {{upper .Names}}\t{{join (split .Names \"e\") \"-\"}}\t{{truncate .ID 3}}"],
    &["ps", "--format", "table {{if .Ports}}{{.Ports}}{{else}}none{{end}}"],
    &[
        "ps",
        "--format",
        "{{.Command}}|{{.CreatedAt}}|{{.RunningFor}}|{{.State}}|{{.Status}}|{{.LocalVolumes}}|{{.Networks}}|{{.Labels}}|{{.Platform}}",
    ],
    &["ps", "--format", "{{.ID}} {{.Label \"a\"}}{{printf \"%s\" .Image}}"],
    &["ps", "--format", "{{.Label}}"],
    &["ps", "--format", "{{.Names.Foo}}"],
    &["ps", "--format", "{{range .Names}}{{end}}"],
    &["ps", "--format", "TABLE {{.ID}}"],
    &["ps", "--format", " table {{.ID}}"],
    &["ps", "--format", "{{/* nothing */}}"],
    &["images"],
    &["images", "-q"],
    &["images", "--digests"],
    &["images", "--no-trunc"],
    &["images", "--digests", "--no-trunc"],
    &["images", "--format", "json"],
    &["images", "--format", "raw"],
    &["images", "--digests", "--format", "raw"],
    &["images", "-q", "--format", "raw"],
    &["images", "--format", "table {{.ID}}\t{{.Repository}}:{{.Tag}}"],
    &["images", "--digests", "--format", "table {{.ID}}\t{{.Repository}}"],
    &[
        "images",
        "--format",
        "{{.Digest}}|{{.CreatedSince}}|{{.CreatedAt}}|{{.Size}}|{{.VirtualSize}}|{{.SharedSize}}|{{.UniqueSize}}|{{.Containers}}",
    ],
    &["images", "--format", "{{.Foo}}"],
    &["images", "--format", "{{.ID"],
    &["images", "-q", "--format", "{{.Tag}}"],
];

#[test]
fn lists() {
    let Some(docker) = docker() else { return };
    let engine = Engine::new(answers);
    let host = engine.host();
    let mut differences = Vec::new();
    for words in LISTS {
        let mut args = vec!["-H", &host];
        args.extend_from_slice(words);
        let (want, got) = (theirs(&docker, &args, ""), ours("docker", &args, ""));
        if want != got {
            differences.push(format!("{words:?}\n docker {want:?}\n ours   {got:?}"));
        }
    }
    assert!(differences.is_empty(), "{} differ\n{}", differences.len(), differences.join("\n"));
}
