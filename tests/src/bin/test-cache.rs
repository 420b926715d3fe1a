//! Builds the cache of foreign software and images; `cargo xtask test` runs it.

fn main() -> anyhow::Result<()> {
    tests::cache::build::ensure(&tests::cache::dir(), &|step| eprintln!("{step}"))
}
