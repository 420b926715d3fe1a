//! Memory and size: what is weighed rather than timed.

use std::fs;
use std::path::Path;

/// A named weight.
#[derive(Debug, Clone)]
pub struct Weight {
    /// What it is the weight of.
    pub name: String,
    /// In bytes.
    pub bytes: u64,
}

/// A figure that is neither a contest's nor a weight.
#[derive(Debug, Clone)]
pub struct Fact {
    /// What it tells.
    pub name: String,
    /// The figure.
    pub value: f64,
    /// Its unit, as it is printed.
    pub unit: &'static str,
}

impl Fact {
    /// A fact.
    pub fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Fact {
        Fact { name: name.into(), value, unit }
    }
}

/// Proportional set size of a process (proc_pid_smaps(5)).
pub fn pss(pid: &str) -> Option<u64> {
    kilobytes(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?, "Pss:")
}

/// Resident set size of all processes with this command name.
pub fn rss_of(command: &str) -> u64 {
    let mut sum = 0;
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if name.trim() == command {
            let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            sum += kilobytes(&status, "VmRSS:").unwrap_or(0);
        }
    }
    sum
}

/// Parent of a process.
pub fn parent(pid: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:")).map(|pid| pid.trim().to_string())
}

/// Size of files that exist, symbolic links followed.
pub fn sizes(paths: &[&str]) -> u64 {
    paths.iter().filter_map(|path| fs::metadata(Path::new(path)).ok()).map(|data| data.len()).sum()
}

fn kilobytes(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read() {
        assert_eq!(kilobytes("Rss:  10 kB\nPss:   250 kB\n", "Pss:"), Some(256_000));
        assert_eq!(kilobytes("", "Pss:"), None);
        assert!(pss("self").is_some_and(|bytes| bytes > 0));
    }
}
