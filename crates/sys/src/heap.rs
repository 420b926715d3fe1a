//! The memory of processes that must stay small: heap, stack and program text given back.

/// Gives every whole free page of the heap back to the kernel (malloc_trim(3)); glibc only, else nothing.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes a number, locks the heap itself and touches only free memory.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Unmaps the pages of the program's own text until they are needed again (MADV_DONTNEED): what ran once
/// at the start stays in the page cache, where the kernel may drop it, and no longer in this process.
pub fn forget_text() {
    unsafe extern "C" {
        // Made by the linker: the first byte of the program and the first one behind its text.
        static __executable_start: u8;
        static etext: u8;
    }
    const PAGE: usize = 4096;
    let start = (&raw const __executable_start as usize).next_multiple_of(PAGE);
    let end = (&raw const etext as usize) / PAGE * PAGE;
    if end > start {
        // SAFETY: the range is the program's headers, constants and text: private, read-only mappings of
        // its file, whose pages the kernel reads again at the next access.
        unsafe {
            libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED);
        }
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
