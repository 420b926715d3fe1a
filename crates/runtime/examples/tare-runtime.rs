//! The runtime's command line alone, for this crate's tests: the product's is the root package's `tare-runtime`.

fn main() -> std::process::ExitCode {
    runtime::command::main(std::env::args_os())
}
