//! Capabilities: names, bits, and the five sets of a process (capabilities(7)).
//!
//! Invariants: no set holds what the caller's bounding set lacks, so `--privileged` inside a confined caller is no
//! error; effective and ambient stay within what the kernel lets them be. A name that the spec has and the kernel
//! does not is left out, as runc does, and told in `Display`.
//!
//! It does not know which capabilities a container should have.

use std::fmt;

use oci::runtime::Capabilities;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capability_is_in_bounding_set, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
};

use crate::error::{Result, What};

/// The five sets, as bits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sets {
    bounding: u64,
    effective: u64,
    inheritable: u64,
    permitted: u64,
    ambient: u64,
    ignored: Vec<String>,
}

impl Sets {
    /// The sets of a process, clamped to the caller's bounding set.
    pub fn from_spec(spec: &Capabilities) -> Result<Self> {
        Ok(Self::clamped(spec, bounding_set()))
    }

    /// Takes what the spec does not list out of the calling thread's bounding set. Needs CAP_SETPCAP.
    pub fn drop_bounding(&self) -> Result<()> {
        // Read anew: a user namespace that was entered meanwhile began with the full set.
        for bit in bits(bounding_set() & !self.bounding) {
            let what = || format!("prctl(PR_CAPBSET_DROP, {})", name(bit));
            remove_capability_from_bounding_set(set(1 << bit)).what(what)?;
        }
        Ok(())
    }

    /// Sets the other four, for the calling thread.
    pub fn apply(&self) -> Result<()> {
        let sets = CapabilitySets {
            effective: set(self.effective),
            permitted: set(self.permitted),
            inheritable: set(self.inheritable),
        };
        set_capabilities(None, sets).what(|| format!("capset({self})"))?;
        // Also when none is wanted: the caller's own would survive.
        clear_ambient_capability_set().what(|| "prctl(PR_CAP_AMBIENT_CLEAR_ALL)")?;
        for bit in bits(self.ambient) {
            let what = || format!("prctl(PR_CAP_AMBIENT_RAISE, {})", name(bit));
            configure_capability_in_ambient_set(set(1 << bit), true).what(what)?;
        }
        Ok(())
    }

    fn clamped(spec: &Capabilities, available: u64) -> Self {
        let mut ignored = Vec::new();
        let mut parse = |names: &[String]| {
            names.iter().fold(0, |set, name| {
                match number(name).map(|bit| 1 << bit).filter(|b| b & available != 0) {
                    Some(bit) => set | bit,
                    None => {
                        if !ignored.contains(name) {
                            ignored.push(name.clone());
                        }
                        set
                    }
                }
            })
        };
        let bounding = parse(&spec.bounding);
        let permitted = parse(&spec.permitted);
        let inheritable = parse(&spec.inheritable);
        let effective = parse(&spec.effective) & permitted;
        let ambient = parse(&spec.ambient) & permitted & inheritable;
        Self { bounding, effective, inheritable, permitted, ambient, ignored }
    }
}

/// The sets as the kernel's `/proc/PID/status` writes them; equal ones once.
impl fmt::Display for Sets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "permitted {:x}", self.permitted)?;
        for (label, set) in [("effective", self.effective), ("bounding", self.bounding)] {
            if set != self.permitted {
                write!(f, " {label} {set:x}")?;
            }
        }
        for (label, set) in [("inheritable", self.inheritable), ("ambient", self.ambient)] {
            if set != 0 {
                write!(f, " {label} {set:x}")?;
            }
        }
        if !self.ignored.is_empty() {
            write!(f, ", not available: {}", self.ignored.join(" "))?;
        }
        Ok(())
    }
}

/// The number of a capability by its name in the spec.
pub fn number(name: &str) -> Option<u32> {
    let short = name.strip_prefix("CAP_")?;
    NAMES.iter().position(|n| *n == short).map(|at| at as u32)
}

/// The name of a capability in the spec.
pub fn name(number: u32) -> String {
    match NAMES.get(number as usize) {
        Some(short) => format!("CAP_{short}"),
        None => format!("capability {number}"),
    }
}

/// The calling thread's bounding set. The kernel says EINVAL for a number that it does not know.
fn bounding_set() -> u64 {
    let has = |bit: &u32| capability_is_in_bounding_set(set(1 << bit)).unwrap_or(false);
    (0..NAMES.len() as u32).filter(has).fold(0, |set, bit| set | 1 << bit)
}

fn set(bits: u64) -> CapabilitySet {
    CapabilitySet::from_bits_retain(bits)
}

fn bits(set: u64) -> impl Iterator<Item = u32> {
    (0..u64::BITS).filter(move |bit| set & (1 << bit) != 0)
}

/// linux/capability.h, by number.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        let cases =
            [("CAP_CHOWN", Some(0)), ("CAP_SYS_ADMIN", Some(21)), ("CAP_CHECKPOINT_RESTORE", Some(40))];
        for (text, expected) in cases {
            assert_eq!(number(text), expected);
            assert_eq!(expected.map(name).as_deref(), Some(text));
        }
        for wrong in ["CHOWN", "cap_chown", "CAP_", "CAP_NOPE", ""] {
            assert_eq!(number(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sets_stay_within_what_is_available() {
        let list = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        let spec = Capabilities {
            bounding: list(&["CAP_CHOWN", "CAP_KILL", "CAP_SYS_ADMIN", "CAP_FUTURE"]),
            permitted: list(&["CAP_CHOWN", "CAP_KILL"]),
            effective: list(&["CAP_CHOWN", "CAP_FOWNER"]),
            inheritable: list(&["CAP_CHOWN"]),
            ambient: list(&["CAP_CHOWN", "CAP_KILL"]),
        };
        // Everything but SYS_ADMIN.
        let sets = Sets::clamped(&spec, !(1 << 21));
        assert_eq!((sets.bounding, sets.permitted, sets.effective), (0b10_0001, 0b10_0001, 1));
        assert_eq!((sets.inheritable, sets.ambient), (1, 1));
        assert_eq!(sets.ignored, ["CAP_SYS_ADMIN", "CAP_FUTURE"]);
        let shown =
            "permitted 21 effective 1 inheritable 1 ambient 1, not available: CAP_SYS_ADMIN CAP_FUTURE";
        assert_eq!(sets.to_string(), shown);
    }

    #[test]
    fn the_bounding_set_is_what_proc_says() {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("CapBnd:")).unwrap();
        let known = (1u64 << NAMES.len()) - 1;
        assert_eq!(bounding_set(), u64::from_str_radix(line.trim(), 16).unwrap() & known);
    }

    /// In a thread of its own, because capabilities are a thread's.
    #[test]
    fn the_kernel_takes_them() {
        let test = || {
            let names: Vec<String> = vec!["CAP_CHOWN".into(), "CAP_SETPCAP".into()];
            let spec = Capabilities {
                bounding: names.clone(),
                permitted: names.clone(),
                effective: vec!["CAP_CHOWN".into()],
                inheritable: vec!["CAP_CHOWN".into()],
                ambient: vec!["CAP_CHOWN".into()],
            };
            let sets = Sets::from_spec(&spec).unwrap();
            sets.drop_bounding().unwrap();
            sets.apply().unwrap();
            std::fs::read_to_string("/proc/thread-self/status").unwrap()
        };
        if !rustix::process::geteuid().is_root() {
            println!("skipped: not root");
            return;
        }
        let status = std::thread::spawn(test).join().unwrap();
        for line in [
            "CapInh:\t0000000000000001",
            "CapPrm:\t0000000000000101",
            "CapEff:\t0000000000000001",
            "CapBnd:\t0000000000000101",
            "CapAmb:\t0000000000000001",
        ] {
            assert!(status.contains(line), "{line} in {status}");
        }
    }
}
