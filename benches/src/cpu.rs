//! Processor time of the whole test host: what an engine does in the background is in it.
//!
//! Inside a test host the root of each cgroup hierarchy is the host's own group.

use std::fs;

/// Nanoseconds used by all processes of this test host so far; `None` where no hierarchy counts them.
pub fn used() -> Option<u64> {
    let v1 = || fs::read_to_string("/sys/fs/cgroup/cpuacct/cpuacct.usage").ok()?.trim().parse().ok();
    let v2 = || usage(&fs::read_to_string("/sys/fs/cgroup/cpu.stat").ok()?);
    v1().or_else(v2)
}

fn usage(stat: &str) -> Option<u64> {
    let micros = stat.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
    micros.trim().parse::<u64>().ok().map(|micros| micros * 1000)
}

#[cfg(test)]
mod tests {
    use super::usage;

    #[test]
    fn v2_counts_in_microseconds() {
        assert_eq!(usage("usage_usec 12\nuser_usec 3\n"), Some(12_000));
        assert_eq!(usage("user_usec 3\n"), None);
    }
}
