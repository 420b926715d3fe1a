//! A create request in the engine's terms.
//!
//! Clients send every field there is, most of them at their zero value. What asks for something the engine does
//! not do yet is refused by the field's name; what is wrong in itself is refused in dockerd's words.

use api::ApiVersion;
use api::container::{ContainerConfig, ContainerCreateRequest, HealthConfig};
use api::host_config::{HostConfig, RestartPolicy};
use engine::{CreateContainer, Health};

use crate::reply::Refusal;

/// Reads a request.
pub(crate) fn create(
    request: ContainerCreateRequest,
    name: &str,
    platform: &str,
    version: ApiVersion,
) -> Result<CreateContainer, Refusal> {
    // Go cannot tell an object without any key of the configuration from no configuration.
    if request.config == ContainerConfig::default() {
        return Err(Refusal::bad_request("config cannot be empty in order to create a container"));
    }
    check_platform(platform)?;
    let mut host = request.host_config.unwrap_or_default();
    if version < ApiVersion::v1(25) {
        host.auto_remove = false;
    }
    if version < ApiVersion::v1(42) {
        host.console_size = [0, 0];
    }
    if !matches!(host.isolation.to_ascii_lowercase().as_str(), "" | "default") {
        let text = format!("invalid isolation ({}): linux only supports 'default'", host.isolation);
        return Err(Refusal::bad_request(text));
    }
    check_restart(&host.restart_policy)?;
    check_mounts(&host)?;
    super::host::check_links(&host)?;
    refuse_host(&host, version)?;
    refuse_config(&request.config)?;
    let network = super::networks::mode(&host.network_mode)?;
    let mut networks = super::networks::wanted(request.networking_config.as_ref(), &network)?;
    if !request.config.mac_address.is_empty() && network.joined().is_none() {
        // Older clients' place for it: it is that of the container's mode.
        let all = networks.get_or_insert_default();
        let own = all.entry(network.as_str().to_owned()).or_default();
        own.mac.get_or_insert(request.config.mac_address.to_lowercase());
    }
    Ok(CreateContainer {
        name: Some(name.strip_prefix('/').unwrap_or(name)).filter(|n| !n.is_empty()).map(str::to_owned),
        config: config(request.config),
        host: super::host::wanted(host, network),
        networks,
    })
}

fn check_platform(text: &str) -> Result<(), Refusal> {
    if text.is_empty() {
        return Ok(());
    }
    let wanted = oci::Platform::parse(text).map_err(|e| Refusal::from(engine::Error::from(e)))?;
    let host = oci::Platform::host();
    if (wanted.os.as_str(), wanted.architecture.as_str()) == (host.os.as_str(), host.architecture.as_str()) {
        return Ok(());
    }
    Err(Refusal::later(&format!("the platform {text}")))
}

pub(crate) fn check_restart(policy: &RestartPolicy) -> Result<(), Refusal> {
    let count = policy.maximum_retry_count;
    match policy.name.as_str() {
        "always" | "unless-stopped" | "no" if count != 0 => {
            let and = if count < 0 { " and cannot be negative" } else { "" };
            Err(Refusal::bad_request(format!(
                "invalid restart policy: maximum retry count can only be used with 'on-failure'{and}"
            )))
        }
        "on-failure" if count < 0 => {
            Err(Refusal::bad_request("invalid restart policy: maximum retry count cannot be negative"))
        }
        "" | "no" | "always" | "unless-stopped" | "on-failure" => Ok(()),
        other => Err(Refusal::bad_request(format!(
            "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        ))),
    }
}

fn check_mounts(host: &HostConfig) -> Result<(), Refusal> {
    for mount in host.mounts.iter().flatten() {
        for (given, option, kind) in [
            (mount.volume_options.is_some(), "VolumeOptions", "volume"),
            (mount.bind_options.is_some(), "BindOptions", "bind"),
            (mount.tmpfs_options.is_some(), "TmpfsOptions", "tmpfs"),
        ] {
            if given && mount.kind != kind {
                return Err(Refusal::bad_request(format!(
                    "{option} must not be specified on mount type \"{}\"",
                    mount.kind
                )));
            }
        }
    }
    Ok(())
}

/// The fields of HostConfig that must be at a value which asks for nothing.
fn refuse_host(host: &HostConfig, version: ApiVersion) -> Result<(), Refusal> {
    let asked = [
        ("Cgroup", !host.cgroup.is_empty()),
        // Gone from the API with 1.42: newer clients do not send it, and dockerd does not read it.
        ("KernelMemory", host.kernel_memory != 0 && version < ApiVersion::v1(42)),
        ("KernelMemoryTCP", host.kernel_memory_tcp != 0),
        // Windows's own.
        ("CpuCount", host.cpu_count != 0),
        ("CpuPercent", host.cpu_percent != 0),
        ("IOMaximumIOps", host.io_maximum_iops != 0),
        ("IOMaximumBandwidth", host.io_maximum_bandwidth != 0),
    ];
    match asked.iter().find(|(_, given)| *given) {
        Some((field, _)) => Err(Refusal::later(&format!("HostConfig.{field}"))),
        None => Ok(()),
    }
}

fn refuse_config(config: &ContainerConfig) -> Result<(), Refusal> {
    let asked = [
        ("OnBuild", config.on_build.as_ref().is_some_and(|list| !list.is_empty())),
        ("Shell", config.shell.0.as_ref().is_some_and(|list| !list.is_empty())),
        ("NetworkDisabled", config.network_disabled),
    ];
    match asked.iter().find(|(_, given)| *given) {
        Some((field, _)) => Err(Refusal::later(field)),
        None => Ok(()),
    }
}

pub(crate) fn config(from: ContainerConfig) -> engine::ContainerConfig {
    engine::ContainerConfig {
        hostname: from.hostname,
        domainname: from.domainname,
        user: from.user,
        attach_stdin: from.attach_stdin,
        attach_stdout: from.attach_stdout,
        attach_stderr: from.attach_stderr,
        exposed_ports: from.exposed_ports.unwrap_or_default().into_keys().collect(),
        tty: from.tty,
        open_stdin: from.open_stdin,
        stdin_once: from.stdin_once,
        env: from.env.unwrap_or_default(),
        cmd: from.cmd.0,
        entrypoint: from.entrypoint.0,
        image: from.image,
        volumes: from.volumes.unwrap_or_default().into_keys().collect(),
        working_dir: from.working_dir,
        labels: from.labels.unwrap_or_default(),
        stop_signal: Some(from.stop_signal).filter(|signal| !signal.is_empty()),
        stop_timeout: from.stop_timeout.map(|seconds| seconds as i64),
        on_build: Vec::new(),
        healthcheck: from.healthcheck.map(health),
    }
}

fn health(from: HealthConfig) -> Health {
    Health {
        test: from.test.unwrap_or_default(),
        interval: from.interval,
        timeout: from.timeout,
        start_period: from.start_period,
        start_interval: from.start_interval,
        retries: from.retries as i64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Docker's CLI 28.2 sends for
    /// `run -d --name web -p 8081:80 -v /tmp:/mnt --memory 64m --cap-add NET_ADMIN … busybox sleep 1000`, recorded
    /// from it: every field, most at zero.
    const RECORDED: &str = r#"{"Hostname":"h","Domainname":"","User":"0","AttachStdin":false,"AttachStdout":false,"AttachStderr":false,"ExposedPorts":{"80/tcp":{}},"Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":["A=b"],"Cmd":["sleep","1000"],"Image":"busybox","Volumes":{},"WorkingDir":"/tmp","Entrypoint":null,"OnBuild":null,"Labels":{"l":"1"},"StopTimeout":3,"HostConfig":{"Binds":["/tmp:/mnt"],"ContainerIDFile":"","LogConfig":{"Type":"","Config":{}},"NetworkMode":"default","PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"8081"}]},"RestartPolicy":{"Name":"no","MaximumRetryCount":0},"AutoRemove":false,"VolumeDriver":"","VolumesFrom":null,"ConsoleSize":[0,0],"CapAdd":["CAP_NET_ADMIN"],"CapDrop":["CAP_CHOWN"],"CgroupnsMode":"","Dns":[],"DnsOptions":[],"DnsSearch":[],"ExtraHosts":null,"GroupAdd":null,"IpcMode":"","Cgroup":"","Links":null,"OomScoreAdj":0,"PidMode":"","Privileged":false,"PublishAllPorts":false,"ReadonlyRootfs":false,"SecurityOpt":null,"Tmpfs":{"/t":""},"UTSMode":"","UsernsMode":"","ShmSize":0,"Isolation":"","CpuShares":0,"Memory":67108864,"NanoCpus":500000000,"CgroupParent":"","BlkioWeight":0,"BlkioWeightDevice":[],"BlkioDeviceReadBps":[],"BlkioDeviceWriteBps":[],"BlkioDeviceReadIOps":[],"BlkioDeviceWriteIOps":[],"CpuPeriod":0,"CpuQuota":0,"CpuRealtimePeriod":0,"CpuRealtimeRuntime":0,"CpusetCpus":"","CpusetMems":"","Devices":[],"DeviceCgroupRules":null,"DeviceRequests":null,"MemoryReservation":0,"MemorySwap":0,"MemorySwappiness":-1,"OomKillDisable":false,"PidsLimit":50,"Ulimits":[],"CpuCount":0,"CpuPercent":0,"IOMaximumIOps":0,"IOMaximumBandwidth":0,"MaskedPaths":null,"ReadonlyPaths":null},"NetworkingConfig":{"EndpointsConfig":{"default":{"IPAMConfig":null,"Links":null,"Aliases":null,"MacAddress":"","DriverOpts":null,"GwPriority":0,"NetworkID":"","EndpointID":"","Gateway":"","IPAddress":"","IPPrefixLen":0,"IPv6Gateway":"","GlobalIPv6Address":"","GlobalIPv6PrefixLen":0,"DNSNames":null}}}}"#;

    fn read(text: &str) -> Result<CreateContainer, Refusal> {
        create(api::go::decode(text.as_bytes()).unwrap(), "/web", "", ApiVersion::NEWEST)
    }

    #[test]
    fn what_dockers_cli_sends_is_understood() {
        let wanted = read(RECORDED).unwrap();
        assert_eq!(wanted.name.as_deref(), Some("web"));
        let config = wanted.config;
        assert_eq!(
            (config.hostname.as_str(), config.user.as_str(), config.working_dir.as_str()),
            ("h", "0", "/tmp")
        );
        assert_eq!(config.cmd, Some(vec!["sleep".to_owned(), "1000".to_owned()]));
        assert_eq!((config.entrypoint, config.stop_timeout), (None, Some(3)));
        let host = wanted.host;
        assert_eq!(
            (host.network, host.memory, host.nano_cpus),
            (engine::NetworkMode::Bridge, 67_108_864, 500_000_000)
        );
        assert_eq!(host.pids_limit, Some(50));
        assert_eq!(host.port_bindings["80/tcp"][0].host_port, "8081");
        assert_eq!(host.log.driver, "");
    }

    #[test]
    fn what_is_not_supported_is_named() {
        for (text, expected) in [
            (r#"{}"#, "config cannot be empty in order to create a container"),
            (r#"{"HostConfig":{"Memory":1}}"#, "config cannot be empty in order to create a container"),
            (r#"{"Image":"x","HostConfig":{"CpuCount":1}}"#, "HostConfig.CpuCount is not supported yet"),
            (r#"{"Image":"x","Shell":["sh"]}"#, "Shell is not supported yet"),
            (
                r#"{"Image":"x","HostConfig":{"RestartPolicy":{"Name":"x"}}}"#,
                "invalid restart policy: unknown policy 'x'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
            ),
            (
                r#"{"Image":"x","HostConfig":{"Mounts":[{"Type":"bind","TmpfsOptions":{}}]}}"#,
                "TmpfsOptions must not be specified on mount type \"bind\"",
            ),
        ] {
            assert_eq!(read(text).unwrap_err().message, expected, "{text}");
        }
        for text in [
            r#"{"Image":"x","Healthcheck":{"Test":["NONE"]}}"#,
            r#"{"Image":"x","Healthcheck":{}}"#,
            r#"{"Image":"x","Healthcheck":{"Test":["CMD","true"]}}"#,
            r#"{"image":"x","cmd":"ls","HostConfig":null}"#,
            r#"{"Image":"x","HostConfig":{"Runtime":"runc","IpcMode":"private","MemorySwappiness":null}}"#,
        ] {
            assert!(read(text).is_ok(), "{text}");
        }
    }

    /// A value that asks for something, for each field that is refused.
    const REFUSED: &[(&str, &str)] = &[
        ("Cgroup", r#""x""#),
        ("KernelMemoryTCP", "5"),
        ("CpuCount", "5"),
        ("CpuPercent", "5"),
        ("IOMaximumIOps", "5"),
        ("IOMaximumBandwidth", "5"),
    ];

    /// What reaches the engine, which does it or refuses it in its own words.
    const HANDED_ON: &[&str] = &[
        "Links",
        "Binds",
        "ContainerIDFile",
        "LogConfig",
        "RestartPolicy",
        "NetworkMode",
        "PortBindings",
        "AutoRemove",
        "ConsoleSize",
        "CapAdd",
        "CapDrop",
        "Privileged",
        "PublishAllPorts",
        "ReadonlyRootfs",
        "Tmpfs",
        "ShmSize",
        "Memory",
        "NanoCpus",
        "MemorySwap",
        "PidsLimit",
        "Init",
        "Annotations",
        "Dns",
        "DnsOptions",
        "DnsSearch",
        "ExtraHosts",
        "GroupAdd",
        "CgroupnsMode",
        "OomScoreAdj",
        "PidMode",
        "SecurityOpt",
        "UTSMode",
        "UsernsMode",
        "Sysctls",
        "CpuShares",
        "CgroupParent",
        "BlkioWeight",
        "BlkioWeightDevice",
        "BlkioDeviceReadBps",
        "BlkioDeviceWriteBps",
        "BlkioDeviceReadIOps",
        "BlkioDeviceWriteIOps",
        "CpuPeriod",
        "CpuQuota",
        "CpuRealtimePeriod",
        "CpuRealtimeRuntime",
        "CpusetCpus",
        "CpusetMems",
        "DeviceRequests",
        "StorageOpt",
        "Devices",
        "DeviceCgroupRules",
        "MemoryReservation",
        "MemorySwappiness",
        "OomKillDisable",
        "Ulimits",
        "MaskedPaths",
        "ReadonlyPaths",
        "IpcMode",
        "Runtime",
        "Isolation",
        "Mounts",
        "VolumeDriver",
        "VolumesFrom",
    ];

    #[test]
    fn no_field_of_host_config_is_dropped() {
        use api::go::Struct;
        for (field, value) in REFUSED {
            let text = format!(r#"{{"Image":"x","HostConfig":{{"{field}":{value}}}}}"#);
            let refusal = read(&text).expect_err(field);
            assert!(refusal.message.contains(&format!("HostConfig.{field}")), "{field}: {}", refusal.message);
            assert_eq!(refusal.status, http::StatusCode::NOT_IMPLEMENTED, "{field}");
        }
        for field in HostConfig::FIELDS {
            let refused = REFUSED.iter().any(|(name, _)| *name == field.json);
            // Dropped since API 1.42, as by dockerd.
            let known = refused || HANDED_ON.contains(&field.json) || field.json == "KernelMemory";
            assert!(known, "HostConfig.{} is neither handed on nor refused", field.json);
        }
    }
}
