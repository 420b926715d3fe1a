//! One small process per container: it holds the container's streams, its log, its exit code and its ports.
//!
//! Nouns. The *shim* is a process that the engine starts with [`client::launch`]; the container's
//! processes are its children. A *connection* is a stream socket that carries [`protocol`] frames: the
//! one it was born with, or one to `RUN/ID/shim.sock`. The *run folder* (`RUN/ID`, tmpfs) holds
//! `config.json`, `alive` (locked for the shim's whole life) and the socket; the *data folder*
//! (`containers/ID` in the data root) holds the log and, after the end, `exit.json`.
//!
//! Invariants. A shim is alive exactly as long as it holds the lock on `alive`. It is single-threaded
//! and never blocks on anything but its one `epoll_wait`. It holds no policy: what happens after an
//! exit is decided by whoever runs `exited()`. Every queue and wait has a named limit.
//!
//! This crate does not know images, snapshots, networks, restart policies or Docker's API.

mod attach;
pub mod client;
pub mod config;
mod error;
pub mod exit;
pub mod health;
pub mod journal;
pub mod log;
mod monitor;
mod peer;
mod poller;
pub mod protocol;
mod resolver;
mod ring;
mod spawn;
mod splice;
mod streams;
mod table;
mod world;

use monitor::Monitor;
use protocol::{Failure, FailureKind, Hello, Kind, Response};
use rustix::fd::{AsFd, OwnedFd};
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

pub use error::{Error, Result};

/// The shim role of `tare-runtime`: `tare-runtime shim RUN_FOLDER SHIM_CGROUP [trace]`, with the engine's socket as
/// descriptor 0 and, with `trace`, a sink for `sys::trace` as descriptor 1. `args` are those after the
/// program's name and its role.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let (run_dir, cgroup, trace) = match &args[..] {
        [run_dir, cgroup] => (run_dir, cgroup, false),
        [run_dir, cgroup, word] if word == "trace" => (run_dir, cgroup, true),
        _ => {
            // Nobody else is told: a person called it by hand.
            eprintln!(
                "tare-runtime shim: started by tare only; usage: tare-runtime shim RUN_FOLDER SHIM_CGROUP [trace]"
            );
            return ExitCode::from(2);
        }
    };
    let Ok(socket) = world::take(rustix::stdio::stdin()) else { return ExitCode::from(2) };
    sys::trace::set_process_name("shim");
    if trace && let Ok(sink) = world::take(rustix::stdio::stdout()) {
        sys::trace::set_process_sink(sink);
    }
    let mut socket = Some(socket);
    match begin(Path::new(run_dir), Path::new(cgroup), &mut socket) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            tell(socket.as_ref(), &e);
            ExitCode::FAILURE
        }
    }
}

/// The first process only makes the shim, born in its cgroup, and ends: nobody has to reap the shim. The
/// socket is taken by the shim when all else has gone well.
fn begin(run_dir: &Path, cgroup: &Path, socket: &mut Option<OwnedFd>) -> Result<()> {
    world::close_all_but(socket.as_ref(), sys::trace::current_sink().as_deref())?;
    let folder = monitor::open_dir(run_dir)?;
    let group = world::make_cgroup(cgroup)?;
    world::fork_into(group, |group| {
        let served = world::enter(group).and_then(|mounts| serve(run_dir, folder, mounts, socket));
        if let Err(e) = &served {
            tell(socket.as_ref(), e);
        }
        i32::from(served.is_err())
    })
}

/// The descriptor by which the exit command gets the host's mount namespace.
pub const HOST_MOUNTS_FD: i32 = 3;

/// Serves, once the engine has said what: its first bytes come when the configuration is written. An engine that
/// leaves before has no use for a shim.
fn serve(run_dir: &Path, folder: OwnedFd, mounts: OwnedFd, socket: &mut Option<OwnedFd>) -> Result<()> {
    if !socket.as_ref().map_or(Ok(false), world::wait_for_word)? {
        return Ok(());
    }
    let settings = monitor::read_settings(&folder)?;
    let monitor = Monitor::new(run_dir, folder, mounts, settings)?;
    // From here on the connection is one like any other: no copy of it may stay behind.
    let Some(socket) = socket.take() else { return Err(Error::Closed) };
    rustix::io::ioctl_fionbio(&socket, true).map_err(Error::io("ioctl(FIONBIO)"))?;
    monitor.run(socket)
}

/// Says why there is no shim: hello, and the failure of a request that nobody made (number 0).
fn tell(socket: Option<&OwnedFd>, error: &Error) {
    let Some(socket) = socket else { return };
    let failure = Failure::new(FailureKind::Internal, monitor::chain(error));
    let frame = protocol::encode(&Response::Failed(failure))
        .and_then(|body| protocol::encode_frame(Kind::Response, 0, &body, 0));
    if let Ok(frame) = frame {
        let bytes = [&Hello::OURS.encode()[..], &frame].concat();
        // The engine may be gone: then nobody asks.
        let _ = sys::scm::send(socket.as_fd(), &bytes, &[], rustix::net::SendFlags::DONTWAIT);
    }
}
