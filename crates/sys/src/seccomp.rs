//! Loading seccomp filters (seccomp(2)).

use crate::{Result, check};
use rustix::fd::{FromRawFd, OwnedFd};

/// One classic BPF instruction (struct sock_filter).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Insn {
    /// Operation.
    pub code: u16,
    /// Jump distance when true.
    pub jt: u8,
    /// Jump distance when false.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// SECCOMP_FILTER_FLAG_TSYNC.
pub const FLAG_TSYNC: u32 = 1;
/// SECCOMP_FILTER_FLAG_LOG.
pub const FLAG_LOG: u32 = 2;
/// SECCOMP_FILTER_FLAG_SPEC_ALLOW.
pub const FLAG_SPEC_ALLOW: u32 = 4;
/// SECCOMP_FILTER_FLAG_NEW_LISTENER: [`load`] returns the listener.
pub const FLAG_NEW_LISTENER: u32 = 8;
/// SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV.
pub const FLAG_WAIT_KILLABLE_RECV: u32 = 32;

#[repr(C)]
struct Program {
    len: u16,
    filter: *const Insn,
}

/// Installs the filter for the calling thread. Needs no_new_privs or CAP_SYS_ADMIN.
pub fn load(filter: &[Insn], flags: u32) -> Result<Option<OwnedFd>> {
    const SECCOMP_SET_MODE_FILTER: u32 = 1;
    let call = || format!("seccomp(SET_MODE_FILTER, {} instructions, flags {flags:#x})", filter.len());
    let Ok(len) = u16::try_from(filter.len()) else {
        return Err(crate::Error::new(call(), rustix::io::Errno::INVAL));
    };
    let program = Program { len, filter: filter.as_ptr() };
    // SAFETY: the program points to `len` instructions that outlive the call; the kernel checks them.
    let ret = unsafe { libc::syscall(libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    let fd = check(ret, call)?;
    // SAFETY: with this flag the return value is a new descriptor of ours.
    Ok((flags & FLAG_NEW_LISTENER != 0).then(|| unsafe { OwnedFd::from_raw_fd(fd as i32) }))
}
