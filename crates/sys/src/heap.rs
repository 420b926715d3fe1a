//! The memory of processes that must stay small: heap and program text given back.

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
