//! Health checks as they are asked for, and as they stand. The checks themselves are the shim's.

use crate::config::Health as Asked;
use crate::error::{Error, Result};
use crate::state::Record;
use crate::{Engine, Status};
use rustix::fd::AsFd;
use shim::health::{Check, Health};

/// dockerd's values where nothing is said.
const INTERVAL_NS: u64 = 30_000_000_000;
const TIMEOUT_NS: u64 = 30_000_000_000;
const START_INTERVAL_NS: u64 = 5_000_000_000;
const RETRIES: u32 = 3;
/// The shortest time that may be asked for.
const SHORTEST_NS: i64 = 1_000_000;

/// Checks what a client asks, in dockerd's words.
pub(super) fn check(asked: &Asked) -> Result<()> {
    let short = |value: i64| value != 0 && value < SHORTEST_NS;
    let named = |what: &str| Err(Error::invalid(format!("{what} in Healthcheck cannot be less than 1ms")));
    match () {
        () if short(asked.interval) => named("Interval"),
        () if short(asked.timeout) => named("Timeout"),
        () if asked.retries < 0 => Err(Error::invalid("Retries in Healthcheck cannot be negative")),
        () if short(asked.start_period) => named("StartPeriod"),
        () if short(asked.start_interval) => named("StartInterval"),
        () => Ok(()),
    }
}

/// The client's wishes over the image's check.
pub(super) fn merge(own: Option<Asked>, image: Option<Asked>) -> Option<Asked> {
    let (Some(mut own), Some(image)) = (own.clone(), image.clone()) else { return own.or(image) };
    if own.test.is_empty() {
        own.test = image.test;
    }
    for (own, image) in [
        (&mut own.interval, image.interval),
        (&mut own.timeout, image.timeout),
        (&mut own.start_period, image.start_period),
        (&mut own.start_interval, image.start_interval),
        (&mut own.retries, image.retries),
    ] {
        if *own == 0 {
            *own = image;
        }
    }
    Some(own)
}

/// What the shim runs; `None` where nothing is checked.
pub(crate) fn probe(asked: Option<&Asked>) -> Option<Check> {
    let asked = asked?;
    let args: Vec<String> = match asked.test.split_first() {
        Some((kind, args)) if kind == "CMD" => args.to_vec(),
        Some((kind, args)) if kind == "CMD-SHELL" => {
            ["/bin/sh", "-c"].map(String::from).into_iter().chain(args.iter().cloned()).collect()
        }
        // `NONE`, nothing, or a word that dockerd does not know either.
        _ => return None,
    };
    let or = |value: i64, default: u64| u64::try_from(value).ok().filter(|v| *v > 0).unwrap_or(default);
    Some(Check {
        args,
        interval_ns: or(asked.interval, INTERVAL_NS),
        timeout_ns: or(asked.timeout, TIMEOUT_NS),
        start_period_ns: or(asked.start_period, 0),
        start_interval_ns: or(asked.start_interval, START_INTERVAL_NS),
        retries: u32::try_from(asked.retries).ok().filter(|n| *n > 0).unwrap_or(RETRIES),
    })
}

impl Engine {
    /// What the checks of a container have found, if it has any and was started before.
    pub(super) fn health_of(&self, record: &Record, status: Status) -> Option<Health> {
        probe(record.config.healthcheck.as_ref())?;
        match status {
            Status::Running | Status::Paused => Health::read(&self.paths().task(&record.id)),
            _ => record.last.health.clone(),
        }
    }

    /// Before a start: it begins anew, and remembers the last results, as dockerd.
    pub(crate) fn begin_health(&self, record: &Record) -> Result<()> {
        if probe(record.config.healthcheck.as_ref()).is_none() {
            return Ok(());
        }
        let log = record.last.health.clone().map(|h| h.log).unwrap_or_default();
        let path = self.paths().task(&record.id);
        let dir = rustix::fs::open(
            &path,
            rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )
        .map_err(crate::error::errno(format!("open {}", path.display())))?;
        Health { log, ..Health::default() }.write(dir.as_fd()).map_err(|e| Error::internal("health", &e))
    }

    /// After the end: nobody checks any more, which counts as unhealthy, as with dockerd.
    pub(crate) fn last_health(&self, record: &Record) -> Option<Health> {
        probe(record.config.healthcheck.as_ref())?;
        let mut health = Health::read(&self.paths().task(&record.id)).or(record.last.health.clone())?;
        health.status = shim::health::Status::Unhealthy;
        Some(health)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_run() {
        let asked = |test: &[&str]| Asked {
            test: test.iter().map(|w| (*w).to_string()).collect(),
            ..Asked::default()
        };
        for (test, args) in [
            (&["CMD", "a", "b"][..], Some("a b")),
            (&["CMD-SHELL", "a b"], Some("/bin/sh -c a b")),
            (&["NONE"], None),
            (&[], None),
            (&["FOO", "x"], None),
        ] {
            assert_eq!(probe(Some(&asked(test))).map(|c| c.args.join(" ")).as_deref(), args);
        }
        let check = probe(Some(&asked(&["CMD", "x"]))).unwrap();
        assert_eq!(
            (
                check.interval_ns,
                check.timeout_ns,
                check.start_period_ns,
                check.start_interval_ns,
                check.retries
            ),
            (30_000_000_000, 30_000_000_000, 0, 5_000_000_000, 3)
        );
    }

    #[test]
    fn wishes_go_before_the_image() {
        let image = Asked { test: vec!["CMD".into()], interval: 5, retries: 7, ..Asked::default() };
        let own = Asked { interval: 9, ..Asked::default() };
        let merged = merge(Some(own.clone()), Some(image.clone())).unwrap();
        assert_eq!((merged.test.len(), merged.interval, merged.retries), (1, 9, 7));
        assert_eq!(merge(None, Some(image.clone())), Some(image));
        assert_eq!(merge(Some(own.clone()), None), Some(own));
        assert_eq!(merge(None, None), None);
    }
}
