//! Network namespaces that are born before the process that will live in them.
//!
//! A helper thread unshares, opens what is needed from inside and hands the namespace's fd out; no
//! thread that lives on ever changes its namespace. The namespace lives as long as its last fd or
//! process; closing it destroys the container's veth, which the kernel batches.

use crate::route::RouteSocket;
use crate::{Error, Result};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::io;
use std::path::Path;
use std::thread::JoinHandle;
use sys::trace;

/// The loopback interface is the first of every namespace (LOOPBACK_IFINDEX).
const LOOPBACK: u32 = 1;
/// The helper thread runs a handful of system calls; the default of 2 MiB would be mapped in vain.
const HELPER_STACK: usize = 64 * 1024;

/// A network namespace and a route socket inside.
#[derive(Debug)]
pub struct Netns {
    fd: OwnedFd,
    route: RouteSocket,
    /// `/proc/sys/net/ipv6/conf` as it is inside: a directory of sysctls stays that of the namespace
    /// in which it was opened, whoever looks names up in it. None: a kernel without IPv6.
    ipv6: Option<OwnedFd>,
    inode: u64,
}

/// A namespace that a helper thread is making; see [`Netns::begin`].
#[derive(Debug)]
pub struct NetnsCreation(JoinHandle<Result<Netns>>);

impl Netns {
    /// Makes a namespace with its loopback up.
    pub fn create() -> Result<Self> {
        Self::begin()?.finish()
    }

    /// Starts making one while the caller does something else: it is half a millisecond of kernel
    /// time that needs nothing from the rest of a start.
    pub fn begin() -> Result<NetnsCreation> {
        let sink = trace::current_sink();
        let work = move || match sink {
            Some(sink) => trace::with_sink(sink, make),
            None => make(),
        };
        let thread =
            std::thread::Builder::new().name("netns".to_owned()).stack_size(HELPER_STACK).spawn(work);
        Ok(NetnsCreation(
            thread.map_err(|e| Error::kernel("clone of the thread that makes a network namespace", e))?,
        ))
    }

    /// Opens an existing namespace, for example `/proc/7/ns/net`.
    pub fn open(path: &Path) -> Result<Self> {
        Self::from_fd(sys::namespace::open(path)?)
    }

    /// Takes a namespace by its fd.
    pub fn from_fd(fd: OwnedFd) -> Result<Self> {
        let (route, ipv6) = within(fd.as_fd(), || Ok::<_, Error>((RouteSocket::open()?, open_ipv6()?)))??;
        Self::assemble(fd, route, ipv6)
    }

    /// A socket that acts inside.
    pub fn route(&self) -> &RouteSocket {
        &self.route
    }

    /// The inode that names it, as in `/proc/PID/ns/net` → `net:[inode]`.
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// The fd alone, to be passed on.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// Switches IPv6 of an interface, as dockerd does: off on networks without it, before the interface goes up,
    /// or it joins multicast groups and solicits routers; on where a host's default would have it off.
    pub(crate) fn switch_ipv6(&self, interface: &str, on: bool) -> Result<()> {
        let Some(dir) = &self.ipv6 else { return Ok(()) };
        let name = format!("{interface}/disable_ipv6");
        let value = if on { "0" } else { "1" };
        let what = |e| Error::kernel(format!("write {value} to net/ipv6/conf/{name}"), e);
        let file = match rustix::fs::openat(dir, &name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()) {
            // With an MTU below 1280 there is no IPv6 on it (RFC 8200, section 5).
            Err(Errno::NOENT) => return Ok(()),
            file => file.map_err(what)?,
        };
        rustix::io::write(&file, value.as_bytes()).map_err(what).map(drop)
    }

    fn assemble(fd: OwnedFd, route: RouteSocket, ipv6: Option<OwnedFd>) -> Result<Self> {
        let stat = rustix::fs::fstat(&fd).map_err(|e| Error::kernel("fstat of a network namespace", e))?;
        Ok(Self { fd, route, ipv6, inode: stat.st_ino })
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl NetnsCreation {
    /// Waits for the namespace.
    pub fn finish(self) -> Result<Netns> {
        self.0.join().unwrap_or_else(|_| Err(panicked()))
    }
}

/// Runs `work` in a helper thread inside the namespace.
pub(crate) fn within<T: Send>(netns: BorrowedFd<'_>, work: impl FnOnce() -> T + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let inside = move || -> Result<T> {
            sys::namespace::setns(netns, sys::namespace::KINDS[3].0)?;
            Ok(work())
        };
        let thread = std::thread::Builder::new()
            .name("netns".to_owned())
            .spawn_scoped(scope, inside)
            .map_err(|e| Error::kernel("clone of the thread that enters a network namespace", e))?;
        thread.join().unwrap_or_else(|_| Err(panicked()))
    })
}

fn make() -> Result<Netns> {
    let mut step = trace::step("network namespace", "unshare(CLONE_NEWNET)");
    step.check(sys::namespace::unshare(sys::namespace::KINDS[3].0))?;
    let fd = sys::namespace::open(Path::new("/proc/thread-self/ns/net"))?;
    let netns = Netns::assemble(fd, RouteSocket::open()?, open_ipv6()?)?;
    step.note(format_args!("net:[{}]", netns.inode));
    drop(step);
    let mut step = trace::step("loopback", "RTM_NEWLINK");
    step.note(format_args!("lo up"));
    step.check(netns.route.set_up(LOOPBACK))?;
    drop(step);
    Ok(netns)
}

/// The directory of IPv6 sysctls of the calling thread's network namespace.
fn open_ipv6() -> Result<Option<OwnedFd>> {
    const CONF: &str = "/proc/sys/net/ipv6/conf";
    match rustix::fs::open(CONF, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(dir) => Ok(Some(dir)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(Error::kernel(format!("open {CONF}"), e)),
    }
}

/// Writes a sysctl of the calling thread's network namespace.
pub(crate) fn write_sysctl(name: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/{name}");
    std::fs::write(&path, value).map_err(|e| Error::kernel(format!("write {value:?} to {path}"), e))
}

/// Reads a sysctl of the calling thread's network namespace, without its newline.
pub(crate) fn read_sysctl(name: &str) -> Result<String> {
    let path = format!("/proc/sys/{name}");
    let text = std::fs::read_to_string(&path).map_err(|e| Error::kernel(format!("read {path}"), e))?;
    Ok(text.trim_end().to_owned())
}

fn panicked() -> Error {
    Error::kernel("thread in a network namespace", io::Error::other("it panicked"))
}
