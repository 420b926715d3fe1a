//! `cargo xtask bench [--only GROUP,…] [--runs N] [--containers N] [--megabytes N] [--json FILE]`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use benches::{inside, report};
use tests::sandbox::Data;
use tests::{Engine, TestHost};

const USAGE: &str = "Usage: cargo xtask bench [--yes] [--only GROUP[,GROUP]] [--runs N] [--containers N] [--megabytes N] [--json FILE]

Tare beside the kernel floor, docker, podman, crun and runc, taking turns in one test host.
  --only GROUP    only these groups, separated by commas (all):
                    start    run, exec and a published port; the runtimes alone
                    series   200 runs back to back, 100 eight at a time, what is left on the host
                    streams  logs, output into the log, attached, and of exec (3 turns at most)
                    living   ps and the daemon with many containers
  --runs N        turns of each contestant (20)
  --containers N  containers for `living` (100)
  --megabytes N   output for `streams` (300)
  --json FILE     all samples as JSON
";
/// No benchmark takes longer.
const LIMIT: Duration = Duration::from_secs(3600);

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "--help") {
        print!("{USAGE}");
        return Ok(());
    }
    let options = Options::parse(&args)?;
    match &options.inside {
        Some(floor) => {
            let results =
                inside::run(floor, &options.only, options.rounds, options.containers, options.megabytes)?;
            let (contests, weights, facts) = (&results.contests, &results.weights, &results.facts);
            print!("{}", report::table(contests, weights, facts));
            if let Some(file) = &options.json {
                let json = report::json(contests, weights, facts, options.rounds);
                std::fs::write(file, serde_json::to_vec_pretty(&json)?)
                    .with_context(|| format!("write {file}"))?;
            }
            Ok(())
        }
        None => outside(&options),
    }
}

#[derive(Debug)]
struct Options {
    only: Vec<String>,
    rounds: usize,
    containers: usize,
    megabytes: usize,
    json: Option<String>,
    /// Path of the floor program: given to the run inside the test host.
    inside: Option<String>,
}

impl Options {
    fn parse(args: &[String]) -> Result<Options> {
        let mut options = Options {
            only: inside::GROUPS.map(str::to_string).to_vec(),
            rounds: 20,
            containers: 100,
            megabytes: 300,
            json: None,
            inside: None,
        };
        let mut args = args.iter();
        while let Some(name) = args.next() {
            let value = args.next().with_context(|| format!("{name} wants a value\n{USAGE}"))?;
            match name.as_str() {
                "--only" => options.only = value.split(',').map(str::to_string).collect(),
                "--runs" => options.rounds = value.parse().context("--runs")?,
                "--megabytes" => options.megabytes = value.parse().context("--megabytes")?,
                "--containers" => options.containers = value.parse().context("--containers")?,
                "--json" => options.json = Some(value.clone()),
                "--inside" => options.inside = Some(value.clone()),
                _ => bail!("unknown option {name}\n{USAGE}"),
            }
        }
        ensure!(options.rounds > 0, "--runs must be at least 1");
        if let Some(unknown) = options.only.iter().find(|name| !inside::GROUPS.contains(&name.as_str())) {
            bail!("unknown group {unknown:?}; there are {}", inside::GROUPS.join(", "));
        }
        Ok(options)
    }
}

/// Makes the test host on the real disk, with dockerd and the registry up, and runs ourselves in it.
fn outside(options: &Options) -> Result<()> {
    let scratch = tests::cache::dir().join(format!("bench-{}", std::process::id()));
    std::fs::create_dir_all(&scratch)?;
    let result = compare(options, &scratch);
    let _ = std::fs::remove_dir_all(&scratch);
    result
}

fn compare(options: &Options, scratch: &Path) -> Result<()> {
    let floor = compile_floor(scratch)?;
    let own = std::env::current_exe()?;
    // Both are seen inside below the bound folder, wherever they lie here.
    std::fs::copy(&own, scratch.join("bench-inside")).context("copy the benchmark")?;
    let folder = scratch.to_str().context("the cache's path is not UTF-8")?.to_string();
    let host = TestHost::with_data(Data::Folder(folder)).context("no test host on this machine")?;
    host.start_registry();
    host.start(Engine::Docker);
    let (rounds, containers) = (options.rounds.to_string(), options.containers.to_string());
    let (only, megabytes) = (options.only.join(","), options.megabytes.to_string());
    let floor = format!(
        "/run/testhost/scratch/{}",
        floor.file_name().and_then(|name| name.to_str()).unwrap_or("floor")
    );
    let mut args = vec![
        "/run/testhost/scratch/bench-inside",
        "--inside",
        &floor,
        "--only",
        &only,
        "--megabytes",
        &megabytes,
        "--runs",
        &rounds,
        "--containers",
        &containers,
    ];
    if options.json.is_some() {
        args.extend(["--json", "/run/testhost/bench.json"]);
    }
    let output = host.run(&args, b"", LIMIT);
    eprint!("{}", output.stderr);
    print!("{}", output.stdout);
    ensure!(output.code == 0, "the benchmark ended with {}", output.code);
    if let Some(file) = &options.json {
        std::fs::write(file, host.read("/run/testhost/bench.json"))
            .with_context(|| format!("write {file}"))?;
    }
    Ok(())
}

fn compile_floor(scratch: &Path) -> Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("floor/floor.c");
    let program = scratch.join("floor");
    let status = Command::new("gcc").args(["-static", "-O2", "-o"]).arg(&program).arg(&source).status();
    ensure!(status.context("execute gcc")?.success(), "gcc could not compile {}", source.display());
    Ok(program)
}
