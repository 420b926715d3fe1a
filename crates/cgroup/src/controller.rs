//! The controllers as a set of bits. The names are the kernel's; `blkio` of v1 and `io` of v2 are one bit.
//!
//! It does not know where a controller is mounted.

use std::fmt;

/// A set of controllers.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Controllers(u16);

impl Controllers {
    /// No controller (also what a named hierarchy has).
    pub const NONE: Self = Self(0);
    /// CPU time.
    pub const CPU: Self = Self(1);
    /// CPU accounting (v1; on v2 part of `cpu`).
    pub const CPUACCT: Self = Self(1 << 1);
    /// CPU and node placement.
    pub const CPUSET: Self = Self(1 << 2);
    /// Memory.
    pub const MEMORY: Self = Self(1 << 3);
    /// Device access (v1; on v2 a bpf program).
    pub const DEVICES: Self = Self(1 << 4);
    /// Freezer (v1; on v2 part of the core).
    pub const FREEZER: Self = Self(1 << 5);
    /// Block devices.
    pub const IO: Self = Self(1 << 6);
    /// Number of tasks.
    pub const PIDS: Self = Self(1 << 7);
    /// Huge pages.
    pub const HUGETLB: Self = Self(1 << 8);
    /// Class of packets (v1).
    pub const NET_CLS: Self = Self(1 << 9);
    /// Priority of packets (v1).
    pub const NET_PRIO: Self = Self(1 << 10);
    /// perf.
    pub const PERF_EVENT: Self = Self(1 << 11);
    /// RDMA.
    pub const RDMA: Self = Self(1 << 12);
    /// Scalar resources.
    pub const MISC: Self = Self(1 << 13);

    /// What a container's group has on v2 whether or not it is limited: statistics need them.
    pub const USUAL: Self = Self(Self::CPU.0 | Self::CPUSET.0 | Self::IO.0 | Self::MEMORY.0 | Self::PIDS.0);

    /// The controller of this name; nothing for one that Tare does not set.
    pub fn from_name(name: &str) -> Option<Self> {
        NAMES.iter().find(|(n, _)| *n == name).map(|&(_, c)| c)
    }

    /// The controllers of a list separated by blanks or commas.
    pub fn from_list(list: &str) -> Self {
        list.split([',', ' ', '\n']).filter_map(Self::from_name).fold(Self::NONE, Self::with)
    }

    /// Whether all of `other` are in the set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether none is.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both.
    #[must_use]
    pub const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in this set only.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Names, for v2's `cgroup.subtree_control` and for messages.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        // `blkio` comes after `io`: the same bit, and v1's files are not listed by this name.
        NAMES.iter().filter(move |(n, c)| *n != "blkio" && self.contains(*c)).map(|&(n, _)| n)
    }

    /// The first name.
    pub fn name(self) -> &'static str {
        self.names().next().unwrap_or("none")
    }
}

impl fmt::Debug for Controllers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

const NAMES: [(&str, Controllers); 15] = [
    ("cpu", Controllers::CPU),
    ("cpuacct", Controllers::CPUACCT),
    ("cpuset", Controllers::CPUSET),
    ("memory", Controllers::MEMORY),
    ("devices", Controllers::DEVICES),
    ("freezer", Controllers::FREEZER),
    ("io", Controllers::IO),
    ("blkio", Controllers::IO),
    ("pids", Controllers::PIDS),
    ("hugetlb", Controllers::HUGETLB),
    ("net_cls", Controllers::NET_CLS),
    ("net_prio", Controllers::NET_PRIO),
    ("perf_event", Controllers::PERF_EVENT),
    ("rdma", Controllers::RDMA),
    ("misc", Controllers::MISC),
];
