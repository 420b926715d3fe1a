//! Docker's default profile, resolved for a container; and its filter, compiled when the crate was built.
//!
//! The profile is `docker.profile`, read by the build script. Invariant: [`docker_default_program`] is what compiling
//! [`docker_default`] for the default capabilities yields; a test holds them together.
//!
//! It does not know which capabilities a container has.

use std::borrow::Cow;

use oci::runtime::{Action, Arg, Operator, Seccomp, Syscall};
use sys::seccomp::Insn;

use super::filter::{ALLOW, Arch, COLUMNS, Condition, Op};
use super::profile::Rule;
use super::{EPERM, Program};
use crate::Result;

mod generated {
    use super::{Arch, COLUMNS, Condition, Insn, Op, Rule};

    include!(concat!(env!("OUT_DIR"), "/seccomp.rs"));
}

use generated::{DEFAULT_CAPABILITIES, DEFAULT_FILTER, PROFILE, SYSCALLS};

/// The architecture that this program is built for.
pub(super) const NATIVE: Arch = generated::NATIVE;
/// Its name in [`docker_default`].
pub const NATIVE_ARCH: &str = generated::NATIVE_GO;
/// The kernel's version matters to no rule from here on.
const RECENT_KERNEL: (u32, u32) = (5, 10);

/// Docker's default profile for a container with this bounding set, on a machine of this architecture (Go's name:
/// `amd64` or `arm64`; nothing for another) and a kernel of this version.
pub fn docker_default(bounding: &[impl AsRef<str>], arch: &str, kernel: (u32, u32)) -> Option<Seccomp> {
    let native = match arch {
        "amd64" => Arch::X86_64,
        "arm64" => Arch::Aarch64,
        _ => return None,
    };
    let has = |name: &str| bounding.iter().any(|c| c.as_ref() == name);
    let syscall = |rule: &Rule| Syscall {
        names: rule.names.iter().map(|n| (*n).to_owned()).collect(),
        action: spec_action(rule.action).0,
        errno_ret: spec_action(rule.action).1,
        args: rule.conditions.iter().map(spec_arg).collect(),
    };
    Some(Seccomp {
        default_action: Action::Errno,
        default_errno_ret: Some(EPERM),
        architectures: native.family().iter().map(|a| a.spec_name().to_owned()).collect(),
        flags: Vec::new(),
        listener_path: "".into(),
        listener_metadata: String::new(),
        syscalls: PROFILE.iter().filter(|r| r.applies(&has, arch, kernel)).map(syscall).collect(),
    })
}

/// The filter of Docker's default profile for the default capabilities on this machine.
pub fn docker_default_program() -> Program {
    Program { insns: Cow::Borrowed(&DEFAULT_FILTER), flags: sys::seccomp::FLAG_SPEC_ALLOW }
}

/// The filter of Docker's default profile for a process with this bounding set, on this machine:
/// compiled with this program for the default set, at the call for others.
pub fn docker_default_for(bounding: &[String]) -> Result<Program> {
    let same = bounding.len() == DEFAULT_CAPABILITIES.len()
        && bounding.iter().all(|name| DEFAULT_CAPABILITIES.contains(&name.as_str()));
    if same {
        return Ok(docker_default_program());
    }
    match docker_default(bounding, NATIVE_ARCH, RECENT_KERNEL) {
        Some(profile) => super::compile(&profile),
        None => Ok(docker_default_program()),
    }
}

/// Whether this is what [`docker_default`] yields for the default capabilities on this machine.
pub(super) fn is_default(seccomp: &Seccomp) -> bool {
    let has = |name: &str| DEFAULT_CAPABILITIES.contains(&name);
    let same = |(rule, syscall): (&Rule, &Syscall)| {
        spec_action(rule.action) == (syscall.action, syscall.errno_ret)
            && rule.conditions.iter().map(spec_arg).eq(syscall.args.iter().copied())
            && rule.names.iter().eq(syscall.names.iter())
    };
    let family = NATIVE.family().iter().map(|a| a.spec_name());
    let rules = || PROFILE.iter().filter(|r| r.applies(&has, NATIVE_ARCH, RECENT_KERNEL));
    seccomp.default_action == Action::Errno
        && seccomp.default_errno_ret == Some(EPERM)
        && seccomp.flags.is_empty()
        && family.eq(seccomp.architectures.iter().map(String::as_str))
        && rules().count() == seccomp.syscalls.len()
        && rules().zip(&seccomp.syscalls).all(same)
}

/// The numbers of a call, -1 where an architecture does not have it.
pub(super) fn numbers(name: &str) -> Option<&'static [i32; COLUMNS]> {
    SYSCALLS.binary_search_by(|(n, _)| (*n).cmp(name)).ok().map(|at| &SYSCALLS[at].1)
}

/// All calls with their numbers.
#[cfg(test)]
pub(super) fn table() -> &'static [(&'static str, [i32; COLUMNS])] {
    &SYSCALLS
}

/// The capabilities that the built-in filter is for.
#[cfg(test)]
pub(super) fn default_capabilities() -> &'static [&'static str] {
    &DEFAULT_CAPABILITIES
}

fn spec_action(action: u32) -> (Action, Option<u32>) {
    if action == ALLOW { (Action::Allow, None) } else { (Action::Errno, Some(action & 0xffff)) }
}

fn spec_arg(c: &Condition) -> Arg {
    let op = match c.op {
        Op::NotEqual => Operator::NotEqual,
        Op::Less => Operator::Less,
        Op::LessOrEqual => Operator::LessOrEqual,
        Op::Equal => Operator::Equal,
        Op::GreaterOrEqual => Operator::GreaterOrEqual,
        Op::Greater => Operator::Greater,
        Op::MaskedEqual => Operator::MaskedEqual,
    };
    Arg { index: c.arg, value: c.value, value_two: c.value_two, op }
}
