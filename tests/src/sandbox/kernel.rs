//! An older kernel than this machine's: system calls that came later are answered with ENOSYS.
//!
//! A seccomp filter does that for all that runs in the test host, so that the programs under test have no switch of
//! their own. It cannot take away what is no system call of its own: options of file systems, files of cgroups.

use anyhow::{Result, bail};
use sys::seccomp::Insn;

/// Names the version.
pub const VARIABLE: &str = "TARE_TEST_KERNEL";

/// Versions that can be asked for, and the number of the first system call that is missing. From 424 on the numbers
/// are those of all architectures; x86_64 has its x32 calls from 512 on.
const VERSIONS: [(&str, u32); 2] = [("5.10", 441), ("6.1", 451)];
const END: u32 = 512;

/// Makes this process and its children believe that they run on that kernel.
pub fn pretend(version: &str) -> Result<()> {
    let Some((_, first)) = VERSIONS.iter().find(|(known, _)| *known == version) else {
        bail!("{VARIABLE}={version}: not one of {VERSIONS:?}");
    };
    sys::seccomp::load(&filter(*first), 0)?;
    Ok(())
}

fn filter(first: u32) -> [Insn; 5] {
    const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    const AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    const ALLOW: u32 = 0x7fff_0000;
    const ENOSYS: u32 = 0x0005_0000 | 38;
    let jump = |k, jt, jf| Insn { code: AT_LEAST, jt, jf, k };
    let plain = |code, k| Insn { code, k, ..Insn::default() };
    // The number is the first word of struct seccomp_data.
    [plain(LOAD, 0), jump(first, 0, 1), jump(END, 0, 1), plain(RETURN, ALLOW), plain(RETURN, ENOSYS)]
}
