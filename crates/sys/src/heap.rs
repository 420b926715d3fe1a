//! The memory of processes that must stay small: heap, stack and program text given back.

use rustix::fd::{AsRawFd, BorrowedFd};

/// Gives every whole free page of the heap back to the kernel (malloc_trim(3)); glibc only, else nothing.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes a number, locks the heap itself and touches only free memory.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Unmaps the pages of the program's own text (MADV_DONTNEED) and sleeps until `fd` is readable or `limit_ns` have
/// passed: what ran once at the start stays in the page cache, where the kernel may drop it, and no longer in
/// this process. Both calls are made from one place: a page that is touched brings its 16 neighbours back
/// (fault-around), and so would each function on the way to the wait.
#[inline(never)]
pub fn sleep_without_text(fd: BorrowedFd<'_>, limit_ns: Option<u64>) {
    unsafe extern "C" {
        // Made by the linker: the first byte of the program and the first one behind its text.
        static __executable_start: u8;
        static etext: u8;
    }
    const PAGE: usize = 4096;
    let start = (&raw const __executable_start as usize).next_multiple_of(PAGE);
    let end = (&raw const etext as usize) / PAGE * PAGE;
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let mut limit = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let timeout = limit_ns.map_or(std::ptr::null_mut(), |ns| {
        limit.tv_sec = (ns / 1_000_000_000) as i64;
        limit.tv_nsec = (ns % 1_000_000_000) as i64;
        &raw mut limit
    });
    // SAFETY: the range is the program's headers, constants and text: private, read-only mappings of its file, whose
    // pages the kernel reads again at the next access. ppoll(2) writes to `poll` and `limit` only, which live
    // here. That either fails means only that it was not done or not waited for.
    unsafe {
        system_call(
            libc::SYS_madvise,
            [start, end.saturating_sub(start), libc::MADV_DONTNEED as usize, 0, 0],
        );
        system_call(libc::SYS_ppoll, [&raw mut poll as usize, 1, timeout as usize, 0, 8]);
    }
}

/// A system call without a function of libc's, which would lie elsewhere in the text.
#[inline(always)]
#[cfg(target_arch = "x86_64")]
unsafe fn system_call(number: i64, a: [usize; 5]) {
    // SAFETY: the caller's; the kernel changes rax, rcx and r11 and nothing else (x86-64 psABI, A.2.1).
    unsafe {
        std::arch::asm!("syscall", inlateout("rax") number => _, in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
            in("r10") a[3], in("r8") a[4], lateout("rcx") _, lateout("r11") _, options(nostack));
    }
}

/// The same for AArch64: the number in x8, the result in x0.
#[inline(always)]
#[cfg(target_arch = "aarch64")]
unsafe fn system_call(number: i64, a: [usize; 5]) {
    // SAFETY: the caller's; the kernel changes x0 only.
    unsafe {
        std::arch::asm!("svc 0", in("x8") number, inlateout("x0") a[0] => _, in("x1") a[1], in("x2") a[2],
            in("x3") a[3], in("x4") a[4], options(nostack));
    }
}

/// Gives back the pages of the main thread's stack that deeper calls have used before (MADV_DONTNEED).
/// To be called by the main thread only, from a frame near the top.
#[inline(never)]
pub fn forget_stack() {
    const PAGE: usize = 4096;
    /// Kept below this frame: the call's own frames and the red zone.
    const MARGIN: usize = 4 * PAGE;
    /// Within the gap that the kernel keeps free below a stack (256 pages): nothing else can lie there.
    const REACH: usize = 200 * PAGE;
    let here = 0u8;
    let end = ((&raw const here as usize) - MARGIN) / PAGE * PAGE;
    // SAFETY: the range ends well below the stack pointer and begins above any other mapping: it holds
    // frames of calls that have returned, which nobody reads again. ENOMEM for its unmapped part is expected.
    unsafe {
        libc::madvise((end - REACH) as *mut libc::c_void, REACH, libc::MADV_DONTNEED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::AsFd;
    use std::io::Write;
    use std::time::{Duration, Instant};

    #[test]
    fn sleeping_ends_with_a_byte_or_the_limit() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let before = Instant::now();
        sleep_without_text(read.as_fd(), Some(20_000_000));
        assert!(before.elapsed() >= Duration::from_millis(20));
        std::fs::File::from(write).write_all(b"x").unwrap();
        sleep_without_text(read.as_fd(), None);
        trim();
        forget_stack();
    }
}
