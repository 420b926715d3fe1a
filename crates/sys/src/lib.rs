//! The only unsafe code: system calls as safe functions.
