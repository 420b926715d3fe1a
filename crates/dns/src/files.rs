//! The files that a resolver answers from, read again when they were replaced.
//!
//! Invariants: a file is looked at (one system call) before each query, so that a change counts at once; at most
//! [`MAX_BYTES`] of one are read; one that is not there is an empty one, which forwards nothing.
//!
//! It does not know who writes them.

use crate::names::{MAX_SERVERS, Names, View, servers_of};
use crate::server::{Side, Upstream, World};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, openat, statat};
use rustix::io::{Errno, read};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

/// The largest file: some ten thousand names.
const MAX_BYTES: usize = 4 << 20;
/// Where servers listen.
const PORT: u16 = 53;
/// In the folder of the host's configuration.
const HOST_FILE: &str = "resolv.conf";

/// Where the files are.
#[derive(Debug)]
pub struct Folders {
    /// The engine's: a file per container and network.
    pub names: OwnedFd,
    /// The container's file in it.
    pub container: String,
    /// The host's `/etc`.
    pub host: OwnedFd,
}

/// What the files say.
#[derive(Debug)]
pub struct Files {
    folders: Folders,
    view: View,
    view_stamp: Stamp,
    tables: Vec<Names>,
    table_stamps: Vec<Stamp>,
    host_servers: Vec<Upstream>,
    host_stamp: Stamp,
    upstreams: Vec<Upstream>,
}

/// Tells a file from the one that stood there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stamp {
    Unread,
    Absent,
    File { inode: u64, size: i64, modified: (i64, i64) },
}

impl Files {
    /// Reads nothing yet.
    pub fn new(folders: Folders) -> Self {
        Self {
            folders,
            view: View::default(),
            view_stamp: Stamp::Unread,
            tables: Vec::new(),
            table_stamps: Vec::new(),
            host_servers: Vec::new(),
            host_stamp: Stamp::Unread,
            upstreams: Vec::new(),
        }
    }

    /// What they say now. `probe` is any socket of the host's namespace: zones of addresses are its interfaces.
    pub fn world(&mut self, probe: BorrowedFd<'_>) -> World<'_> {
        if self.read_view() | self.read_host(probe) {
            self.gather();
        }
        self.read_tables();
        World { view: &self.view, tables: &self.tables, upstreams: &self.upstreams }
    }

    /// Gives the memory of names back: they are read again with the next query.
    pub fn forget(&mut self) {
        self.tables = Vec::new();
        self.table_stamps = Vec::new();
    }

    fn read_view(&mut self) -> bool {
        let Folders { names, container, .. } = &self.folders;
        let Some(bytes) = read_new(names.as_fd(), container, &mut self.view_stamp, OFlags::NOFOLLOW) else {
            return false;
        };
        self.view = View::parse(&bytes);
        // Networks may have changed their places.
        self.forget();
        true
    }

    fn read_host(&mut self, probe: BorrowedFd<'_>) -> bool {
        if !self.view.host_servers {
            return false;
        }
        // Often a link into /run; whoever may change it is root.
        let host = self.folders.host.as_fd();
        let Some(bytes) = read_new(host, HOST_FILE, &mut self.host_stamp, OFlags::empty()) else {
            return false;
        };
        let address = |(address, zone): (IpAddr, Option<String>)| {
            let socket = match (address, zone) {
                (IpAddr::V6(v6), Some(zone)) => {
                    SocketAddr::V6(SocketAddrV6::new(v6, PORT, 0, index_of(probe, &zone)?))
                }
                (address, _) => SocketAddr::new(address, PORT),
            };
            Some(Upstream { address: socket, side: Side::Host })
        };
        self.host_servers = servers_of(&bytes).into_iter().filter_map(address).collect();
        true
    }

    fn gather(&mut self) {
        let own = self
            .view
            .servers
            .iter()
            .map(|address| Upstream { address: SocketAddr::new(*address, PORT), side: Side::Container });
        let host = self.host_servers.iter().copied().filter(|_| self.view.host_servers);
        self.upstreams = own.chain(host).take(MAX_SERVERS).collect();
    }

    fn read_tables(&mut self) {
        let networks = &self.view.networks;
        self.tables.resize(networks.len(), Names::default());
        self.table_stamps.resize(networks.len(), Stamp::Unread);
        let names = self.folders.names.as_fd();
        let places = networks.iter().zip(&mut self.tables).zip(&mut self.table_stamps);
        for ((place, table), stamp) in places {
            if let Some(bytes) = read_new(names, &place.file, stamp, OFlags::NOFOLLOW) {
                *table = Names::parse(&bytes);
            }
        }
    }
}

/// The content of a file that is another one than that of the stamp.
fn read_new(dir: BorrowedFd<'_>, name: &str, stamp: &mut Stamp, flags: OFlags) -> Option<Vec<u8>> {
    let found = match statat(dir, name, AtFlags::empty()) {
        Ok(stat) => Stamp::File {
            inode: stat.st_ino,
            size: stat.st_size,
            modified: (stat.st_mtime, stat.st_mtime_nsec as i64),
        },
        Err(_) => Stamp::Absent,
    };
    if *stamp == found {
        return None;
    }
    *stamp = found;
    // Replaced in between: the next query sees another stamp.
    Some(read_file(dir, name, flags).unwrap_or_default())
}

fn read_file(dir: BorrowedFd<'_>, name: &str, flags: OFlags) -> Result<Vec<u8>, Errno> {
    // Nobody's pipe shall stop us.
    let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = openat(dir, name, flags, Mode::empty())?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while bytes.len() < MAX_BYTES {
        match read(&file, &mut buffer) {
            Ok(0) => break,
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(bytes)
}

fn index_of(probe: BorrowedFd<'_>, zone: &str) -> Option<u32> {
    zone.parse().ok().or_else(|| rustix::net::netdevice::name_to_index(probe, zone).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn replace(folder: &Path, name: &str, text: &str) {
        std::fs::write(folder.join("new"), text).unwrap();
        std::fs::rename(folder.join("new"), folder.join(name)).unwrap();
    }

    fn open(folder: &Path) -> OwnedFd {
        std::fs::File::open(folder).unwrap().into()
    }

    #[test]
    fn a_change_counts_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let (names, etc) = (dir.path().join("names"), dir.path().join("etc"));
        std::fs::create_dir(&names).unwrap();
        std::fs::create_dir(&etc).unwrap();
        let probe = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let folders = Folders { names: open(&names), container: "cc".into(), host: open(&etc) };
        let mut files = Files::new(folders);
        let mut look = |name: &str| {
            let world = files.world(probe.as_fd());
            let upstreams: Vec<String> = world.upstreams.iter().map(|u| u.address.to_string()).collect();
            (world.view.addresses(world.tables, name), upstreams.join(" "))
        };
        assert_eq!(look("web"), (None, String::new()));
        replace(&names, "aa", "web 10.0.0.2\n");
        replace(&names, "cc", "network aa n\nhost-servers\nserver 10.0.0.9\n");
        replace(&etc, "resolv.conf", "nameserver 127.0.0.1\nnameserver fe80::1%lo\nnameserver ::2\n");
        assert_eq!(look("web").1, "10.0.0.9:53 127.0.0.1:53 [fe80::1%1]:53");
        replace(&names, "aa", "web 10.0.0.3\n");
        assert_eq!(look("web").0, Some(vec!["10.0.0.3".parse().unwrap()]));
        replace(&etc, "resolv.conf", "nameserver 127.0.0.2\n");
        assert_eq!(look("web").1, "10.0.0.9:53 127.0.0.2:53");
        replace(&names, "bb", "web 10.1.0.3\n");
        replace(&names, "cc", "network bb n\n");
        assert_eq!(look("web"), (Some(vec!["10.1.0.3".parse().unwrap()]), String::new()));
        std::fs::remove_file(names.join("cc")).unwrap();
        assert_eq!(look("web"), (None, String::new()));
    }
}
