//! Turns the table of system call numbers and Docker's profile into Rust, and compiles the profile's filter for the
//! default capabilities with the crate's own compiler, so that a container start compiles nothing.

#[allow(dead_code, reason = "parts that only the crate uses")]
#[path = "src/seccomp/emit.rs"]
mod emit;
#[allow(dead_code, reason = "parts that only the crate uses")]
#[path = "src/seccomp/filter.rs"]
mod filter;
#[allow(dead_code, reason = "parts that only the crate uses")]
#[path = "src/seccomp/profile.rs"]
mod profile;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use filter::{ALLOW, Arch, COLUMNS, Condition, ERRNO, Filter, Op};
use profile::Rule;

/// struct sock_filter, as `sys::seccomp::Insn`.
#[derive(Clone, Copy)]
struct Insn {
    code: u16,
    jt: u8,
    jf: u8,
    k: u32,
}

const TABLE: &str = "src/seccomp/syscalls.tsv";
const PROFILE: &str = "src/seccomp/docker.profile";
/// The capabilities of a container that asks for nothing special.
const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];
/// The oldest kernel that Tare runs on: the profile's own conditions are all below.
const OLDEST_KERNEL: (u32, u32) = (5, 10);

type Table = BTreeMap<&'static str, [i32; COLUMNS]>;

fn main() {
    for file in [TABLE, PROFILE, "build.rs", "src/seccomp"] {
        println!("cargo::rerun-if-changed={file}");
    }
    let table = parse_table(read(TABLE));
    let rules = parse_profile(read(PROFILE), &table);
    let (arch, go_arch) = match std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() {
        Ok("x86_64") => (Arch::X86_64, "amd64"),
        Ok("aarch64") => (Arch::Aarch64, "arm64"),
        other => panic!("no system call table for the architecture {other:?}"),
    };
    let mut out = String::new();
    write_table(&mut out, &table);
    write_rules(&mut out, &rules);
    write_filter(&mut out, &compile(&rules, &table, arch, go_arch));
    let names = DEFAULT_CAPABILITIES;
    writeln!(out, "pub(super) static DEFAULT_CAPABILITIES: [&str; {}] = {names:?};", names.len()).unwrap();
    writeln!(out, "pub(super) const NATIVE: Arch = Arch::{arch:?};").unwrap();
    writeln!(out, "pub(super) const NATIVE_GO: &str = {go_arch:?};").unwrap();
    let folder = std::env::var_os("OUT_DIR").unwrap();
    std::fs::write(Path::new(&folder).join("seccomp.rs"), out).unwrap();
}

/// Texts live as long as the script: the crate's structs want them static.
fn read(path: &str) -> &'static str {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("read {path}: {e}"));
    Box::leak(text.into_boxed_str())
}

fn parse_table(text: &'static str) -> Table {
    let mut table = Table::new();
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let mut fields = line.split('\t');
        let name = fields.next().unwrap();
        let mut numbers = [-1; COLUMNS];
        for number in &mut numbers {
            let field = fields.next().unwrap_or_else(|| panic!("{TABLE}: {line:?} is too short"));
            *number = if field == "-" {
                -1
            } else {
                field.parse().unwrap_or_else(|e| panic!("{TABLE}: {line:?}: {e}"))
            };
        }
        assert!(
            table.last_key_value().is_none_or(|(last, _)| *last < name),
            "{TABLE}: {name} is not in order"
        );
        table.insert(name, numbers);
    }
    table
}

fn parse_profile(text: &'static str, table: &Table) -> Vec<Rule> {
    let mut rules: Vec<(Rule, Vec<&'static str>)> = Vec::new();
    for line in text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
        if line.starts_with(' ') {
            let names = &mut rules.last_mut().expect("names before the first rule").1;
            names.extend(line.split_whitespace());
        } else {
            rules.push((parse_rule(line), Vec::new()));
        }
    }
    let finish = |(mut rule, names): (Rule, Vec<&'static str>)| {
        for name in &names {
            // One call of a machine that Tare does not run on stands among Docker's general ones.
            assert!(
                table.contains_key(name) || *name == "riscv_hwprobe",
                "{PROFILE}: {name} is not in {TABLE}"
            );
        }
        rule.names = names.leak();
        rule
    };
    rules.into_iter().map(finish).collect()
}

fn parse_rule(line: &'static str) -> Rule {
    let mut rule =
        Rule { action: 0, names: &[], conditions: &[], kernel: (0, 0), arches: &[], with: &[], without: &[] };
    let mut conditions = Vec::new();
    for word in line.split_whitespace() {
        let list =
            |text: &'static str| -> &'static [&'static str] { text.split(',').collect::<Vec<_>>().leak() };
        match word.split_once('=').unwrap_or((word, "")) {
            ("allow", "") => rule.action = ALLOW,
            ("errno", number) => rule.action = ERRNO | number.parse::<u32>().unwrap(),
            ("kernel", version) => {
                let (major, minor) = version.split_once('.').unwrap();
                rule.kernel = (major.parse().unwrap(), minor.parse().unwrap());
            }
            ("arch", arches) => rule.arches = list(arches),
            ("cap", capabilities) => rule.with = list(capabilities),
            ("nocap", capabilities) => rule.without = list(capabilities),
            _ => conditions.push(parse_condition(word)),
        }
    }
    assert!(rule.action != 0, "{PROFILE}: no action in {line:?}");
    rule.conditions = conditions.leak();
    rule
}

/// `arg0<38`, `arg0=0x20000`, `arg0&0x7e020000=0`
fn parse_condition(word: &str) -> Condition {
    let rest = word.strip_prefix("arg").unwrap_or_else(|| panic!("{PROFILE}: what is {word:?}?"));
    let (arg, rest) = rest.split_at(1);
    let arg = arg.parse().unwrap();
    let (op, text) = rest.split_at(1);
    let (value, value_two) = text.split_once('=').map_or((text, "0"), |(mask, value)| (mask, value));
    let op = match op {
        "<" => Op::Less,
        "=" => Op::Equal,
        ">" => Op::Greater,
        "&" => Op::MaskedEqual,
        _ => panic!("{PROFILE}: what is {word:?}?"),
    };
    Condition { arg, op, value: parse_value(value), value_two: parse_value(value_two) }
}

fn parse_value(text: &str) -> u64 {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).unwrap(),
        None => text.parse().unwrap(),
    }
}

fn compile(rules: &[Rule], table: &Table, arch: Arch, go_arch: &str) -> Vec<Insn> {
    let has = |name: &str| DEFAULT_CAPABILITIES.contains(&name);
    let mut filter = Filter::new(ERRNO | 1, true, arch.family());
    for rule in rules.iter().filter(|r| r.applies(&has, go_arch, OLDEST_KERNEL)) {
        for name in rule.names {
            if let Some(numbers) = table.get(name) {
                filter.add_call(name, numbers, rule.action, rule.conditions);
            }
        }
    }
    filter.compile().unwrap_or_else(|length| panic!("Docker's filter has {length} instructions"))
}

fn write_table(out: &mut String, table: &Table) {
    writeln!(out, "pub(super) static SYSCALLS: [(&str, [i32; COLUMNS]); {}] = [", table.len()).unwrap();
    for (name, numbers) in table {
        writeln!(out, "    ({name:?}, {numbers:?}),").unwrap();
    }
    out.push_str("];\n");
}

fn write_rules(out: &mut String, rules: &[Rule]) {
    writeln!(out, "pub(super) static PROFILE: [Rule; {}] = [", rules.len()).unwrap();
    for rule in rules {
        let Rule { action, names, kernel, arches, with, without, .. } = rule;
        write!(out, "    Rule {{ action: {action}, names: &{names:?}, conditions: &[").unwrap();
        for Condition { arg, op, value, value_two } in rule.conditions {
            write!(
                out,
                "Condition {{ arg: {arg}, op: Op::{op:?}, value: {value}, value_two: {value_two} }}, "
            )
            .unwrap();
        }
        let rest = format!("kernel: {kernel:?}, arches: &{arches:?}, with: &{with:?}, without: &{without:?}");
        writeln!(out, "], {rest} }},").unwrap();
    }
    out.push_str("];\n");
}

fn write_filter(out: &mut String, program: &[Insn]) {
    writeln!(out, "pub(super) static DEFAULT_FILTER: [Insn; {}] = [", program.len()).unwrap();
    for Insn { code, jt, jf, k } in program {
        writeln!(out, "    Insn {{ code: {code}, jt: {jt}, jf: {jf}, k: {k} }},").unwrap();
    }
    out.push_str("];\n");
}
