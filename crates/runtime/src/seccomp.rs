//! System call filters: the spec's `seccomp` section (config-linux.md) as a program of classic BPF.
//!
//! Files: `filter` compiles numbers and actions, `emit` writes the instructions, `docker` is Docker's default profile,
//! `syscalls.tsv` the numbers of each architecture. The filter for Docker's default profile and capabilities is
//! compiled when the crate is built.
//!
//! As runc does (libcontainer/seccomp): names that the machine does not have are skipped, a call newer than all that
//! the profile names fails with ENOSYS, so that libc falls back, and without flags SPEC_ALLOW is set.
//!
//! It does not know how a filter is loaded (`sys::seccomp`) or when.

mod docker;
mod emit;
mod filter;
mod profile;

use std::borrow::Cow;

use oci::runtime as spec;
use sys::seccomp::Insn;

use crate::error::{Error, Kind, Result};
use filter::{
    ALLOW, Arch, Condition, ERRNO, Filter, KILL_PROCESS, KILL_THREAD, LOG, NOTIFY, Op, TRACE, TRAP,
};

pub use docker::{NATIVE_ARCH, docker_default, docker_default_for, docker_default_program};

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
/// The kernel takes what lies in the low half of a return value.
const MAX_ERRNO_RET: u32 = 0xffff;
/// A call has six arguments.
const MAX_ARGUMENT: u32 = 5;

/// All architectures that the spec knows and no kernel of ours runs. A filter need not mention them.
const FOREIGN: [&str; 18] = [
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
];

/// A compiled filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    insns: Cow<'static, [Insn]>,
    flags: u32,
}

impl Program {
    /// The instructions.
    pub fn insns(&self) -> &[Insn] {
        &self.insns
    }

    /// Flags for `seccomp(2)`; with `FLAG_NEW_LISTENER`, loading yields a listener.
    pub fn flags(&self) -> u32 {
        self.flags
    }
}

/// Compiles a filter for this machine. Docker's default one is not compiled but recognised.
pub fn compile(seccomp: &spec::Seccomp) -> Result<Program> {
    if docker::is_default(seccomp) {
        return Ok(docker_default_program());
    }
    compile_for(docker::NATIVE, seccomp)
}

fn compile_for(native: Arch, seccomp: &spec::Seccomp) -> Result<Program> {
    let arches = arches(native, seccomp)?;
    let flags = flags(seccomp)?;
    let default = action(seccomp.default_action, seccomp.default_errno_ret)?;
    let mut filter = Filter::new(default, newer_is_enosys(seccomp), &arches);
    for rule in &seccomp.syscalls {
        let action = action(rule.action, rule.errno_ret)?;
        let conditions = rule.args.iter().map(condition).collect::<Result<Vec<_>>>()?;
        for name in &rule.names {
            if let Some(numbers) = docker::numbers(name) {
                filter.add_call(name, numbers, action, &conditions);
            }
        }
    }
    match filter.compile() {
        Ok(insns) => Ok(Program { insns: Cow::Owned(insns), flags }),
        Err(length) => {
            Err(invalid(format!("seccomp: the filter has {length} instructions, more than the kernel takes")))
        }
    }
}

/// The machine's own architecture first, then the others of the list that its kernel runs.
fn arches(native: Arch, seccomp: &spec::Seccomp) -> Result<Vec<Arch>> {
    let mut wanted = vec![native];
    for name in &seccomp.architectures {
        let family = Arch::ALL.iter().find(|a| a.spec_name() == name);
        match family {
            Some(arch) if !wanted.contains(arch) => wanted.push(*arch),
            None if !FOREIGN.contains(&name.as_str()) => {
                return Err(invalid(format!("seccomp: unknown architecture {name:?}")));
            }
            _ => {}
        }
    }
    wanted.retain(|a| native.family().contains(a));
    Ok(wanted)
}

fn flags(seccomp: &spec::Seccomp) -> Result<u32> {
    let mut flags = 0;
    for name in &seccomp.flags {
        flags |= match name.as_str() {
            "SECCOMP_FILTER_FLAG_TSYNC" => sys::seccomp::FLAG_TSYNC,
            "SECCOMP_FILTER_FLAG_LOG" => sys::seccomp::FLAG_LOG,
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => sys::seccomp::FLAG_SPEC_ALLOW,
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => sys::seccomp::FLAG_WAIT_KILLABLE_RECV,
            _ => return Err(invalid(format!("seccomp: unknown flag {name:?}"))),
        };
    }
    if seccomp.flags.is_empty() {
        flags = sys::seccomp::FLAG_SPEC_ALLOW;
    }
    let mut notifying = seccomp.syscalls.iter().filter(|s| s.action == spec::Action::Notify).peekable();
    if seccomp.default_action == spec::Action::Notify {
        return Err(invalid("seccomp: SCMP_ACT_NOTIFY cannot be used as default action".into()));
    }
    if notifying.peek().is_some() {
        if seccomp.listener_path.as_os_str().is_empty() {
            return Err(invalid("seccomp: SCMP_ACT_NOTIFY needs a listenerPath".into()));
        }
        // The listener's fd is sent with a write: the process would wait for itself.
        if notifying.any(|s| s.names.iter().any(|n| n == "write")) {
            return Err(invalid("seccomp: SCMP_ACT_NOTIFY cannot be used for the write syscall".into()));
        }
        flags |= sys::seccomp::FLAG_NEW_LISTENER;
    }
    Ok(flags)
}

/// Not when the default lets calls pass (a tracer answers for itself), or says ENOSYS already.
fn newer_is_enosys(seccomp: &spec::Seccomp) -> bool {
    let passes =
        matches!(seccomp.default_action, spec::Action::Allow | spec::Action::Log | spec::Action::Trace);
    !passes && seccomp.default_errno_ret != Some(ENOSYS)
}

fn action(action: spec::Action, errno: Option<u32>) -> Result<u32> {
    let number = || match errno.unwrap_or(EPERM) {
        number if number <= MAX_ERRNO_RET => Ok(number),
        number => Err(invalid(format!("seccomp: errnoRet {number} is too large"))),
    };
    Ok(match action {
        spec::Action::KillThread => KILL_THREAD,
        spec::Action::KillProcess => KILL_PROCESS,
        spec::Action::Trap => TRAP,
        spec::Action::Errno => ERRNO | number()?,
        spec::Action::Trace => TRACE | number()?,
        spec::Action::Allow => ALLOW,
        spec::Action::Log => LOG,
        spec::Action::Notify => NOTIFY,
    })
}

fn condition(arg: &spec::Arg) -> Result<Condition> {
    if arg.index > MAX_ARGUMENT {
        return Err(invalid(format!("seccomp: a system call has no argument {}", arg.index)));
    }
    let op = match arg.op {
        spec::Operator::NotEqual => Op::NotEqual,
        spec::Operator::Less => Op::Less,
        spec::Operator::LessOrEqual => Op::LessOrEqual,
        spec::Operator::Equal => Op::Equal,
        spec::Operator::GreaterOrEqual => Op::GreaterOrEqual,
        spec::Operator::Greater => Op::Greater,
        spec::Operator::MaskedEqual => Op::MaskedEqual,
    };
    Ok(Condition { arg: arg.index, op, value: arg.value, value_two: arg.value_two })
}

fn invalid(text: String) -> Error {
    Error::new(Kind::Invalid, text)
}

#[cfg(test)]
mod tests;
