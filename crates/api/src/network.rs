//! Bodies of networks and endpoints (Engine API 1.51, tag *Network*).
//!
//! Field order, names and zero values are those of dockerd 28.5. This file holds no behaviour.

use std::collections::BTreeMap;

use crate::Error;
use crate::client::{Call, Client};
use crate::filters::Filters;
use crate::go_struct;
use crate::query::{Query, escape_path};

/// Container ports (`80/tcp`) and where each is published; `null` for a port that is only exposed.
pub type PortMap = BTreeMap<String, Option<Vec<PortBinding>>>;

go_struct! {
    /// An address and port of the host.
    pub struct PortBinding = "nat.PortBinding" {
        host_ip: String => "HostIp" ("HostIP"),
        host_port: String => "HostPort",
    }

    /// An address with its prefix.
    pub struct Address = "network.Address" {
        addr: String => "Addr",
        prefix_len: isize => "PrefixLen",
    }

    /// A container's place in a network.
    pub struct EndpointSettings = "network.EndpointSettings" {
        ipam_config: Option<EndpointIpamConfig> => "IPAMConfig",
        links: Option<Vec<String>> => "Links",
        aliases: Option<Vec<String>> => "Aliases",
        mac_address: String => "MacAddress",
        driver_opts: Option<BTreeMap<String, String>> => "DriverOpts",
        gw_priority: isize => "GwPriority",
        network_id: String => "NetworkID",
        endpoint_id: String => "EndpointID",
        gateway: String => "Gateway",
        ip_address: String => "IPAddress",
        ip_prefix_len: isize => "IPPrefixLen",
        ipv6_gateway: String => "IPv6Gateway",
        global_ipv6_address: String => "GlobalIPv6Address",
        global_ipv6_prefix_len: isize => "GlobalIPv6PrefixLen",
        dns_names: Option<Vec<String>> => "DNSNames",
    }

    /// Addresses asked for.
    pub struct EndpointIpamConfig = "network.EndpointIPAMConfig" {
        ipv4_address: String => "IPv4Address" omitempty,
        ipv6_address: String => "IPv6Address" omitempty,
        link_local_ips: Option<Vec<String>> => "LinkLocalIPs" omitempty,
    }

    /// The networks a container is made with.
    pub struct NetworkingConfig = "network.NetworkingConfig" {
        endpoints_config: Option<BTreeMap<String, Option<EndpointSettings>>> => "EndpointsConfig",
    }

    /// A network, in a list and in an inspection.
    pub struct Network = "network.Inspect" {
        name: String => "Name",
        id: String => "Id" ("ID"),
        created: String => "Created",
        scope: String => "Scope",
        driver: String => "Driver",
        enable_ipv4: bool => "EnableIPv4",
        enable_ipv6: bool => "EnableIPv6",
        ipam: Ipam => "IPAM",
        internal: bool => "Internal",
        attachable: bool => "Attachable",
        ingress: bool => "Ingress",
        config_from: ConfigReference => "ConfigFrom",
        config_only: bool => "ConfigOnly",
        containers: Option<BTreeMap<String, EndpointResource>> => "Containers",
        options: Option<BTreeMap<String, String>> => "Options",
        labels: Option<BTreeMap<String, String>> => "Labels",
    }

    /// A network's address management.
    pub struct Ipam = "network.IPAM" {
        driver: String => "Driver",
        options: Option<BTreeMap<String, String>> => "Options",
        config: Option<Vec<IpamConfig>> => "Config",
    }

    /// One pool of addresses.
    pub struct IpamConfig = "network.IPAMConfig" {
        subnet: String => "Subnet" omitempty,
        ip_range: String => "IPRange" omitempty,
        gateway: String => "Gateway" omitempty,
        auxiliary_addresses: Option<BTreeMap<String, String>> => "AuxiliaryAddresses" omitempty ("AuxAddress"),
    }

    /// `POST /networks/create`
    pub struct NetworkCreate = "network.CreateRequest" {
        name: String => "Name",
        driver: String => "Driver",
        scope: String => "Scope",
        enable_ipv4: Option<bool> => "EnableIPv4" omitempty,
        enable_ipv6: Option<bool> => "EnableIPv6" omitempty,
        ipam: Option<Ipam> => "IPAM",
        internal: bool => "Internal",
        attachable: bool => "Attachable",
        ingress: bool => "Ingress",
        config_only: bool => "ConfigOnly",
        config_from: Option<ConfigReference> => "ConfigFrom",
        options: Option<BTreeMap<String, String>> => "Options",
        labels: Option<BTreeMap<String, String>> => "Labels",
    }

    /// Its answer.
    pub struct NetworkCreated = "network.CreateResponse" {
        id: String => "Id" ("ID"),
        warning: String => "Warning",
    }

    /// `POST /networks/{id}/connect`
    pub struct NetworkConnect = "network.ConnectOptions" {
        container: String => "Container",
        endpoint_config: Option<EndpointSettings> => "EndpointConfig" omitempty,
    }

    /// `POST /networks/{id}/disconnect`
    pub struct NetworkDisconnect = "network.DisconnectOptions" {
        container: String => "Container",
        force: bool => "Force",
    }

    /// `POST /networks/prune`
    pub struct NetworkPruneReport = "network.PruneReport" {
        networks_deleted: Option<Vec<String>> => "NetworksDeleted",
    }

    /// The network whose configuration another one takes.
    pub struct ConfigReference = "network.ConfigReference" {
        network: String => "Network",
    }

    /// A container in a network.
    pub struct EndpointResource = "network.EndpointResource" {
        name: String => "Name",
        endpoint_id: String => "EndpointID",
        mac_address: String => "MacAddress",
        ipv4_address: String => "IPv4Address",
        ipv6_address: String => "IPv6Address",
    }
}

impl Client {
    /// `POST /networks/create`
    pub async fn network_create(&self, wanted: &NetworkCreate) -> Result<NetworkCreated, Error> {
        self.fetch(Call::post("/networks/create").json(wanted)).await
    }

    /// `DELETE /networks/{id}`
    pub async fn network_remove(&self, id: &str) -> Result<(), Error> {
        let path = format!("/networks/{}", escape_path(id));
        self.order(Call::delete(&path)).await
    }

    /// `POST /networks/{id}/connect`
    pub async fn network_connect(&self, id: &str, wanted: &NetworkConnect) -> Result<(), Error> {
        let path = format!("/networks/{}/connect", escape_path(id));
        self.order(Call::post(&path).json(wanted)).await
    }

    /// `POST /networks/{id}/disconnect`
    pub async fn network_disconnect(&self, id: &str, wanted: &NetworkDisconnect) -> Result<(), Error> {
        let path = format!("/networks/{}/disconnect", escape_path(id));
        self.order(Call::post(&path).json(wanted)).await
    }

    /// `POST /networks/prune`
    pub async fn network_prune(&self, filters: &Filters) -> Result<NetworkPruneReport, Error> {
        let query = Query::new().set_text("filters", &filters.to_param());
        self.fetch(Call::post("/networks/prune").query(query)).await
    }
}
