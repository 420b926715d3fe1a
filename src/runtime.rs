//! The `tare-runtime` program.
fn main() {}
