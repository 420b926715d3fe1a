//! The helper program of the test hosts; see `tests::sandbox` for its stages.

fn main() {
    if let Err(error) = tests::sandbox::main() {
        eprintln!("testhost-init: {error:#}");
        std::process::exit(111);
    }
}
