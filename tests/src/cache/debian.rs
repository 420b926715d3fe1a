//! Debian packages without installing them: downloaded by apt with a configuration of its own, and unpacked
//! into a folder. Runs no maintainer script, starts no service, and leaves the machine's own apt state alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

/// A suite of Debian, seen through apt with its own folder.
#[derive(Debug)]
pub struct Suite {
    dir: PathBuf,
}

impl Suite {
    /// Sets up `suite` below `work` from the mirror that this machine uses, and fetches its index.
    pub fn open(suite: &str, work: &Path) -> Result<Suite> {
        let dir = work.join(format!("apt-{suite}"));
        for sub in ["etc", "state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(sub))?;
        }
        let mirror = mirror()?;
        let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
        ensure!(Path::new(keyring).exists(), "{keyring} is missing: is this Debian?");
        fs::write(
            dir.join("etc/sources.list"),
            format!("deb [signed-by={keyring}] {mirror} {suite} main\n"),
        )?;
        // An empty status file: nothing counts as installed, so dependencies are complete.
        fs::write(dir.join("status"), "")?;
        let root = dir.display();
        let config = format!(
            "Dir::Etc \"{root}/etc\";\nDir::Etc::Parts \"{root}/none\";\nDir::Etc::SourceParts \"{root}/none\";\n\
             Dir::Etc::PreferencesParts \"{root}/none\";\nDir::State \"{root}/state\";\n\
             Dir::State::status \"{root}/status\";\nDir::Cache \"{root}/cache\";\n\
             Acquire::Check-Valid-Until \"false\";\nAcquire::Languages \"none\";\nAPT::Sandbox::User \"root\";\n\
             APT::Install-Recommends \"false\";\nAcquire::Retries \"3\";\nDebug::NoLocking \"true\";\n"
        );
        fs::write(dir.join("apt.conf"), config)?;
        fs::create_dir_all(dir.join("none"))?;
        let suite = Suite { dir };
        suite.apt("apt-get", &["-q", "update"])?;
        Ok(suite)
    }

    /// Downloads the packages alone.
    pub fn download(&self, packages: &[&str]) -> Result<Vec<PathBuf>> {
        let into = self.dir.join("single");
        fs::create_dir_all(&into)?;
        self.apt("apt-get", &[&["-q", "download"], packages].concat())?;
        debs_in(&into)
    }

    /// Downloads the packages and all that they depend on.
    pub fn download_with_dependencies(&self, packages: &[&str]) -> Result<Vec<PathBuf>> {
        self.apt("apt-get", &[&["-q", "-y", "--download-only", "install"], packages].concat())?;
        debs_in(&self.dir.join("cache/archives"))
    }

    fn apt(&self, program: &str, args: &[&str]) -> Result<()> {
        let single = self.dir.join("single");
        fs::create_dir_all(&single)?;
        let mut command = Command::new(program);
        command.args(args).current_dir(single).env("APT_CONFIG", self.dir.join("apt.conf"));
        run(&mut command)
    }
}

/// Unpacks packages into `root`, later ones over earlier ones.
pub fn unpack(debs: &[PathBuf], root: &Path) -> Result<()> {
    fs::create_dir_all(root)?;
    debs.iter().try_for_each(|deb| run(Command::new("dpkg-deb").arg("--extract").arg(deb).arg(root)))
}

/// Runs a command; its messages are in the error when it fails.
pub fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("execute {command:?}"))?;
    if !output.status.success() {
        let text = [output.stdout, output.stderr].concat();
        bail!("{command:?} failed:\n{}", String::from_utf8_lossy(&text).trim_end());
    }
    Ok(())
}

/// The machine's own mirror of Debian's main archive.
fn mirror() -> Result<String> {
    let format = "$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)";
    let output = Command::new("apt-get").args(["indextargets", "--format", format]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let found = text.lines().find_map(|line| line.strip_prefix("Debian|Debian|main|"));
    found.map(str::to_string).context("apt knows no Debian archive here (run `apt-get update` first)")
}

fn debs_in(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir)?.flatten().map(|entry| entry.path()).collect();
    found.retain(|path| path.extension().is_some_and(|end| end == "deb"));
    found.sort();
    Ok(found)
}
