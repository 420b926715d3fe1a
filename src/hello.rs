//! The built-in image's program: tells what a container looks like from inside.
//!
//! Everything is read from /proc, as anybody in the container could; nothing is remembered from
//! outside. Reading must not fail loudly: what cannot be read is shown as a dash.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

/// More mounts than this are only counted: the interesting ones come first.
const MAX_MOUNTS: usize = 40;

pub(crate) fn main() -> ExitCode {
    let text = report(&|path| std::fs::read_to_string(path).ok(), &|path| {
        std::fs::read_link(path).ok().map(|p| p.to_string_lossy().into_owned())
    });
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

type Read<'a> = &'a dyn Fn(&str) -> Option<String>;

fn report(read: Read<'_>, link: Read<'_>) -> String {
    let mut out = String::from("Hello from a container. This is what Linux shows me from inside.\n\n");
    let status = read("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let value = status.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
        value.map_or("-".to_string(), |v| v.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
    };
    // Writing to a String cannot fail.
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(out, "  {name:<14}{value}");
    };
    line("pid", &format!("{} (process {} of its own pid namespace)", std::process::id(), field("NSpid")));
    line("host name", read("/proc/sys/kernel/hostname").unwrap_or_default().trim());
    line("user, group", &format!("{} / {}", first(&field("Uid")), first(&field("Gid"))));
    line("kernel", read("/proc/sys/kernel/osrelease").unwrap_or_default().trim());
    out.push_str("\nnamespaces (each number is an inode; another one than on the host: private)\n");
    for kind in ["mnt", "pid", "net", "uts", "ipc", "cgroup", "user", "time"] {
        let target = link(&format!("/proc/self/ns/{kind}")).unwrap_or_else(|| "-".to_string());
        let _ = writeln!(out, "  {kind:<14}{target}");
    }
    limits(&mut out, read);
    rights(&mut out, &field);
    mounts(&mut out, read);
    out.push_str("\nSee how it was made, each kernel call with its time:  tare run --rm --explain hello\n");
    out
}

fn first(text: &str) -> &str {
    text.split(' ').next().unwrap_or("-")
}

/// The limits of the own cgroup: version 2 has one folder, version 1 one per controller.
fn limits(out: &mut String, read: Read<'_>) {
    out.push_str("\nlimits\n");
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    let v1_path = groups.lines().find_map(|l| l.split_once(":memory:")).map_or("", |(_, path)| path);
    let either = |v2: &str, v1: &str| {
        let value = read(&format!("/sys/fs/cgroup/{v2}")).or_else(|| read(&format!("/sys/fs/cgroup/{v1}")));
        value.map_or("-".to_string(), |v| v.trim().to_string())
    };
    let memory = either("memory.max", "memory/memory.limit_in_bytes");
    let _ = writeln!(out, "  {:<14}{}", "memory", bytes(&memory));
    let cpu = read("/sys/fs/cgroup/cpu.max").map_or_else(
        || format!("{} {}", either("", "cpu/cpu.cfs_quota_us"), either("", "cpu/cpu.cfs_period_us")),
        |v| v.trim().to_string(),
    );
    let _ = writeln!(out, "  {:<14}{}", "cpu", cpus(&cpu));
    let _ = writeln!(out, "  {:<14}{}", "processes", none_if_max(&either("pids.max", "pids/pids.max")));
    let shown = if v1_path.is_empty() {
        groups.lines().find_map(|l| l.strip_prefix("0::")).unwrap_or("-")
    } else {
        v1_path
    };
    let _ = writeln!(out, "  {:<14}{shown}", "cgroup");
}

/// Version 1 says "no limit" by the largest page-aligned number.
fn bytes(text: &str) -> String {
    match text.parse::<u64>() {
        Ok(n) if n < 1 << 60 => format!("{n} bytes ({} MiB)", n >> 20),
        Ok(_) => "no limit".to_string(),
        Err(_) => none_if_max(text),
    }
}

fn cpus(text: &str) -> String {
    let mut words = text.split(' ');
    match (words.next().and_then(|w| w.parse::<f64>().ok()), words.next().and_then(|w| w.parse::<f64>().ok()))
    {
        (Some(quota), Some(period)) if quota > 0.0 && period > 0.0 => {
            format!("{:.2} of a processor's time", quota / period)
        }
        _ => "no limit".to_string(),
    }
}

fn none_if_max(text: &str) -> String {
    if text == "max" { "no limit".to_string() } else { text.to_string() }
}

fn rights(out: &mut String, field: &dyn Fn(&str) -> String) {
    out.push_str("\nrights\n");
    let mask = u64::from_str_radix(&field("CapEff"), 16).unwrap_or(0);
    let _ = writeln!(out, "  {:<14}{} of 41 (mask {})", "capabilities", mask.count_ones(), field("CapEff"));
    let mode = match field("Seccomp").as_str() {
        "0" => "off".to_string(),
        "2" => format!("{} filter", field("Seccomp_filters")),
        other => other.to_string(),
    };
    let _ = writeln!(out, "  {:<14}{mode}", "seccomp");
    let _ = writeln!(out, "  {:<14}{}", "no new privs", field("NoNewPrivs"));
}

/// One line per mount: where, what, how (mountinfo fields of proc_pid_mountinfo(5)).
fn mounts(out: &mut String, read: Read<'_>) {
    let info = read("/proc/self/mountinfo").unwrap_or_default();
    let _ = writeln!(out, "\nmounts ({})", info.lines().count());
    for line in info.lines().take(MAX_MOUNTS) {
        let fields: Vec<&str> = line.split(' ').collect();
        let Some(dash) = fields.iter().position(|f| *f == "-") else { continue };
        if let (Some(target), Some(options), Some(kind)) =
            (fields.get(4), fields.get(5), fields.get(dash + 1))
        {
            let _ = writeln!(out, "  {target:<28}{kind:<10}{options}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_what_it_is_given_and_survives_nothing() {
        let read = |path: &str| match path {
            "/proc/self/status" => Some(
                "Uid:\t7\t7\t7\t7\nNSpid:\t1\nCapEff:\t00000000a80425fb\nSeccomp:\t2\nSeccomp_filters:\t1\n"
                    .to_string(),
            ),
            "/sys/fs/cgroup/memory.max" => Some("268435456\n".to_string()),
            "/sys/fs/cgroup/cpu.max" => Some("50000 100000\n".to_string()),
            "/sys/fs/cgroup/pids.max" => Some("max\n".to_string()),
            "/proc/self/mountinfo" => Some("1 2 0:3 / / rw,relatime - overlay overlay rw\n".to_string()),
            _ => None,
        };
        let text = report(&read, &|path| Some(format!("{path}:[1]")));
        for part in [
            "7 / -",
            "14 of 41",
            "1 filter",
            "268435456 bytes (256 MiB)",
            "0.50 of",
            "no limit",
            "overlay   rw,relatime",
            "--explain",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(report(&|_| None, &|_| None).contains("net           -"));
    }
}
