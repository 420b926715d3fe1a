//! What an administrator may say about registries, and where it is found.
//!
//! Environment: `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY` (either case) and `SSL_CERT_FILE`, `SSL_CERT_DIR`, as Go
//! programs read them. Certificates of single registries lie in `certs.d/HOST[:PORT]/` (`*.crt` authorities,
//! `NAME.cert` with `NAME.key` for ourselves). The lists are dockerd's `insecure-registries` and
//! `registry-mirrors`; whoever reads a `daemon.json` fills them in.

use crate::proxy::Proxies;
use std::path::PathBuf;

/// Go's places of the system's authorities.
const SYSTEM_BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// dockerd's numbers.
const CONCURRENT_DOWNLOADS: usize = 3;
const CONCURRENT_UPLOADS: usize = 5;
const DOWNLOAD_ATTEMPTS: usize = 5;
const CERTS_D: &[&str] = &["/etc/tare/certs.d", "/etc/docker/certs.d"];

/// How registries are reached and whom we trust.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `host`, `host:port` or a network (`10.0.0.0/8`): certificates are not checked, and plain HTTP is spoken
    /// where nobody speaks TLS. Loopback always is.
    pub insecure: Vec<String>,
    /// Addresses that are asked for Docker Hub's images first (`https://mirror.example`).
    pub mirrors: Vec<String>,
    /// Folders like `/etc/docker/certs.d`.
    pub certs: Vec<PathBuf>,
    /// Files with trusted authorities; the first that can be read counts.
    pub bundles: Vec<PathBuf>,
    /// Folders with more of them.
    pub bundle_folders: Vec<PathBuf>,
    /// Proxies.
    pub proxies: Proxies,
    /// So many blobs come at once.
    pub concurrent_downloads: usize,
    /// So many go at once.
    pub concurrent_uploads: usize,
    /// A download that breaks off is tried so often.
    pub download_attempts: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            insecure: Vec::new(),
            mirrors: Vec::new(),
            certs: Vec::new(),
            bundles: Vec::new(),
            bundle_folders: Vec::new(),
            proxies: Proxies::default(),
            concurrent_downloads: CONCURRENT_DOWNLOADS,
            concurrent_uploads: CONCURRENT_UPLOADS,
            download_attempts: DOWNLOAD_ATTEMPTS,
        }
    }
}

impl Settings {
    /// By the environment of this process and the usual places.
    pub fn from_environment() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        Settings {
            certs: paths(CERTS_D),
            bundles: match variable("SSL_CERT_FILE") {
                Some(file) => vec![file.into()],
                None => paths(SYSTEM_BUNDLES),
            },
            bundle_folders: variable("SSL_CERT_DIR")
                .map(|folders| folders.split(':').map(PathBuf::from).collect())
                .unwrap_or_default(),
            proxies: Proxies::from_variables(variable),
            ..Settings::default()
        }
    }
}
