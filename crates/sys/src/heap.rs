//! The C library's heap, for processes that must stay small.

/// Gives every whole free page of the heap back to the kernel (malloc_trim(3)); glibc only, else nothing.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes a number, locks the heap itself and touches only free memory.
    unsafe {
        libc::malloc_trim(0);
    }
}
