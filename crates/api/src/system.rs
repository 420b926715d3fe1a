//! Bodies of the system endpoints (Engine API 1.51, tag *System*) and the messages of progress streams.
//!
//! Field order, names and zero values are those of dockerd 28.5. This file holds no behaviour.

use std::collections::BTreeMap;

use crate::go_struct;
use crate::json::Json;

go_struct! {
    /// The body of every error.
    pub struct ErrorResponse = "types.ErrorResponse" {
        message: String => "message" ("Message"),
    }

    /// Answer of `GET /version`.
    pub struct Version = "types.Version" {
        platform: VersionPlatform => "Platform",
        components: Option<Vec<ComponentVersion>> => "Components" omitempty,
        version: String => "Version",
        api_version: String => "ApiVersion" ("APIVersion"),
        min_api_version: String => "MinAPIVersion" omitempty,
        git_commit: String => "GitCommit",
        go_version: String => "GoVersion",
        os: String => "Os",
        arch: String => "Arch",
        kernel_version: String => "KernelVersion" omitempty,
        experimental: bool => "Experimental" omitempty,
        build_time: String => "BuildTime" omitempty,
    }

    /// Who built the engine.
    pub struct VersionPlatform = "struct { Name string }" {
        name: String => "Name",
    }

    /// One part of the engine.
    pub struct ComponentVersion = "types.ComponentVersion" {
        name: String => "Name",
        version: String => "Version",
        details: Option<BTreeMap<String, String>> => "Details" omitempty,
    }

    /// Answer of `GET /info`.
    pub struct Info = "system.Info" {
        id: String => "ID",
        containers: isize => "Containers",
        containers_running: isize => "ContainersRunning",
        containers_paused: isize => "ContainersPaused",
        containers_stopped: isize => "ContainersStopped",
        images: isize => "Images",
        driver: String => "Driver",
        driver_status: Option<Vec<[String; 2]>> => "DriverStatus",
        plugins: PluginsInfo => "Plugins",
        memory_limit: bool => "MemoryLimit",
        swap_limit: bool => "SwapLimit",
        kernel_memory: bool => "KernelMemory" omitempty,
        kernel_memory_tcp: bool => "KernelMemoryTCP" omitempty,
        cpu_cfs_period: bool => "CpuCfsPeriod" ("CPUCfsPeriod"),
        cpu_cfs_quota: bool => "CpuCfsQuota" ("CPUCfsQuota"),
        cpu_shares: bool => "CPUShares",
        cpu_set: bool => "CPUSet",
        pids_limit: bool => "PidsLimit",
        ipv4_forwarding: bool => "IPv4Forwarding",
        debug: bool => "Debug",
        nfd: isize => "NFd",
        oom_kill_disable: bool => "OomKillDisable",
        n_goroutines: isize => "NGoroutines",
        system_time: String => "SystemTime",
        logging_driver: String => "LoggingDriver",
        // Ours: dockerd does not tell its own `log-opts`.
        logging_options: Option<BTreeMap<String, String>> => "LoggingOptions" omitempty,
        cgroup_driver: String => "CgroupDriver",
        cgroup_version: String => "CgroupVersion" omitempty,
        n_events_listener: isize => "NEventsListener",
        kernel_version: String => "KernelVersion",
        operating_system: String => "OperatingSystem",
        os_version: String => "OSVersion",
        os_type: String => "OSType",
        architecture: String => "Architecture",
        index_server_address: String => "IndexServerAddress",
        registry_config: Option<RegistryConfig> => "RegistryConfig",
        ncpu: isize => "NCPU",
        mem_total: i64 => "MemTotal",
        generic_resources: Option<Vec<Json>> => "GenericResources",
        docker_root_dir: String => "DockerRootDir",
        http_proxy: String => "HttpProxy" ("HTTPProxy"),
        https_proxy: String => "HttpsProxy" ("HTTPSProxy"),
        no_proxy: String => "NoProxy",
        name: String => "Name",
        labels: Option<Vec<String>> => "Labels",
        experimental_build: bool => "ExperimentalBuild",
        server_version: String => "ServerVersion",
        runtimes: Option<BTreeMap<String, Runtime>> => "Runtimes",
        default_runtime: String => "DefaultRuntime",
        swarm: SwarmInfo => "Swarm",
        live_restore_enabled: bool => "LiveRestoreEnabled",
        isolation: String => "Isolation",
        init_binary: String => "InitBinary",
        containerd_commit: Commit => "ContainerdCommit",
        runc_commit: Commit => "RuncCommit",
        init_commit: Commit => "InitCommit",
        security_options: Option<Vec<String>> => "SecurityOptions",
        product_license: String => "ProductLicense" omitempty,
        default_address_pools: Option<Vec<AddressPool>> => "DefaultAddressPools" omitempty,
        firewall_backend: Option<FirewallInfo> => "FirewallBackend" omitempty,
        cdi_spec_dirs: Option<Vec<String>> => "CDISpecDirs",
        discovered_devices: Option<Vec<DeviceInfo>> => "DiscoveredDevices" omitempty,
        containerd: Option<ContainerdInfo> => "Containerd" omitempty,
        warnings: Option<Vec<String>> => "Warnings",
    }

    /// The names of drivers.
    pub struct PluginsInfo = "system.PluginsInfo" {
        volume: Option<Vec<String>> => "Volume",
        network: Option<Vec<String>> => "Network",
        authorization: Option<Vec<String>> => "Authorization",
        log: Option<Vec<String>> => "Log",
    }

    /// How registries are reached. dockerd writes these keys sorted.
    pub struct RegistryConfig = "registry.ServiceConfig" {
        index_configs: Option<BTreeMap<String, IndexInfo>> => "IndexConfigs",
        insecure_registry_cidrs: Option<Vec<String>> => "InsecureRegistryCIDRs",
        mirrors: Option<Vec<String>> => "Mirrors",
    }

    /// One registry. dockerd writes these keys sorted.
    pub struct IndexInfo = "registry.IndexInfo" {
        mirrors: Vec<String> => "Mirrors",
        name: String => "Name",
        official: bool => "Official",
        secure: bool => "Secure",
    }

    /// An OCI runtime that containers can use.
    pub struct Runtime = "system.RuntimeWithStatus" {
        path: String => "path" omitempty ("Path"),
        args: Option<Vec<String>> => "runtimeArgs" omitempty ("Args"),
        kind: String => "runtimeType" omitempty ("Type"),
        options: Option<BTreeMap<String, Json>> => "options" omitempty ("Options"),
        status: Option<BTreeMap<String, String>> => "status" omitempty ("Status"),
    }

    /// The swarm this engine is not in.
    pub struct SwarmInfo = "swarm.Info" {
        node_id: String => "NodeID",
        node_addr: String => "NodeAddr",
        local_node_state: String => "LocalNodeState",
        control_available: bool => "ControlAvailable",
        error: String => "Error",
        remote_managers: Option<Vec<Json>> => "RemoteManagers",
    }

    /// A commit.
    pub struct Commit = "system.Commit" {
        id: String => "ID",
        expected: String => "Expected" omitempty,
    }

    /// A pool that networks take their subnets from.
    pub struct AddressPool = "system.NetworkAddressPool" {
        base: String => "Base",
        size: isize => "Size",
    }

    /// How the firewall is programmed.
    pub struct FirewallInfo = "system.FirewallInfo" {
        driver: String => "Driver",
        info: Option<Vec<[String; 2]>> => "Info" omitempty,
    }

    /// A device that was discovered.
    pub struct DeviceInfo = "system.DeviceInfo" {
        source: String => "Source",
        id: String => "ID",
    }

    /// The containerd in use.
    pub struct ContainerdInfo = "system.ContainerdInfo" {
        address: String => "Address" omitempty,
        namespaces: ContainerdNamespaces => "Namespaces",
    }

    /// containerd's namespaces in use.
    pub struct ContainerdNamespaces = "system.ContainerdNamespaces" {
        containers: String => "Containers",
        plugins: String => "Plugins",
    }

    /// One message of a progress stream (pull, load, import).
    pub struct Message = "jsonmessage.JSONMessage" {
        stream: String => "stream" omitempty ("Stream"),
        status: String => "status" omitempty ("Status"),
        progress_detail: Option<Progress> => "progressDetail" omitempty ("Progress"),
        progress: String => "progress" omitempty ("ProgressMessage"),
        id: String => "id" omitempty ("ID"),
        from: String => "from" omitempty ("From"),
        time: i64 => "time" omitempty ("Time"),
        time_nano: i64 => "timeNano" omitempty ("TimeNano"),
        error_detail: Option<MessageError> => "errorDetail" omitempty ("Error"),
        error: String => "error" omitempty ("ErrorMessage"),
        aux: Option<Json> => "aux" omitempty ("Aux"),
    }

    /// How far something has come.
    pub struct Progress = "jsonmessage.JSONProgress" {
        current: i64 => "current" omitempty ("Current"),
        total: i64 => "total" omitempty ("Total"),
        start: i64 => "start" omitempty ("Start"),
        hide_counts: bool => "hidecounts" omitempty ("HideCounts"),
        units: String => "units" omitempty ("Units"),
    }

    /// Why a stream ends early.
    pub struct MessageError = "jsonmessage.JSONError" {
        code: isize => "code" omitempty ("Code"),
        message: String => "message" omitempty ("Message"),
    }

    /// Credentials for a registry, sent base64url-encoded in `X-Registry-Auth`.
    pub struct AuthConfig = "registry.AuthConfig" {
        username: String => "username" omitempty ("Username"),
        password: String => "password" omitempty ("Password"),
        auth: String => "auth" omitempty ("Auth"),
        email: String => "email" omitempty ("Email"),
        server_address: String => "serveraddress" omitempty ("ServerAddress"),
        identity_token: String => "identitytoken" omitempty ("IdentityToken"),
        registry_token: String => "registrytoken" omitempty ("RegistryToken"),
    }
}
