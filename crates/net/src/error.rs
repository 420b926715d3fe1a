//! What can go wrong, with Docker's words where Docker has some.

use crate::PortMap;
use std::io;
use std::net::IpAddr;

/// What this crate's functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// A step that failed; `Display` says what and where, the source says why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused a request; `what` ends with its own words where it gave some.
    #[error("{what}")]
    Kernel {
        /// The request, for example `RTM_NEWADDR 172.17.0.1/16 on tare0`.
        what: String,
        /// The error number.
        source: io::Error,
    },
    /// A bridge has no port left (the kernel's limit is 1,023).
    #[error("bridge {bridge} is full: the kernel takes {limit} ports on one bridge")]
    BridgeFull {
        /// The bridge's name.
        bridge: String,
        /// The kernel's limit.
        limit: u32,
    },
    /// The name of our bridge is taken by a link that is none.
    #[error("{name} exists but is not a bridge")]
    NotABridge {
        /// The link's name.
        name: String,
    },
    /// Every default pool overlaps an address or a route of the host.
    #[error("all predefined address pools have been fully subnetted")]
    NoFreePool,
    /// The pool, of IPv6 or not, is used up; dockerd adds `: NAME (ID)` of the network.
    #[error("no available IPv{} addresses on this network's address pools", if *.0 { 6 } else { 4 })]
    NoFreeAddress(bool),
    /// A wanted address is in use.
    #[error("Address already in use")]
    AddressInUse(IpAddr),
    /// A wanted address cannot be given in this subnet.
    #[error("invalid address {0}: It does not belong to any of this network's subnets")]
    AddressOutOfRange(IpAddr),
    /// A host port could not be bound; the source is the system call's error.
    #[error("failed to bind host port{} for {}", attempted(*.port, .request), .request)]
    Bind {
        /// The mapping, as Docker prints it.
        request: Box<crate::PortRequest>,
        /// The port tried last, when a range was asked for.
        port: u16,
        /// `address already in use`, `cannot assign requested address`, ….
        source: io::Error,
    },
    /// A published port is already mapped by a container of ours.
    #[error("Bind for {} failed: port is already allocated", std::net::SocketAddr::new(.0.host_ip, .0.host_port))]
    PortAllocated(Box<PortMap>),
    /// A port range of a request is upside down or half empty.
    #[error("invalid port range: {0}-{1}")]
    PortRange(u16, u16),
    /// Every port of a range is taken by containers.
    #[error("all ports are allocated")]
    AllPortsAllocated,
    /// A table called `inet tare` exists that we did not make.
    #[error("nftables table inet tare is not Tare's: {0}")]
    ForeignTable(String),
    /// The kernel answered with something that cannot be read.
    #[error("unexpected answer from the kernel to {0}")]
    Answer(&'static str),
}

impl Error {
    /// A failed request with the reason as an error number.
    pub(crate) fn kernel(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Kernel { what: what.into(), source: source.into() }
    }

    /// The whole text as dockerd says it: the error, and its reason in Go's words.
    pub fn docker_message(&self) -> String {
        match self {
            Self::Kernel { source, .. } | Self::Bind { source, .. } => format!("{self}: {}", reason(source)),
            _ => self.to_string(),
        }
    }

    /// The error number behind it, 0 when there is none.
    pub fn errno(&self) -> i32 {
        match self {
            Self::Kernel { source, .. } | Self::Bind { source, .. } => source.raw_os_error().unwrap_or(0),
            _ => 0,
        }
    }
}

impl From<sys::Error> for Error {
    fn from(e: sys::Error) -> Self {
        let source = match e.errno() {
            0 => io::Error::other(e.to_string()),
            errno => io::Error::from_raw_os_error(errno),
        };
        Self::Kernel { what: e.call().to_owned(), source }
    }
}

/// An error number in the words of Go's syscall package, which begin in lower case.
fn reason(source: &io::Error) -> String {
    let Some(errno) = source.raw_os_error() else { return source.to_string() };
    // "Address already in use (os error 98)"
    let text = io::Error::from_raw_os_error(errno).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    match chars.next() {
        // An abbreviation such as "RFS specific error" keeps its capitals.
        Some(first) if !chars.as_str().starts_with(char::is_uppercase) => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

/// Docker names the port only where the request leaves a choice.
fn attempted(port: u16, request: &crate::PortRequest) -> String {
    if request.is_exact() { String::new() } else { format!(" {port}") }
}
