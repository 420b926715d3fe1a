//! Where settings change what a container or a network is: at creation what `inspect` shows, at a start the rest.

use super::Settings;
use crate::Engine;
use crate::config::HostConfig;
use crate::error::{Error, Result};
use crate::state::Record;
use net::Subnet;
use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

impl Engine {
    /// Reads the settings again, as dockerd at SIGHUP: what can change while containers run changes, and an event
    /// tells it. Whatever is wrong, nothing has changed.
    pub fn reload(&self, source: &super::Source) -> Result<()> {
        let read = super::load(source)?;
        let now = self.settings().with_reloaded(&read);
        let attributes =
            super::event::attributes(&now, self.cgroup_layout()?.version() == cgroup::Version::V2);
        *self.0.settings.write().unwrap_or_else(std::sync::PoisonError::into_inner) =
            std::sync::Arc::new(now);
        crate::events::publish(self, "daemon", "reload", &self.installation_id(), &attributes);
        Ok(())
    }

    /// What a new container's host configuration gets where it says nothing, as dockerd: kept in its record.
    pub(crate) fn fill_host(&self, host: &mut HostConfig, cgroup_v2: bool) {
        let settings = self.settings();
        let log = settings.log();
        if host.log.driver.is_empty() {
            host.log.driver.clone_from(&log.driver);
        }
        if host.log.driver == log.driver {
            for (name, value) in log.options {
                host.log.options.entry(name).or_insert(value);
            }
        }
        add_ulimits(host, &settings);
        if host.shm_size == 0 {
            host.shm_size = settings.number("default-shm-size").unwrap_or(0);
        }
        if host.namespaces.ipc.is_empty() {
            host.namespaces.ipc = settings.text("default-ipc-mode").unwrap_or_default().to_string();
        }
        if host.namespaces.cgroup.is_empty()
            && let Some(mode) = settings.text("default-cgroupns-mode")
        {
            // On v1 dockerd leaves a privileged container in the host's.
            let mode = if host.privileged && !cgroup_v2 { "host" } else { mode };
            host.namespaces.cgroup = mode.to_string();
        }
    }

    /// A container as it is to be started: with the settings of now where it says nothing. Its record stays.
    pub(crate) fn with_settings<'r>(&self, record: &'r Record) -> Cow<'r, Record> {
        let settings = self.settings();
        if *settings == Settings::default() {
            return Cow::Borrowed(record);
        }
        let mut record = record.clone();
        let host = &mut record.host;
        // Those of a container that is older than the setting.
        add_ulimits(host, &settings);
        let dns = &mut host.dns;
        for (own, name) in
            [(&mut dns.servers, "dns"), (&mut dns.search, "dns-search"), (&mut dns.options, "dns-opts")]
        {
            if own.is_empty() {
                own.extend(settings.list(name).map(str::to_string));
            }
        }
        host.init = host.init.or(settings.switch("init"));
        // Before what the container says itself, which so has the last word.
        let mut options = Vec::new();
        if settings.switch("no-new-privileges") == Some(true) {
            options.push("no-new-privileges".to_string());
        }
        if !host.privileged {
            let unconfined = settings.text("seccomp-profile").filter(|profile| *profile == "unconfined");
            options.extend(settings.seccomp().or(unconfined).map(|profile| format!("seccomp={profile}")));
        }
        host.security.options.splice(0..0, options);
        Cow::Owned(record)
    }

    /// What `host-gateway` stands for, if a setting says it.
    pub(crate) fn host_gateways(&self) -> Vec<IpAddr> {
        self.settings().addresses("host-gateway-ips")
    }

    /// The first pool that overlaps none of `taken`.
    pub(crate) fn free_pool(&self, taken: &[Subnet]) -> Result<Subnet> {
        let mut pools = self.settings().pools();
        pools.retain(|(base, _)| !base.contains(':'));
        if pools.is_empty() {
            return Ok(net::first_free_pool(taken)?);
        }
        let parts = pools.iter().flat_map(|(base, size)| parts(base, *size));
        let mut free = parts.filter(|pool| !taken.iter().any(|t| t.overlaps(pool)));
        free.next().ok_or_else(|| Error::from(net::Error::NoFreePool))
    }

    /// The first free part of a default pool of IPv6 that the settings have, if they have any.
    pub(crate) fn free_pool6(&self, taken: &[Subnet]) -> Option<Subnet> {
        let mut pools = self.settings().pools();
        pools.retain(|(base, _)| base.contains(':'));
        let mut parts = pools.iter().flat_map(|(base, size)| parts(base, *size));
        parts.find(|pool| !taken.iter().any(|t| t.overlaps(pool)))
    }

    /// Registries as the environment and the settings have them.
    pub(crate) fn registry_settings(&self) -> registry::Settings {
        let (settings, mut registries) = (self.settings(), registry::Settings::from_environment());
        let texts = |name: &str| settings.list(name).map(str::to_string).collect::<Vec<_>>();
        registries.insecure = texts("insecure-registries");
        registries.mirrors = texts("registry-mirrors");
        for (place, name) in [
            (&mut registries.proxies.http, "http-proxy"),
            (&mut registries.proxies.https, "https-proxy"),
            (&mut registries.proxies.none, "no-proxy"),
        ] {
            if let Some(text) = settings.text(name) {
                *place = text.to_string();
            }
        }
        let number = |name: &str| {
            let number = settings.number(name).and_then(|n| usize::try_from(n).ok());
            number.filter(|n| *n > 0)
        };
        if let Some(count) = number("max-concurrent-downloads") {
            registries.concurrent_downloads = count;
        }
        if let Some(count) = number("max-concurrent-uploads") {
            registries.concurrent_uploads = count;
        }
        if let Some(count) = number("max-download-attempts") {
            registries.download_attempts = count;
        }
        registries
    }

    /// The devices of the Container Device Interface.
    pub(crate) fn cdi(&self) -> crate::cdi::Registry {
        let settings = self.settings();
        if settings.switches("features").any(|feature| feature == ("cdi", false)) {
            return crate::cdi::Registry::default();
        }
        let folders: Vec<&str> = settings.list("cdi-spec-dirs").collect();
        if folders.is_empty() {
            return crate::cdi::Registry::load();
        }
        crate::cdi::Registry::load_from(&folders.iter().map(std::path::Path::new).collect::<Vec<_>>())
    }
}

fn add_ulimits(host: &mut HostConfig, settings: &Settings) {
    for limit in settings.ulimits() {
        if host.limits.ulimits.iter().all(|own| own.name != limit.name) {
            host.limits.ulimits.push(limit);
        }
    }
}

/// The networks of one size that a pool holds, in order.
fn parts(base: &str, size: i64) -> impl Iterator<Item = Subnet> + use<> {
    let pool = base.parse::<Subnet>().ok();
    let width = if pool.is_some_and(|pool| pool.is_ipv6()) { 128 } else { 32 };
    let size = u8::try_from(size).unwrap_or(width).min(width);
    let count = pool.map_or(0, |pool| 1u128 << u32::from(size.saturating_sub(pool.prefix())).min(31));
    (0..count).filter_map(move |at| {
        let offset = at.checked_shl(u32::from(width - size))?;
        let first: IpAddr = match pool?.base() {
            IpAddr::V4(base) => Ipv4Addr::from_bits(base.to_bits() + u32::try_from(offset).ok()?).into(),
            IpAddr::V6(base) => Ipv6Addr::from_bits(base.to_bits() + offset).into(),
        };
        Subnet::containing(first, size)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_has_parts() {
        let list = |base, size| parts(base, size).take(3).map(|s| s.to_string()).collect::<Vec<_>>();
        assert_eq!(list("10.1.0.0/16", 24), ["10.1.0.0/24", "10.1.1.0/24", "10.1.2.0/24"]);
        assert_eq!(list("10.1.0.0/16", 16), ["10.1.0.0/16"]);
        assert_eq!(list("fd00::/48", 64), ["fd00::/64", "fd00:0:0:1::/64", "fd00:0:0:2::/64"]);
        assert_eq!(parts("10.0.0.0/8", 30).count(), 1 << 22);
    }
}
