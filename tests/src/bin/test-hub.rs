//! The fake hub of the test hosts; see `tests::hub`.

fn main() {
    let folder = std::env::args().nth(1).unwrap_or_default();
    if let Err(error) = tests::hub::server::run(std::path::Path::new(&folder)) {
        eprintln!("test-hub: {error:#}");
        std::process::exit(111);
    }
}
