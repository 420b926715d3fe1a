//! Who the process is: ids, capabilities, no_new_privs, labels, seccomp.
//!
//! Order (capabilities(7), as runc): without no_new_privs the filter is loaded first, because loading takes
//! CAP_SYS_ADMIN; then the bounding set shrinks while CAP_SETPCAP is there; then ids, keeping capabilities
//! across the change; then the sets; ambient last, since it must be in permitted and inheritable. With
//! no_new_privs the filter comes after everything else.

use crate::caps::Sets;
use crate::error::{Error, Kind, Result, What};
use crate::seccomp::{self, Program};
use oci::runtime::{Capabilities, Process, Spec};
use rustix::fs::{FileType, Gid, Mode, Uid, fchown, fstat, makedev};
use rustix::io::Errno;
use rustix::thread::{
    set_keep_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};
use std::os::fd::BorrowedFd;
use sys::trace;

/// What a process becomes.
pub(crate) struct Identity<'a> {
    process: &'a Process,
    capabilities: Sets,
    filter: Option<Program>,
}

/// By this annotation, and no `linux.seccomp`, a spec asks for Docker's default profile for the
/// process's bounding set. For the default set the filter was compiled with this program.
const SECCOMP_ANNOTATION: &str = "io.tare.seccomp";
const SECCOMP_DOCKER_DEFAULT: &str = "docker-default";

fn filter(process: &Process, spec: &Spec) -> Result<Option<Program>> {
    if let Some(profile) = spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref()) {
        return Ok(Some(seccomp::compile(profile)?));
    }
    match spec.annotations.get(SECCOMP_ANNOTATION).map(String::as_str) {
        None => Ok(None),
        Some(SECCOMP_DOCKER_DEFAULT) => {
            let bounding = process.capabilities.as_ref().map_or(&[][..], |sets| &sets.bounding[..]);
            Ok(Some(seccomp::docker_default_for(bounding)?))
        }
        Some(other) => Err(Error::new(
            Kind::Unsupported,
            format!("seccomp profile {other:?} of annotation {SECCOMP_ANNOTATION} is not known"),
        )),
    }
}

impl<'a> Identity<'a> {
    /// Compiles the filter and reads the capability names.
    pub(crate) fn of(process: &'a Process, spec: &Spec) -> Result<Self> {
        let mut step = trace::step("seccomp", "compile");
        let filter = step.check(filter(process, spec))?;
        if filter.as_ref().is_some_and(|filter| filter.flags() & sys::seccomp::FLAG_NEW_LISTENER != 0) {
            return Err(Error::new(Kind::Unsupported, "SCMP_ACT_NOTIFY is not supported"));
        }
        if let Some(filter) = &filter {
            step.note(format_args!("{} instructions", filter.insns().len()));
        } else {
            step.cancel();
        }
        // As runc: a process of which nothing is said has none.
        let capabilities =
            Sets::from_spec(process.capabilities.as_ref().unwrap_or(&Capabilities::default()))?;
        Ok(Self { process, capabilities, filter })
    }

    /// All but the filter that comes last. Afterwards this process is the container's.
    pub(crate) fn assume(&self) -> Result<()> {
        if !self.process.no_new_privileges {
            self.load_filter()?;
        }
        {
            let mut step = trace::step("capabilities", "prctl(2) PR_CAPBSET_DROP");
            step.check(self.capabilities.drop_bounding())?;
        }
        set_keep_capabilities(true).what(|| "prctl(PR_SET_KEEPCAPS)")?;
        self.ids()?;
        set_keep_capabilities(false).what(|| "prctl(PR_SET_KEEPCAPS)")?;
        {
            let mut step = trace::step("capabilities", "capset(2)");
            step.note(format_args!("{}", self.capabilities));
            step.check(self.capabilities.apply())?;
        }
        if let Some(umask) = self.process.user.umask {
            rustix::process::umask(Mode::from_raw_mode(umask & 0o777));
        } else {
            rustix::process::umask(Mode::from_raw_mode(0o022));
        }
        if self.process.no_new_privileges {
            let mut step = trace::step("no new privileges", "prctl(2)");
            step.check(set_no_new_privs(true).what(|| "prctl(PR_SET_NO_NEW_PRIVS)"))?;
        }
        Ok(())
    }

    /// The filter of a process with no_new_privs: nothing but execve follows.
    pub(crate) fn filter_last(&self) -> Result<()> {
        if self.process.no_new_privileges { self.load_filter() } else { Ok(()) }
    }

    fn load_filter(&self) -> Result<()> {
        let Some(filter) = &self.filter else { return Ok(()) };
        let mut step = trace::step("seccomp", "seccomp(2)");
        step.note(format_args!("{} instructions", filter.insns().len()));
        step.check(sys::seccomp::load(filter.insns(), filter.flags()).what(|| "unable to init seccomp"))?;
        Ok(())
    }

    fn ids(&self) -> Result<()> {
        let user = &self.process.user;
        let mut step = trace::step("user", "setresuid(2)");
        step.note(format_args!("{}:{} {:?}", user.uid, user.gid, user.additional_gids));
        let groups: Vec<Gid> = user.additional_gids.iter().map(|gid| Gid::from_raw(*gid)).collect();
        match set_thread_groups(&groups) {
            // A user namespace whose setgroups file says deny: only an empty list can be meant.
            Err(Errno::PERM) if groups.is_empty() && setgroups_denied() => {}
            other => step.check(other.what(|| "setgroups()"))?,
        }
        let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
        step.check(set_thread_res_gid(gid, gid, gid).what(|| format!("setgid({})", user.gid)))?;
        step.check(set_thread_res_uid(uid, uid, uid).what(|| format!("setuid({})", user.uid)))
    }
}

/// In a user namespace that was just entered: its root.
pub(crate) fn become_root() -> Result<()> {
    set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT).what(|| "setresgid(0) in the user namespace")?;
    set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).what(|| "setresuid(0) in the user namespace")
}

/// The program shall be able to reopen /dev/stdout and the like as its user.
pub(crate) fn own_stdio(process: &Process) -> Result<()> {
    let uid = Uid::from_raw(process.user.uid);
    let own = |fd: BorrowedFd<'_>| {
        let stat = fstat(fd)?;
        let null = FileType::from_raw_mode(stat.st_mode).is_char_device() && stat.st_rdev == makedev(1, 3);
        if stat.st_uid == process.user.uid || null {
            return Ok(());
        }
        match fchown(fd, Some(uid), None) {
            // An id outside of the user namespace's map, or a file system that has no owners or is read-only.
            Err(Errno::INVAL | Errno::PERM | Errno::ROFS | Errno::NOSYS) => Ok(()),
            other => other,
        }
    };
    let all = own(rustix::stdio::stdin())
        .and_then(|()| own(rustix::stdio::stdout()))
        .and_then(|()| own(rustix::stdio::stderr()));
    match all {
        // The caller has it closed.
        Err(Errno::BADF) => Ok(()),
        other => other.what(|| "fchown(stdio)"),
    }
}

/// Into the process's working folder. Its path is the container's, and so may be the answer.
pub(crate) fn enter_cwd(process: &Process) -> Result<()> {
    let cwd = &process.cwd;
    rustix::process::chdir(cwd).what(|| format!("chdir to cwd ({cwd:?}) set in config.json failed"))?;
    // A link to /proc/self/fd/N would be a folder of the host's (CVE-2024-21626): getcwd tells such a place by a
    // path that is not below the root.
    let inside = rustix::process::getcwd(Vec::new()).is_ok_and(|path| path.to_bytes().starts_with(b"/"));
    if inside {
        return Ok(());
    }
    let text = "current working directory is outside of container mount namespace root -- possible container breakout detected";
    Err(Error::new(Kind::Invalid, text))
}

/// The labels of the coming execve (AppArmor, SELinux). That the module is there was checked before.
pub(crate) fn label(process: &Process) -> Result<()> {
    let profile = process.apparmor_profile.as_str();
    if !profile.is_empty() && profile != "unconfined" {
        let mut step = trace::step("AppArmor", "write(2)");
        step.note(format_args!("{profile}"));
        // Since 5.8 the module has a folder of its own; before, the file was shared.
        let text = format!("exec {profile}");
        let written = std::fs::write("/proc/self/attr/apparmor/exec", &text)
            .or_else(|_| std::fs::write("/proc/self/attr/exec", &text));
        step.check(written.what(|| format!("unable to apply apparmor profile {profile:?}")))?;
    }
    if !process.selinux_label.is_empty() {
        let mut step = trace::step("SELinux", "write(2)");
        step.note(format_args!("{}", process.selinux_label));
        step.check(
            std::fs::write("/proc/self/attr/exec", &process.selinux_label).what(|| "set the SELinux label"),
        )?;
    }
    Ok(())
}

fn setgroups_denied() -> bool {
    std::fs::read("/proc/self/setgroups").map_or(true, |text| text.starts_with(b"deny"))
}
