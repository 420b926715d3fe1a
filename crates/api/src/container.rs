//! Bodies of the container and exec endpoints (Engine API 1.51, tags *Container* and *Exec*).
//!
//! Field order, names and zero values are those of dockerd 28.5. This file holds no behaviour.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::go::{At, DecodeError, Empty, FieldWriter, Go, StrSlice, Struct, folds_to};
use crate::go_struct;
use crate::host_config::HostConfig;
use crate::image::Descriptor;
use crate::json::Json;
use crate::network::{Address, EndpointSettings, NetworkingConfig, PortMap};

/// A set of names: Go's `map[string]struct{}`.
pub type Set = BTreeMap<String, Empty>;

go_struct! {
    /// What a container runs: the part of its configuration that an image can also hold.
    pub struct ContainerConfig = "container.Config" {
        hostname: String => "Hostname",
        domainname: String => "Domainname",
        user: String => "User",
        attach_stdin: bool => "AttachStdin",
        attach_stdout: bool => "AttachStdout",
        attach_stderr: bool => "AttachStderr",
        exposed_ports: Option<Set> => "ExposedPorts" omitempty,
        tty: bool => "Tty",
        open_stdin: bool => "OpenStdin",
        stdin_once: bool => "StdinOnce",
        env: Option<Vec<String>> => "Env",
        cmd: StrSlice => "Cmd",
        healthcheck: Option<HealthConfig> => "Healthcheck" omitempty,
        args_escaped: bool => "ArgsEscaped" omitempty,
        image: String => "Image",
        volumes: Option<Set> => "Volumes",
        working_dir: String => "WorkingDir",
        entrypoint: StrSlice => "Entrypoint",
        network_disabled: bool => "NetworkDisabled" omitempty,
        mac_address: String => "MacAddress" omitempty,
        on_build: Option<Vec<String>> => "OnBuild",
        labels: Option<BTreeMap<String, String>> => "Labels",
        stop_signal: String => "StopSignal" omitempty,
        stop_timeout: Option<isize> => "StopTimeout" omitempty,
        shell: StrSlice => "Shell" omitempty,
    }

    /// A health check; durations are nanoseconds.
    pub struct HealthConfig = "v1.HealthcheckConfig" {
        test: Option<Vec<String>> => "Test" omitempty,
        interval: i64 => "Interval" omitempty,
        timeout: i64 => "Timeout" omitempty,
        start_period: i64 => "StartPeriod" omitempty,
        start_interval: i64 => "StartInterval" omitempty,
        retries: isize => "Retries" omitempty,
    }

    /// Answer of `POST /containers/create`.
    pub struct CreateResponse = "container.CreateResponse" {
        id: String => "Id" ("ID"),
        warnings: Vec<String> => "Warnings",
    }

    /// An error of a wait.
    pub struct WaitExitError = "container.WaitExitError" {
        message: String => "Message" omitempty,
    }

    /// Answer of `POST /containers/{id}/wait`.
    pub struct WaitResponse = "container.WaitResponse" {
        error: Option<WaitExitError> => "Error" omitempty,
        status_code: i64 => "StatusCode",
    }

    /// Answer of `GET /containers/{id}/top`.
    pub struct TopResponse = "container.TopResponse" {
        processes: Vec<Vec<String>> => "Processes",
        titles: Vec<String> => "Titles",
    }

    /// A mount as a container has it.
    pub struct MountPoint = "container.MountPoint" {
        kind: String => "Type" omitempty,
        name: String => "Name" omitempty,
        source: String => "Source",
        destination: String => "Destination",
        driver: String => "Driver" omitempty,
        mode: String => "Mode",
        rw: bool => "RW",
        propagation: String => "Propagation",
    }

    /// A container's state.
    pub struct State = "container.State" {
        status: String => "Status",
        running: bool => "Running",
        paused: bool => "Paused",
        restarting: bool => "Restarting",
        oom_killed: bool => "OOMKilled",
        dead: bool => "Dead",
        pid: isize => "Pid",
        exit_code: isize => "ExitCode",
        error: String => "Error",
        started_at: String => "StartedAt",
        finished_at: String => "FinishedAt",
        health: Option<Health> => "Health" omitempty,
    }

    /// What health checks found.
    pub struct Health = "container.Health" {
        status: String => "Status",
        failing_streak: isize => "FailingStreak",
        log: Option<Vec<HealthcheckResult>> => "Log",
    }

    /// One health check.
    pub struct HealthcheckResult = "container.HealthcheckResult" {
        start: String => "Start",
        end: String => "End",
        exit_code: isize => "ExitCode",
        output: String => "Output",
    }

    /// A port in a container list.
    pub struct Port = "container.Port" {
        ip: String => "IP" omitempty,
        private_port: u16 => "PrivatePort",
        public_port: u16 => "PublicPort" omitempty,
        protocol: String => "Type",
    }

    /// The part of the host configuration in a list.
    pub struct SummaryHostConfig = "struct { NetworkMode string; Annotations map[string]string }" {
        network_mode: String => "NetworkMode" omitempty,
        annotations: Option<BTreeMap<String, String>> => "Annotations" omitempty,
    }

    /// The part of the network settings in a list.
    pub struct NetworkSettingsSummary = "container.NetworkSettingsSummary" {
        networks: Option<BTreeMap<String, EndpointSettings>> => "Networks",
    }

    /// One container of `GET /containers/json`.
    pub struct ContainerSummary = "container.Summary" {
        id: String => "Id" ("ID"),
        names: Vec<String> => "Names",
        image: String => "Image",
        image_id: String => "ImageID",
        image_manifest_descriptor: Option<Descriptor> => "ImageManifestDescriptor" omitempty,
        command: String => "Command",
        created: i64 => "Created",
        ports: Vec<Port> => "Ports",
        size_rw: i64 => "SizeRw" omitempty,
        size_root_fs: i64 => "SizeRootFs" omitempty,
        labels: Option<BTreeMap<String, String>> => "Labels",
        state: String => "State",
        status: String => "Status",
        host_config: SummaryHostConfig => "HostConfig",
        network_settings: Option<NetworkSettingsSummary> => "NetworkSettings",
        mounts: Vec<MountPoint> => "Mounts",
    }

    /// Where a snapshotter keeps a container's files.
    pub struct DriverData = "storage.DriverData" {
        data: Option<BTreeMap<String, String>> => "Data",
        name: String => "Name",
    }

    /// A container's network settings.
    pub struct NetworkSettings = "container.NetworkSettings" {
        bridge: String => "Bridge",
        sandbox_id: String => "SandboxID",
        sandbox_key: String => "SandboxKey",
        ports: Option<PortMap> => "Ports",
        hairpin_mode: bool => "HairpinMode",
        link_local_ipv6_address: String => "LinkLocalIPv6Address",
        link_local_ipv6_prefix_len: isize => "LinkLocalIPv6PrefixLen",
        secondary_ip_addresses: Option<Vec<Address>> => "SecondaryIPAddresses",
        secondary_ipv6_addresses: Option<Vec<Address>> => "SecondaryIPv6Addresses",
        endpoint_id: String => "EndpointID",
        gateway: String => "Gateway",
        global_ipv6_address: String => "GlobalIPv6Address",
        global_ipv6_prefix_len: isize => "GlobalIPv6PrefixLen",
        ip_address: String => "IPAddress",
        ip_prefix_len: isize => "IPPrefixLen",
        ipv6_gateway: String => "IPv6Gateway",
        mac_address: String => "MacAddress",
        networks: Option<BTreeMap<String, EndpointSettings>> => "Networks",
    }

    /// Answer of `GET /containers/{id}/json`.
    pub struct ContainerInspect = "container.InspectResponse" {
        id: String => "Id" ("ID"),
        created: String => "Created",
        path: String => "Path",
        args: Vec<String> => "Args",
        state: Option<State> => "State",
        image: String => "Image",
        resolv_conf_path: String => "ResolvConfPath",
        hostname_path: String => "HostnamePath",
        hosts_path: String => "HostsPath",
        log_path: String => "LogPath",
        name: String => "Name",
        restart_count: isize => "RestartCount",
        driver: String => "Driver",
        platform: String => "Platform",
        mount_label: String => "MountLabel",
        process_label: String => "ProcessLabel",
        app_armor_profile: String => "AppArmorProfile",
        exec_ids: Option<Vec<String>> => "ExecIDs",
        host_config: Option<HostConfig> => "HostConfig",
        graph_driver: DriverData => "GraphDriver",
        size_rw: Option<i64> => "SizeRw" omitempty,
        size_root_fs: Option<i64> => "SizeRootFs" omitempty,
        mounts: Vec<MountPoint> => "Mounts",
        config: Option<ContainerConfig> => "Config",
        network_settings: Option<NetworkSettings> => "NetworkSettings",
        image_manifest_descriptor: Option<Descriptor> => "ImageManifestDescriptor" omitempty,
    }

    /// Body of `POST /containers/{id}/exec`.
    pub struct ExecCreateRequest = "container.ExecOptions" {
        user: String => "User",
        privileged: bool => "Privileged",
        tty: bool => "Tty",
        console_size: Option<[usize; 2]> => "ConsoleSize" omitempty,
        attach_stdin: bool => "AttachStdin",
        attach_stderr: bool => "AttachStderr",
        attach_stdout: bool => "AttachStdout",
        detach_keys: String => "DetachKeys",
        env: Option<Vec<String>> => "Env",
        working_dir: String => "WorkingDir",
        cmd: Option<Vec<String>> => "Cmd",
        detach: bool => "Detach",
    }

    /// Answer of requests that make one thing.
    pub struct IdResponse = "common.IDResponse" {
        id: String => "Id" ("ID"),
    }

    /// Body of `POST /exec/{id}/start`; the size is height, width.
    pub struct ExecStartRequest = "container.ExecStartOptions" {
        detach: bool => "Detach",
        tty: bool => "Tty",
        console_size: Option<[usize; 2]> => "ConsoleSize" omitempty,
    }

    /// The process of an exec.
    pub struct ExecProcessConfig = "backend.ExecProcessConfig" {
        tty: bool => "tty" ("Tty"),
        entrypoint: String => "entrypoint" ("Entrypoint"),
        arguments: Vec<String> => "arguments" ("Arguments"),
        privileged: Option<bool> => "privileged" omitempty ("Privileged"),
        user: String => "user" omitempty ("User"),
    }

    /// Answer of `GET /exec/{id}/json`.
    pub struct ExecInspect = "backend.ExecInspect" {
        id: String => "ID",
        running: bool => "Running",
        exit_code: Option<isize> => "ExitCode",
        process_config: Option<ExecProcessConfig> => "ProcessConfig",
        open_stdin: bool => "OpenStdin",
        open_stderr: bool => "OpenStderr",
        open_stdout: bool => "OpenStdout",
        can_remove: bool => "CanRemove",
        container_id: String => "ContainerID",
        detach_keys: Option<Bytes> => "DetachKeys",
        pid: isize => "Pid",
    }
}

/// Go's `[]byte`: base64 text in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bytes(pub Vec<u8>);

impl Go for Bytes {
    fn merge(&mut self, value: Json, at: &mut At) -> Result<(), DecodeError> {
        let mut text = String::new();
        text.merge(value, at)?;
        self.0 = BASE64.decode(&text).map_err(|_| at.mismatch::<Self>(&Json::String(text)))?;
        Ok(())
    }
    fn write(&self, out: &mut Vec<u8>) {
        BASE64.encode(&self.0).write(out);
    }
    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }
    fn is_empty_collection(&self) -> bool {
        self.0.is_empty()
    }
    fn to_go(&self) -> Json {
        Json::String(BASE64.encode(&self.0))
    }
    fn type_name() -> String {
        "[]uint8".to_owned()
    }
}

/// Body of `POST /containers/create`: a [`ContainerConfig`] with two more keys beside its own.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ContainerCreateRequest {
    /// The configuration, whose fields stand at the top level.
    pub config: ContainerConfig,
    /// `HostConfig`
    pub host_config: Option<HostConfig>,
    /// `NetworkingConfig`
    pub networking_config: Option<NetworkingConfig>,
}

impl Go for ContainerCreateRequest {
    fn merge(&mut self, value: Json, at: &mut At) -> Result<(), DecodeError> {
        let pairs = match value {
            Json::Null => return Ok(()),
            Json::Object(pairs) => pairs,
            other => return Err(at.mismatch::<Self>(&other)),
        };
        for (key, value) in pairs {
            if folds_to("HostConfig", &key) {
                at.field("HostConfig", |at| self.host_config.merge(value, at))?;
            } else if folds_to("NetworkingConfig", &key) {
                at.field("NetworkingConfig", |at| self.networking_config.merge(value, at))?;
            } else if let Some(name) = crate::go::find_field(ContainerConfig::FIELDS, &key) {
                at.field(name, |at| self.config.merge_field(name, value, at))?;
            }
        }
        Ok(())
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        let mut writer = FieldWriter::new(out);
        self.config.write_fields(&mut writer);
        writer.pair("HostConfig", &self.host_config, true);
        writer.pair("NetworkingConfig", &self.networking_config, true);
        out.push(b'}');
    }

    fn is_zero(&self) -> bool {
        false
    }

    fn to_go(&self) -> Json {
        let mut pairs = match self.config.to_go() {
            Json::Object(pairs) => pairs,
            _ => Vec::new(),
        };
        pairs.push(("HostConfig".to_owned(), self.host_config.to_go()));
        pairs.push(("NetworkingConfig".to_owned(), self.networking_config.to_go()));
        Json::Object(pairs)
    }

    fn type_name() -> String {
        "container.CreateRequest".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::go::{decode, encode};

    #[test]
    fn create_request_is_flat() {
        let text = r#"{"image":"busybox","CMD":"ls","hostconfig":{"MEMORY":5,"nanocpus":7},
            "NetworkingConfig":{"EndpointsConfig":{"bridge":null,"x":{"Aliases":["a"]}}},"Junk":{"a":1}}"#;
        let request: ContainerCreateRequest = decode(text.as_bytes()).unwrap();
        assert_eq!(request.config.image, "busybox");
        assert_eq!(request.config.cmd.words(), ["ls"]);
        let host = request.host_config.as_ref().unwrap();
        assert_eq!((host.memory, host.nano_cpus), (5, 7));
        let endpoints = request.networking_config.as_ref().unwrap().endpoints_config.as_ref().unwrap();
        assert_eq!(endpoints["bridge"], None);
        assert_eq!(endpoints["x"].as_ref().unwrap().aliases, Some(vec!["a".to_owned()]));
        let again: ContainerCreateRequest = decode(encode(&request).as_bytes()).unwrap();
        assert_eq!(again, request);
    }

    #[test]
    fn errors_name_the_field() {
        let error = decode::<ContainerCreateRequest>(br#"{"HostConfig":{"Memory":"1g"}}"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "json: cannot unmarshal string into Go struct field .HostConfig.Memory of type int64"
        );
    }
}
