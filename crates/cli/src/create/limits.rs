//! Limits, health checks and restart policies on the command line.

use std::collections::BTreeMap;

use api::container::HealthConfig;
use api::host_config::{RestartPolicy, Ulimit};

use crate::grammar::{Parsed, duration, numbers};

/// getrlimit(2)'s resources that may be limited.
const ULIMITS: &[&str] = &[
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// `--ulimit`: `name=soft[:hard]`.
pub fn ulimit(value: &str) -> Result<Ulimit, String> {
    let (name, limits) = value.split_once('=').ok_or_else(|| format!("invalid ulimit argument: {value}"))?;
    if !ULIMITS.contains(&name) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let number = |text: &str| {
        numbers::parse_decimal(text)
            .map_err(|e| format!("strconv.ParseInt: parsing {}: {e}", numbers::quote(text)))
            .map(|n| n as i64)
    };
    let (soft, hard) = match limits.split(':').collect::<Vec<_>>()[..] {
        [soft] => {
            let soft = number(soft)?;
            (soft, soft)
        }
        [soft, hard] => {
            let hard = number(hard)?;
            (number(soft)?, hard)
        }
        _ => {
            return Err(format!(
                "too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`"
            ));
        }
    };
    const RULE: &str = "ulimit soft limit must be less than or equal to hard limit";
    match () {
        () if hard != -1 && soft == -1 => Err(format!("{RULE}: soft: -1 (unlimited), hard: {hard}")),
        () if hard != -1 && soft > hard => Err(format!("{RULE}: {soft} > {hard}")),
        () => Ok(Ulimit { name: name.to_owned(), soft, hard }),
    }
}

/// All of them: the last of a name counts, and they are sent by name.
pub fn ulimits(given: &[String]) -> Result<Vec<Option<Ulimit>>, String> {
    let mut out = BTreeMap::new();
    for value in given {
        let limit = ulimit(value)?;
        out.insert(limit.name.clone(), limit);
    }
    Ok(out.into_values().map(Some).collect())
}

/// `--sysctl`: the ones that a container may have of its own.
pub fn sysctl(value: &str) -> Result<(), String> {
    const KERNEL: &[&str] =
        &["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"];
    let allowed = value.split_once('=').is_some_and(|(name, _)| {
        name.starts_with("net.")
            || name.starts_with("fs.mqueue.")
            || name.strip_prefix("kernel.").is_some_and(|rest| KERNEL.contains(&rest))
    });
    if allowed { Ok(()) } else { Err(format!("sysctl '{value}' is not allowed")) }
}

/// `--restart`: `policy[:count]`.
pub fn restart(value: &str) -> Result<RestartPolicy, String> {
    let (name, count) = value.split_once(':').map_or((value, None), |(n, c)| (n, Some(c)));
    if name.is_empty() && count.is_some() {
        return Err("invalid restart policy format: no policy provided before colon".to_owned());
    }
    let count = match count {
        None | Some("") => 0,
        Some(count) => numbers::parse_decimal(count).map_err(|_| {
            "invalid restart policy format: maximum retry count must be an integer".to_owned()
        })?,
    };
    Ok(RestartPolicy { name: name.to_owned(), maximum_retry_count: count })
}

/// `--health-*` and `--no-healthcheck`.
pub fn health(parsed: &Parsed) -> Result<Option<HealthConfig>, String> {
    let ns = |name: &str| duration::parse(parsed.text(name)).unwrap_or(0);
    let retries = isize::try_from(parsed.int_or("health-retries", 0)).unwrap_or(0);
    let command = parsed.text("health-cmd");
    let test = |words: &[&str]| Some(words.iter().map(|w| (*w).to_owned()).collect());
    let config = HealthConfig {
        test: if command.is_empty() { None } else { test(&["CMD-SHELL", command]) },
        interval: ns("health-interval"),
        timeout: ns("health-timeout"),
        start_period: ns("health-start-period"),
        start_interval: ns("health-start-interval"),
        retries,
    };
    let asked = config != HealthConfig::default();
    if parsed.switch("no-healthcheck") {
        if asked {
            return Err("--no-healthcheck conflicts with --health-* options".to_owned());
        }
        return Ok(Some(HealthConfig { test: test(&["NONE"]), ..HealthConfig::default() }));
    }
    for (value, flag) in [
        (config.interval, "interval"),
        (config.timeout, "timeout"),
        (config.retries as i64, "retries"),
        (config.start_period, "start-period"),
        (config.start_interval, "start-interval"),
    ] {
        if value < 0 {
            return Err(format!("--health-{flag} cannot be negative"));
        }
    }
    Ok(asked.then_some(config))
}
