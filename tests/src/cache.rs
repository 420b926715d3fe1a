//! The cache of foreign software and images outside the tree, and what is in it.
//!
//! ```text
//! /var/cache/tare-tests            or $TARE_TEST_CACHE
//! ├── oracle/usr/{bin,sbin}        dockerd 28.5.2, containerd, its shim, docker-proxy, docker CLI (Debian sid)
//! ├── tools/usr/{bin,sbin}         docker-registry, runc (this machine's Debian)
//! ├── trees/{nginx,busybox}        unpacked packages that the images are made of
//! ├── images/*.tar, */             docker-archives and OCI layouts
//! ├── registry-data/               a docker-registry's storage with all images
//! ├── vm/{vmlinuz,initrd,root.img}  what the virtual machine boots: Debian 12's kernel and a small tree
//! └── versions.json                what was built, from which versions; written last
//! ```

use std::path::PathBuf;

pub mod build;
pub mod debian;
pub mod image;
pub mod image_set;
pub mod registry_data;
pub mod service_images;
pub mod vm_image;

/// The version that is the reference; another is refused.
pub const ORACLE_VERSION: &str = "28.5.2";

/// Where the cache is.
pub fn dir() -> PathBuf {
    std::env::var_os("TARE_TEST_CACHE").map_or_else(|| PathBuf::from("/var/cache/tare-tests"), PathBuf::from)
}

/// Whether the cache has been built completely.
pub fn is_complete() -> bool {
    dir().join("versions.json").exists()
}
