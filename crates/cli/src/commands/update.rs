//! `update`.

use api::stats::UpdateConfig;

use super::join;
use crate::create::limits;
use crate::error::Error;
use crate::grammar::{Parsed, numbers};
use crate::session::Session;

/// `update`
pub async fn update(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    if parsed.used().is_empty() {
        return Err(Error::failed("you must provide one or more flags when using this command"));
    }
    let config = config(parsed).map_err(Error::failed)?;
    let client = session.client().await?;
    let (mut warnings, mut failures) = (Vec::new(), Vec::new());
    for name in &parsed.args {
        match client.container_update(name, &config).await {
            Ok(said) => {
                session.out.line(name)?;
                warnings.extend(said);
            }
            Err(error) => failures.push(error.into()),
        }
    }
    if !warnings.is_empty() {
        session.out.line(&warnings.join("\n"))?;
    }
    join(failures)
}

fn config(parsed: &Parsed) -> Result<UpdateConfig, String> {
    let cpus = Some(parsed.text("cpus")).filter(|c| !c.is_empty());
    let weight = Some(parsed.text("blkio-weight")).filter(|w| !w.is_empty());
    Ok(UpdateConfig {
        blkio_weight: weight.and_then(|w| w.parse().ok()).unwrap_or(0),
        cpu_shares: parsed.int_or("cpu-shares", 0),
        memory: parsed.bytes("memory"),
        nano_cpus: cpus.and_then(|c| numbers::parse_cpus(c).ok()).unwrap_or(0),
        cpu_period: parsed.int_or("cpu-period", 0),
        cpu_quota: parsed.int_or("cpu-quota", 0),
        cpu_realtime_period: parsed.int_or("cpu-rt-period", 0),
        cpu_realtime_runtime: parsed.int_or("cpu-rt-runtime", 0),
        cpuset_cpus: parsed.text("cpuset-cpus").to_owned(),
        cpuset_mems: parsed.text("cpuset-mems").to_owned(),
        memory_reservation: parsed.bytes("memory-reservation"),
        memory_swap: parsed.bytes("memory-swap"),
        pids_limit: Some(parsed.int_or("pids-limit", 0)).filter(|limit| *limit != 0),
        restart_policy: match parsed.text("restart") {
            "" => Default::default(),
            text => limits::restart(text)?,
        },
        ..UpdateConfig::default()
    })
}
