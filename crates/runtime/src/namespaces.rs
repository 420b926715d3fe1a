//! Which namespaces a container gets: new ones by clone3, existing ones by setns.
//!
//! Order matters. A namespace that the caller's user namespace owns can only be joined before a new user
//! namespace is entered; one that a joined user namespace owns only after. The cgroup namespace is
//! always unshared by init itself: clone3 takes the caller's cgroup as its root even with
//! CLONE_INTO_CGROUP (copy_cgroup_ns looks at `current`). A time namespace's offsets must be written
//! before anything lives in it, so init unshares it, writes and enters.

use crate::error::{Error, Kind, Result, What};
use oci::runtime::{NamespaceKind, Spec, TimeOffset};
use rustix::io::Errno;
use std::fmt::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use sys::namespace::{KINDS, NEWTIME};
use sys::trace;

/// The namespaces of one container, opened and checked.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    /// CLONE_NEW* of all new ones.
    new: u64,
    /// The ones to join, without pid and user.
    joined: Vec<(NamespaceKind, OwnedFd)>,
    pid: Option<OwnedFd>,
    user: Option<OwnedFd>,
}

impl Namespaces {
    /// Opens what the spec names by path.
    pub(crate) fn from_spec(spec: &Spec) -> Result<Self> {
        let mut all = Self::default();
        let mut seen = 0;
        for namespace in spec.linux.iter().flat_map(|linux| &linux.namespaces) {
            let flag = flag(namespace.kind);
            if seen & flag != 0 {
                let text = format!("malformed spec file: duplicated ns {:?}", namespace.kind.as_str());
                return Err(Error::new(Kind::Invalid, text));
            }
            seen |= flag;
            if namespace.path.as_os_str().is_empty() {
                all.new |= flag;
                continue;
            }
            let fd = sys::namespace::open(&namespace.path)
                .what(|| format!("the {} namespace of the spec", namespace.kind.as_str()))?;
            match namespace.kind {
                NamespaceKind::Pid => all.pid = Some(fd),
                NamespaceKind::User if is_own_user_namespace(&namespace.path)? => {}
                NamespaceKind::User => all.user = Some(fd),
                NamespaceKind::Mount => {
                    return Err(Error::new(
                        Kind::Unsupported,
                        "joining a mount namespace by path is not supported",
                    ));
                }
                kind => all.joined.push((kind, fd)),
            }
        }
        if !all.is_new(NamespaceKind::Mount) {
            let text = "a container without a mount namespace of its own is not supported";
            return Err(Error::new(Kind::Unsupported, text));
        }
        Ok(all)
    }

    /// Whether a new one of this kind is made.
    pub(crate) fn is_new(&self, kind: NamespaceKind) -> bool {
        self.new & flag(kind) != 0
    }

    /// Whether the container has one that is not the caller's.
    pub(crate) fn is_private(&self, kind: NamespaceKind) -> bool {
        self.is_new(kind)
            || match kind {
                NamespaceKind::Pid => self.pid.is_some(),
                NamespaceKind::User => self.user.is_some(),
                kind => self.joined.iter().any(|(joined, _)| *joined == kind),
            }
    }

    /// Whether a helper must join first and clone init then: into a new user namespace from joined
    /// ones, or from a joined user namespace, which shall own all new ones.
    pub(crate) fn needs_helper(&self) -> bool {
        self.user.is_some() || (self.is_new(NamespaceKind::User) && !self.joined.is_empty())
    }

    /// The flags for clone3 of init.
    pub(crate) fn clone_flags(&self) -> u64 {
        self.new & !(flag(NamespaceKind::Cgroup) | NEWTIME)
    }

    /// The pid namespace that init must be cloned into: only setns before the clone can do that.
    pub(crate) fn pid_to_join(&self) -> Option<&OwnedFd> {
        self.pid.as_ref()
    }

    /// In init, or in the helper before it: joins everything but pid.
    pub(crate) fn join(&self) -> Result<()> {
        let mut later = Vec::new();
        for (kind, fd) in &self.joined {
            match join_one(*kind, fd) {
                Err(e) if self.user.is_some() && e.errno() == Errno::PERM.raw_os_error() => {
                    later.push((kind, fd))
                }
                other => other?,
            }
        }
        let Some(user) = &self.user else { return Ok(()) };
        join_one(NamespaceKind::User, user)?;
        for (kind, fd) in later {
            join_one(*kind, fd)?;
        }
        Ok(())
    }

    /// In init, in its cgroup: the cgroup namespace.
    pub(crate) fn unshare_cgroup(&self) -> Result<()> {
        if !self.is_new(NamespaceKind::Cgroup) {
            return Ok(());
        }
        let mut step = trace::step("cgroup namespace", "unshare(2)");
        step.check(sys::namespace::unshare(flag(NamespaceKind::Cgroup)))?;
        note_inode(&mut step, NamespaceKind::Cgroup);
        Ok(())
    }

    /// In init: the time namespace with its offsets (config-linux.md, "Time offsets").
    pub(crate) fn unshare_time(&self, spec: &Spec) -> Result<()> {
        if !self.is_new(NamespaceKind::Time) {
            return Ok(());
        }
        let mut step = trace::step("time namespace", "unshare(2)");
        step.check(sys::namespace::unshare(NEWTIME))?;
        let offsets = spec.linux.iter().flat_map(|linux| &linux.time_offsets);
        let mut text = String::new();
        for (clock, TimeOffset { secs, nanosecs }) in offsets {
            if clock != "monotonic" && clock != "boottime" {
                return Err(Error::new(Kind::Invalid, format!("time offset of unknown clock {clock:?}")));
            }
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{clock} {secs} {nanosecs}");
        }
        if !text.is_empty() {
            step.note(format_args!("{}", text.trim_end()));
            std::fs::write("/proc/self/timens_offsets", &text).what(|| "write(/proc/self/timens_offsets)")?;
        }
        let fd = sys::namespace::open(Path::new("/proc/self/ns/time_for_children"))?;
        Ok(sys::namespace::setns(fd.as_fd(), NEWTIME)?)
    }

    /// One step of the story per new namespace, from inside it.
    pub(crate) fn tell(&self) {
        if !trace::enabled() {
            return;
        }
        for (kind, name) in NAMED {
            if self.clone_flags() & flag(kind) != 0 {
                let mut step = trace::step(name, "clone3(2)");
                note_inode(&mut step, kind);
            }
        }
    }
}

const NAMED: [(NamespaceKind, &str); 6] = [
    (NamespaceKind::User, "user namespace"),
    (NamespaceKind::Pid, "pid namespace"),
    (NamespaceKind::Mount, "mount namespace"),
    (NamespaceKind::Network, "network namespace"),
    (NamespaceKind::Uts, "uts namespace"),
    (NamespaceKind::Ipc, "ipc namespace"),
];

/// CLONE_NEW* of a kind.
pub(crate) fn flag(kind: NamespaceKind) -> u64 {
    let name = kind.proc_name();
    KINDS.iter().find(|(_, known)| *known == name).map_or(0, |(flag, _)| *flag)
}

/// The flags for one setns(2) into all namespaces of `pid`. The user namespace is left out when it is the
/// caller's own, which the kernel refuses to enter again.
pub(crate) fn all_of(pid: i32) -> Result<u64> {
    let mut flags = 0;
    for (flag, name) in KINDS {
        let theirs = match sys::namespace::inode(Path::new(&format!("/proc/{pid}/ns/{name}"))) {
            Ok(inode) => inode,
            // A kernel without this kind.
            Err(e)
                if e.errno() == Errno::NOENT.raw_os_error()
                    && Path::new(&format!("/proc/{pid}/ns")).exists() =>
            {
                continue;
            }
            Err(e) => return Err(e.into()),
        };
        if theirs != sys::namespace::inode(Path::new(&format!("/proc/self/ns/{name}")))? {
            flags |= flag;
        }
    }
    Ok(flags)
}

fn join_one(kind: NamespaceKind, fd: &OwnedFd) -> Result<()> {
    let mut step = trace::step("namespace", "setns(2)");
    step.note(format_args!("{}", kind.as_str()));
    let joined = sys::namespace::setns(fd.as_fd(), flag(kind))
        .what(|| format!("join the {} namespace", kind.as_str()));
    step.check(joined)
}

fn note_inode(step: &mut trace::Step, kind: NamespaceKind) {
    if trace::enabled()
        && let Ok(inode) = sys::namespace::inode(Path::new(&format!("/proc/self/ns/{}", kind.proc_name())))
    {
        step.note(format_args!("{}:[{inode}]", kind.proc_name()));
    }
}

fn is_own_user_namespace(path: &Path) -> Result<bool> {
    Ok(sys::namespace::inode(path)? == sys::namespace::inode(Path::new("/proc/self/ns/user"))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::runtime::{Linux, Namespace};

    fn spec(namespaces: &[(NamespaceKind, &str)]) -> Spec {
        let namespaces =
            namespaces.iter().map(|(kind, path)| Namespace { kind: *kind, path: path.into() }).collect();
        Spec { linux: Some(Linux { namespaces, ..Linux::default() }), ..Spec::default() }
    }

    #[test]
    fn what_is_cloned_and_what_is_joined() {
        use NamespaceKind::{Cgroup, Mount, Network, Pid, Time, User, Uts};
        let own_net = "/proc/self/ns/net";
        // (namespaces, clone flags of kinds, needs helper)
        type Case<'a> = (&'a [(NamespaceKind, &'a str)], &'a [NamespaceKind], bool);
        let cases: [Case<'_>; 5] = [
            (&[(Mount, ""), (Pid, "")], &[Mount, Pid], false),
            (&[(Mount, ""), (Cgroup, ""), (Time, ""), (Uts, "")], &[Mount, Uts], false),
            (&[(Mount, ""), (Network, own_net)], &[Mount], false),
            (&[(Mount, ""), (User, "")], &[Mount, User], false),
            (&[(Mount, ""), (User, ""), (Network, own_net)], &[Mount, User], true),
        ];
        for (namespaces, cloned, helper) in cases {
            let all = Namespaces::from_spec(&spec(namespaces)).unwrap();
            assert_eq!(
                all.clone_flags(),
                cloned.iter().fold(0, |flags, kind| flags | flag(*kind)),
                "{namespaces:?}"
            );
            assert_eq!(all.needs_helper(), helper, "{namespaces:?}");
        }
    }

    #[test]
    fn what_is_refused() {
        use NamespaceKind::{Mount, Network, Pid};
        let cases: [(&[(NamespaceKind, &str)], &str); 4] = [
            (&[(Pid, "")], "a container without a mount namespace of its own is not supported"),
            (&[(Mount, "/proc/self/ns/mnt")], "joining a mount namespace by path is not supported"),
            (&[(Mount, ""), (Mount, "")], "malformed spec file: duplicated ns \"mount\""),
            (
                &[(Mount, ""), (Network, "/nope")],
                "the network namespace of the spec: open(\"/nope\"): no such file or directory",
            ),
        ];
        for (namespaces, text) in cases {
            assert_eq!(Namespaces::from_spec(&spec(namespaces)).unwrap_err().chain(), text);
        }
    }
}
