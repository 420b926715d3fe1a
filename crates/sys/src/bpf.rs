//! bpf(2) for one purpose: cgroup v2 device programs (BPF_PROG_TYPE_CGROUP_DEVICE).

use crate::{Result, check};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// One eBPF instruction (struct bpf_insn).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Insn {
    /// Operation.
    pub code: u8,
    /// Destination register in the low four bits, source register in the high ones.
    pub registers: u8,
    /// Jump or memory offset.
    pub off: i16,
    /// Immediate operand.
    pub imm: i32,
}

#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

#[repr(C)]
#[derive(Default)]
struct ProgAttach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

const PROG_LOAD: i32 = 5;
const PROG_ATTACH: i32 = 8;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;

/// Loads a device program.
pub fn load_device_program(program: &[Insn]) -> Result<OwnedFd> {
    let mut attr = ProgLoad {
        prog_type: TYPE_CGROUP_DEVICE,
        insn_cnt: program.len() as u32,
        insns: program.as_ptr() as u64,
        // The verifier asks for a licence text; the program calls no helper that needs one.
        license: c"Apache-2.0".as_ptr() as u64,
        ..ProgLoad::default()
    };
    // SAFETY: `attr` is a valid prefix of union bpf_attr and its pointers outlive the call.
    let ret = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw mut attr, size_of::<ProgLoad>()) };
    let fd = check(ret, || format!("bpf(PROG_LOAD, CGROUP_DEVICE, {} instructions)", program.len()))?;
    // SAFETY: the call returned a new descriptor of ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Attaches a device program to a cgroup v2 folder, beside others that are there.
pub fn attach_device_program(cgroup: BorrowedFd<'_>, program: &OwnedFd) -> Result<()> {
    let mut attr = ProgAttach {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_bpf_fd: program.as_fd().as_raw_fd() as u32,
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: ALLOW_MULTI,
        replace_bpf_fd: 0,
    };
    // SAFETY: `attr` is a valid prefix of union bpf_attr without pointers.
    let ret = unsafe { libc::syscall(libc::SYS_bpf, PROG_ATTACH, &raw mut attr, size_of::<ProgAttach>()) };
    check(ret, || "bpf(PROG_ATTACH, CGROUP_DEVICE)".to_string()).map(drop)
}
