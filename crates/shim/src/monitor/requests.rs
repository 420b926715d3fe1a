//! What each request does.
//!
//! It does not know how requests come in, nor how a container is made or ends.

use super::{Asked, Monitor};
use crate::attach::Attached;
use crate::protocol::{self, FailureKind, Frame, Request, Response, TaskStatus};
use crate::resolver::Wanted;
use crate::streams::MAX_ATTACHED;
use rustix::fd::{AsFd, OwnedFd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::path::PathBuf;
use std::sync::Arc;

/// Requests of one connection that wait for the container's end.
const MAX_WAITING: usize = 256;

impl Monitor {
    /// Handles one request.
    pub(super) fn on_frame(&mut self, peer: u32, frame: Frame<OwnedFd>) {
        let asked = Asked { peer, request: frame.id };
        match protocol::decode::<Request>(&frame.body) {
            Ok(request) => self.on_request(asked, request, frame.fds),
            Err(e) => self.fail(asked, FailureKind::Invalid, e.to_string()),
        }
    }

    fn on_request(&mut self, asked: Asked, request: Request, fds: Vec<OwnedFd>) {
        match request {
            Request::Hold { netns, ports, mounts } => {
                self.hold(asked, netns, (usize::from(ports), usize::from(mounts)), fds)
            }
            Request::Publish { ports } => self.lead_ports(asked, &ports, fds),
            Request::Resolve { folder, file, inside } => self.resolve(asked, folder, file, inside, fds),
            Request::Create => self.create(asked),
            Request::Start => self.start(asked),
            Request::Attach { stdin, stdout, stderr } => self.attach(asked, stdin, stdout, stderr),
            Request::Resize { exec_id, width, height } => {
                self.resize(asked, exec_id.as_deref(), width, height)
            }
            Request::Kill { signal, all, exec_id } => self.kill(asked, signal, all, exec_id.as_deref()),
            Request::Exec { exec_id, process, stdio, trace } => {
                let sink = fds.into_iter().next().filter(|_| trace).map(Arc::new);
                sys::trace::inherit(sink, || self.exec(asked, exec_id, &process, stdio));
            }
            Request::ExecWait { exec_id } => self.exec_wait(asked, &exec_id),
            Request::Wait => self.wait(asked),
            Request::State => self.state(asked),
            Request::Pause => self.pause(asked, true),
            Request::Resume => self.pause(asked, false),
            Request::Supervise => self.supervise(asked),
            Request::Release { again_after_ms } => self.release(asked, again_after_ms),
            Request::Abort => self.abort(asked),
        }
    }

    fn hold(&mut self, asked: Asked, netns: bool, (ports, mounts): (usize, usize), fds: Vec<OwnedFd>) {
        let expected = usize::from(netns) + ports + mounts;
        let fits = self.ports.len() + ports <= self.settings.ports.len()
            && self.trees.len() + mounts <= self.settings.mounts.len();
        if fds.len() != expected || !fits || !self.task.is_new() {
            let failure = protocol::Failure::new(
                FailureKind::Invalid,
                format!("{} descriptors were handed over where {expected} fit", fds.len()),
            );
            self.hold_failure = Some(failure.clone());
            return self.respond(asked, &Response::Failed(failure));
        }
        let mut fds = fds.into_iter();
        if netns {
            self.netns = fds.next();
        }
        self.ports.hold(fds.by_ref().take(ports).collect());
        self.trees.extend(fds);
        self.respond(asked, &Response::Done);
    }

    fn lead_ports(&mut self, asked: Asked, ports: &[crate::config::Port], fds: Vec<OwnedFd>) {
        if !self.task.is_running() {
            return self.fail(asked, FailureKind::NotRunning, "the container does not run");
        }
        let held = self.ports.len() + fds.len();
        if ports.len() != held {
            let text = format!("{held} sockets are held where {} ports are told", ports.len());
            return self.fail(asked, FailureKind::Invalid, text);
        }
        self.ports.hold(fds);
        match self.ports.serve(&self.poller, ports) {
            Ok(()) => self.respond(asked, &Response::Done),
            Err(e) => self.fail(asked, FailureKind::Internal, e.to_string()),
        }
    }

    fn resolve(&mut self, asked: Asked, folder: PathBuf, file: String, inside: bool, fds: Vec<OwnedFd>) {
        let Ok([udp, tcp]) = <[OwnedFd; 2]>::try_from(fds) else {
            return self.fail(asked, FailureKind::Invalid, "a resolver has two sockets");
        };
        if self.task.has_ended() || self.netns.is_none() {
            return self.fail(asked, FailureKind::NotRunning, "the container has no network of its own");
        }
        self.resolver.want(Wanted { udp, tcp, folder, file, inside });
        if self.task.is_running() {
            self.resolver.start(self.netns.as_ref().map(AsFd::as_fd));
        }
        self.respond(asked, &Response::Done);
    }

    fn attach(&mut self, asked: Asked, stdin: bool, stdout: bool, stderr: bool) {
        if self.task.has_ended() {
            return self.fail(asked, FailureKind::NotRunning, "the container has ended");
        }
        let pair = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
        let (ours, theirs) = match pair {
            Ok(pair) => pair,
            Err(e) => return self.fail(asked, FailureKind::Internal, format!("socketpair(): {e}")),
        };
        // The flag belongs to our end only.
        let ready = rustix::io::ioctl_fionbio(&ours, true);
        let client = Attached::new(ours, self.settings.tty, stdin, stdout, stderr);
        match ready
            .map_err(crate::Error::io("ioctl(FIONBIO)"))
            .and_then(|()| self.streams.attach(&self.poller, client))
        {
            Ok(Some(_)) => {
                self.respond_with(asked, &Response::Attached { tty: self.settings.tty }, vec![theirs]);
            }
            Ok(None) => {
                let text = format!("{MAX_ATTACHED} clients are attached already");
                self.fail(asked, FailureKind::TooMany, text);
            }
            Err(e) => self.fail(asked, FailureKind::Internal, chain(&e)),
        }
    }

    fn resize(&mut self, asked: Asked, exec_id: Option<&str>, width: u16, height: u16) {
        let done = match exec_id {
            None => self.streams.resize(width, height),
            Some(id) => match self.execs.resize(id, width, height) {
                Some(done) => done,
                None => return self.fail(asked, FailureKind::NotRunning, format!("no exec {id} is running")),
            },
        };
        match done {
            Ok(true) => self.respond(asked, &Response::Done),
            Ok(false) => self.fail(asked, FailureKind::Conflict, "there is no terminal"),
            Err(e) => self.fail(asked, FailureKind::Internal, chain(&e)),
        }
    }

    fn kill(&mut self, asked: Asked, signal: i32, all: bool, exec_id: Option<&str>) {
        if !(0..=sys::signal::MAX).contains(&signal) {
            return self.fail(asked, FailureKind::Invalid, format!("{signal} is no signal"));
        }
        let sent = match (all, exec_id) {
            (true, _) => self.task.signal_all(signal),
            (false, Some(id)) => self.execs.signal(id, signal),
            (false, None) => self.task.signal(signal),
        };
        match sent {
            Ok(true) => self.respond(asked, &Response::Done),
            Ok(false) => self.fail(asked, FailureKind::NotRunning, "no such process"),
            Err(e) => self.fail(asked, FailureKind::Internal, chain(&e)),
        }
    }

    fn wait(&mut self, asked: Asked) {
        if let Some(record) = self.task.exit_record() {
            let response = Response::Exited(record.clone());
            return self.respond(asked, &response);
        }
        let Some(peer) = self.peers.get_mut(asked.peer) else { return };
        if peer.waiting.len() >= MAX_WAITING {
            return self.fail(asked, FailureKind::TooMany, "too many waits on this connection");
        }
        peer.waiting.push(asked.request);
    }

    fn state(&mut self, asked: Asked) {
        let response = Response::State {
            status: self.task.status(),
            pid: self.task.running_pid(),
            execs: self.execs.running(),
        };
        self.respond(asked, &response);
    }

    fn pause(&mut self, asked: Asked, pause: bool) {
        let fits = if pause { TaskStatus::Running } else { TaskStatus::Paused };
        if self.task.status() != fits {
            let text = if pause { "the container is not running" } else { "the container is not paused" };
            return self.fail(asked, FailureKind::Conflict, text);
        }
        match self.task.set_paused(pause) {
            Ok(()) => {
                if pause {
                    self.end_checks();
                } else {
                    self.resume_checks();
                }
                self.respond(asked, &Response::Done);
            }
            Err(e) => self.fail(asked, FailureKind::Internal, chain(&e)),
        }
    }

    fn supervise(&mut self, asked: Asked) {
        if self.peers.iter().any(|(_, p)| p.supervises) || self.task.has_ended() {
            return self.fail(
                asked,
                FailureKind::Conflict,
                "the container is supervised already or has ended",
            );
        }
        if let Some(peer) = self.peers.get_mut(asked.peer) {
            peer.supervises = true;
        }
        self.respond(asked, &Response::Done);
    }
}

/// An error with its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(e) = source {
        text.push_str(": ");
        text.push_str(&e.to_string());
        source = e.source();
    }
    text
}

/// Sends a signal; `false` when the process has ended.
pub(super) fn signal(pidfd: &OwnedFd, number: i32) -> crate::Result<bool> {
    match sys::process::signal(pidfd.as_fd(), number) {
        Ok(()) => Ok(true),
        Err(e) if e.errno() == rustix::io::Errno::SRCH.raw_os_error() => Ok(false),
        Err(e) => Err(e.into()),
    }
}
