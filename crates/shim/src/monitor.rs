//! The shim's one loop.
//!
//! Invariants. The loop waits in one place ([`Poller::wait`]) and nowhere else; each event is handled at
//! once. Children are reaped wherever they come from, and told apart by pid while they are zombies, so
//! that a number is never taken for another process. The lock on `alive` is let go only when `exit.json`
//! is written, and the exit is told only after that.
//!
//! It does not know what a container is for, nor what happens after its exit.

mod events;
mod execs;
mod exit;
mod probe;
mod requests;
mod task;

use crate::config::{self, Settings};
use crate::peer::{Asked, Peer};
use crate::poller::{Event, Poller, Readiness};
use crate::protocol::{Failure, FailureKind, Response};
use crate::resolver::Resolver;
use crate::splice::Ports;
use crate::streams::Streams;
use crate::table::Table;
use crate::{Error, Result, client};
use execs::Execs;
pub(crate) use requests::chain;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, open, unlinkat};
use rustix::net::{AddressFamily, SocketFlags, SocketType, accept_with, bind, listen, socket_with};
use serde::Deserialize;
use std::io::Read;
use std::path::Path;
use sys::clock::boottime_ns;
use sys::process::Ended;
use task::Task;

/// Connections at once.
const MAX_PEERS: usize = 64;
/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 64;
/// Ended children that nobody has claimed yet (their start is still being reported).
const MAX_UNCLAIMED: usize = 256;
/// Memory is given back when nothing happened for that long.
const IDLE_NS: u64 = 1_000_000_000;
/// How long a leaving shim waits for others to take what was said to them.
const LEAVE_NS: u64 = 5_000_000_000;

/// A shim.
#[derive(Debug)]
pub struct Monitor {
    poller: Poller,
    signals: OwnedFd,
    place: Place,
    settings: Settings,
    peers: Table<Peer>,
    streams: Streams,
    ports: Ports,
    netns: Option<OwnedFd>,
    resolver: Resolver,
    /// Detached trees of mounts, until the container is made.
    trees: Vec<OwnedFd>,
    task: Task,
    execs: Execs,
    checks: probe::Checks,
    unclaimed: Vec<(i32, Ended)>,
    /// Descriptors that were handed over badly: the failure of `Create`.
    hold_failure: Option<Failure>,
    /// The connection of whoever started this shim.
    starter: Option<u32>,
    leaving_until_ns: Option<u64>,
    /// When it will have been idle; `None` when it is and has given back what it does not need.
    idle_at_ns: Option<u64>,
}

/// The shim's folders and what it holds in them.
#[derive(Debug)]
struct Place {
    run_dir: OwnedFd,
    data_dir: OwnedFd,
    /// The mount namespace of who started the shim: the exit command unmounts and mounts there.
    host_mounts: OwnedFd,
    alive: Option<sys::lock::Lock>,
    listener: Option<OwnedFd>,
}

impl Monitor {
    /// Takes the lock of the run folder, listens on its socket, opens the log.
    pub fn new(run_dir: &Path, run_fd: OwnedFd, host_mounts: OwnedFd, settings: Settings) -> Result<Self> {
        let alive = sys::lock::Lock::try_exclusive(run_fd.as_fd(), client::ALIVE)?
            .ok_or_else(|| Error::AlreadyRunning(run_dir.display().to_string()))?;
        let data_dir = open_dir(&settings.data_dir)?;
        // The record of the last run would be taken for this one's, should this shim be lost.
        crate::exit::ExitRecord::remove(data_dir.as_fd())?;
        let poller = Poller::new()?;
        let signals = sys::signal::signalfd(&[rustix::process::Signal::CHILD.as_raw()])?;
        poller.add(&signals, Event::Children, Readiness::IN)?;
        let listener = listener(&run_fd)?;
        poller.add(&listener, Event::Connecting, Readiness::IN)?;
        Ok(Self {
            poller,
            signals,
            place: Place {
                run_dir: run_fd,
                data_dir,
                host_mounts,
                alive: Some(alive),
                listener: Some(listener),
            },
            streams: Streams::new(&settings)?,
            settings,
            peers: Table::default(),
            ports: Ports::default(),
            netns: None,
            resolver: Resolver::default(),
            trees: Vec::new(),
            task: Task::default(),
            execs: Execs::default(),
            checks: probe::Checks::default(),
            unclaimed: Vec::new(),
            hold_failure: None,
            starter: None,
            leaving_until_ns: None,
            idle_at_ns: None,
        })
    }

    /// Serves until the container's end is settled. `socket` is the engine's connection.
    pub fn run(mut self, socket: OwnedFd) -> Result<()> {
        self.starter = self.add_peer(socket);
        let mut events = Vec::new();
        while !self.is_done() {
            let now = boottime_ns();
            let limit = self.deadline_ns().map(|at| at.saturating_sub(now));
            self.poller.wait(limit, &mut events)?;
            for (event, readiness) in events.drain(..) {
                if event != Event::Deadline {
                    self.idle_at_ns = Some(boottime_ns() + IDLE_NS);
                }
                self.on_event(event, readiness);
            }
            self.on_deadlines();
        }
        Ok(())
    }

    fn on_event(&mut self, event: Event, readiness: Readiness) {
        match event {
            Event::Children => self.on_children(),
            Event::Connecting => self.on_connecting(),
            Event::Peer(id) => self.on_peer(id, readiness),
            Event::Task => self.on_task(),
            Event::Output(output) => {
                self.streams.on_output(&self.poller, output);
                self.check_exit();
            }
            Event::Stdin => self.streams.on_stdin(&self.poller),
            Event::Attached(id) => self.streams.on_attached(&self.poller, id, readiness),
            Event::Exec(id) => self.on_exec(id),
            Event::Probe => self.on_probe(),
            Event::OutOfMemory => self.on_out_of_memory(),
            Event::Port(id) => self.ports.on_port(&self.poller, id),
            Event::Spliced(id, end) => self.ports.on_spliced(&self.poller, id, end, readiness),
            Event::Datagrams(id) => self.ports.on_datagrams(id),
            // What is due is looked at after each round of events.
            Event::Deadline => {}
        }
    }

    fn deadline_ns(&self) -> Option<u64> {
        let now = boottime_ns();
        // Past it, only clients that still read are waited for, each with a deadline of its own.
        let leaving = self.leaving_until_ns.filter(|&at| at > now);
        let (streams, task) = (self.streams.deadline_ns(), self.task.deadline_ns());
        let (checks, resolver) = (self.checks.deadline_ns(), self.resolver.deadline_ns());
        let deadlines = [streams, task, checks, resolver, self.ports.deadline_ns(), self.idle_at_ns, leaving];
        deadlines.into_iter().flatten().min()
    }

    fn on_deadlines(&mut self) {
        let now = boottime_ns();
        if self.streams.deadline_ns().is_some_and(|at| now >= at) {
            self.streams.on_deadline(&self.poller, now);
        }
        if self.task.deadline_ns().is_some_and(|at| now >= at) {
            self.on_task_deadline();
        }
        if self.checks.deadline_ns().is_some_and(|at| now >= at) {
            self.on_check_deadline(now);
            self.idle_at_ns = Some(now + IDLE_NS);
        }
        if self.ports.deadline_ns().is_some_and(|at| now >= at) {
            self.ports.on_deadline(now);
        }
        if self.resolver.deadline_ns().is_some_and(|at| now >= at) {
            self.resolver.start(self.netns.as_ref().map(AsFd::as_fd));
        }
        if self.idle_at_ns.is_some_and(|at| now >= at) {
            self.idle_at_ns = None;
            // One that leaves has no time to sleep.
            if self.leaving_until_ns.is_none() {
                self.give_memory_back();
            }
        }
    }

    /// Buffers, the heap of the parsed configuration, the stack and the text of what ran at the start or for an
    /// exec. Not done where they were used: a container that lives for a moment should not pay for it. The shim
    /// then sleeps until something happens.
    fn give_memory_back(&mut self) {
        self.streams.shrink();
        sys::heap::trim();
        sys::heap::forget_stack();
        let now = boottime_ns();
        let limit = self.deadline_ns().map(|at| at.saturating_sub(now));
        sys::heap::sleep_without_text(self.poller.as_fd(), limit);
    }

    /// Nothing is left to do.
    fn is_done(&self) -> bool {
        let Some(until) = self.leaving_until_ns else { return false };
        let told = self.peers.iter().all(|(_, p)| p.is_flushed()) || boottime_ns() >= until;
        // A slow reader gets the rest of what the container said; one that stopped is given up by its own deadline.
        told && !self.streams.has_attached()
    }

    /// The loop ends as soon as everybody has taken what was said to him.
    fn leave(&mut self) {
        self.streams.finish(&self.poller);
        self.leaving_until_ns = Some(boottime_ns() + LEAVE_NS);
    }

    fn on_children(&mut self) {
        while let Ok(Some(_)) = sys::signal::read_signalfd(&self.signals) {}
        while let Some((pid, ended)) = sys::process::reap_any() {
            if !self.claim(pid, ended) && self.unclaimed.len() < MAX_UNCLAIMED {
                self.unclaimed.push((pid, ended));
            }
        }
        // Only a start that is under way can still claim somebody; the rest are orphans of the container.
        if !self.task.is_pending() && !self.execs.is_pending() {
            self.unclaimed = Vec::new();
        }
        self.check_exit();
    }

    /// Finds out whose end this is.
    fn claim(&mut self, pid: i32, ended: Ended) -> bool {
        if self.task.pid() == pid && pid != 0 {
            self.on_init_ended(ended);
            return true;
        }
        self.resolver.on_ended(pid)
            || self.on_helper_ended(pid, ended)
            || self.streams.claim(pid, ended)
            || self.on_exec_ended(pid, ended)
    }

    /// How a process ended whose start was reported only now.
    fn take_unclaimed(&mut self, pid: i32) -> Option<Ended> {
        let at = self.unclaimed.iter().position(|(p, _)| *p == pid)?;
        Some(self.unclaimed.swap_remove(at).1)
    }

    fn on_connecting(&mut self) {
        let Some(listener) = &self.place.listener else { return };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let Ok(socket) = accept_with(listener, flags) else { return };
        // The socket's mode keeps others out; the folder might have been opened by a mistake.
        let own = rustix::process::getuid();
        let known =
            rustix::net::sockopt::socket_peercred(&socket).is_ok_and(|c| c.uid.is_root() || c.uid == own);
        if known && self.peers.len() < MAX_PEERS {
            let _ = self.add_peer(socket);
        }
    }

    fn add_peer(&mut self, socket: OwnedFd) -> Option<u32> {
        let id = self.peers.next_id();
        self.peers.insert(Peer::new(&self.poller, socket, id).ok()?);
        Some(id)
    }

    fn on_peer(&mut self, id: u32, readiness: Readiness) {
        let mut open = true;
        if readiness.contains(Readiness::OUT) {
            open = self.peers.get_mut(id).is_some_and(|p| p.flush().is_ok());
        }
        if open && readiness.intersects(Readiness::IN | Readiness::HUP | Readiness::ERR) {
            open = self.read_peer(id);
        }
        let watched = self.peers.get_mut(id).is_some_and(|p| p.watch(&self.poller, id).is_ok());
        if !open || !watched {
            self.drop_peer(id);
        }
    }

    /// Reads and handles requests; `false` when the connection is over.
    fn read_peer(&mut self, id: u32) -> bool {
        let Some(peer) = self.peers.get_mut(id) else { return false };
        let Ok(open) = peer.read() else { return false };
        loop {
            let Some(peer) = self.peers.get_mut(id) else { return false };
            match peer.next() {
                Ok(None) => return open,
                Ok(Some(frame)) => self.on_frame(id, frame),
                Err(_) => return false,
            }
        }
    }

    fn drop_peer(&mut self, id: u32) {
        let Some(peer) = self.peers.remove(id) else { return };
        drop(peer.waiting);
        if peer.supervises {
            self.on_supervisor_gone();
        }
        let starter_is_gone = self.starter.take_if(|starter| *starter == id).is_some();
        if self.task.is_new() && self.peers.len() == 0 {
            // Whoever started this shim is gone before he asked for anything.
            self.leave();
        } else if starter_is_gone && self.task.is_unstarted() {
            // Killed before the program ran: nobody else will ever open its gate. The row says what to undo.
            self.abandon();
        }
    }

    fn respond(&mut self, asked: Asked, response: &Response) {
        self.respond_with(asked, response, Vec::new());
    }

    fn respond_with(&mut self, asked: Asked, response: &Response, fds: Vec<OwnedFd>) {
        if asked.request == 0 {
            return;
        }
        let Some(peer) = self.peers.get_mut(asked.peer) else { return };
        let sent =
            peer.respond(asked.request, response, fds).and_then(|()| peer.watch(&self.poller, asked.peer));
        if sent.is_err() {
            self.drop_peer(asked.peer);
        }
    }

    fn fail(&mut self, asked: Asked, kind: FailureKind, message: impl Into<String>) {
        self.respond(asked, &Response::Failed(Failure::new(kind, message)));
    }
}

/// Opens a folder.
pub(crate) fn open_dir(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    open(path, flags, Mode::empty()).map_err(Error::io(format!("open({path:?})")))
}

/// Only the settings: the rest of the file is skipped without being built.
pub(crate) fn read_settings(run_dir: &OwnedFd) -> Result<Settings> {
    #[derive(Deserialize)]
    struct Head {
        settings: Settings,
    }
    let json = read_config(run_dir)?;
    let head: Head = serde_json::from_slice(&json)
        .map_err(|source| Error::File { path: config::FILE.to_string(), source })?;
    let version = head.settings.version;
    if version != config::VERSION {
        return Err(Error::io(format!("config.json of version {version}"))(rustix::io::Errno::NOTSUP));
    }
    Ok(head.settings)
}

/// The bytes of `config.json`.
fn read_config(run_dir: &OwnedFd) -> Result<Vec<u8>> {
    read_file(run_dir, config::FILE)
}

/// The bytes of a file in the run folder.
fn read_file(run_dir: &OwnedFd, name: &str) -> Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = rustix::fs::openat(run_dir, name, flags, Mode::empty())
        .map_err(Error::io(format!("openat({name})")))?;
    let size = rustix::fs::fstat(&fd).map_err(Error::io(format!("fstat({name})")))?.st_size as u64;
    let mut json = Vec::with_capacity(size.min(config::MAX_BYTES) as usize + 1);
    std::fs::File::from(fd)
        .take(config::MAX_BYTES)
        .read_to_end(&mut json)
        .map_err(Error::io(format!("read({name})")))?;
    Ok(json)
}

/// The shim's socket, 0600 from its first moment.
fn listener(run_dir: &OwnedFd) -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket =
        socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(Error::io("socket()"))?;
    match unlinkat(run_dir, client::SOCKET, AtFlags::empty()) {
        // A shim that was killed left it; the lock says that it is ours now.
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(e) => return Err(Error::io("unlinkat(shim.sock)")(e)),
    }
    let address = client::socket_address(run_dir.as_fd())?;
    let umask = rustix::process::umask(Mode::from_raw_mode(0o177));
    let bound = bind(&socket, &address);
    rustix::process::umask(umask);
    bound.map_err(Error::io("bind(shim.sock)"))?;
    listen(&socket, BACKLOG).map_err(Error::io("listen(shim.sock)"))?;
    Ok(socket)
}
