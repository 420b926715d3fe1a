//! The engine's side: start a shim, find it again, talk to it.
//!
//! A [`Connection`] never blocks but where a function says so, and then with a limit; its descriptor can be
//! given to an event loop that calls [`Connection::try_recv`] when it is readable. It holds nothing that a
//! crash of the engine could lose.
//!
//! It does not know what the container is for.

use crate::config::{self, Config};
use crate::protocol::{
    self, Decoder, Event, Failure, Frame, Hello, Kind, MAX_FRAME_FDS, Request, Response, encode_frame,
};
use crate::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open, openat};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with,
    socketpair,
};
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, Instant};

/// Name of the lock file in the run folder.
pub const ALIVE: &str = "alive";
/// Name of the socket in the run folder.
pub const SOCKET: &str = "shim.sock";
/// How long a new shim may take to say hello, and a peer to take bytes from us.
const PATIENCE: Duration = Duration::from_secs(20);
/// How much one read takes.
const READ_BYTES: usize = 16 << 10;
/// Answers and events kept for later while another answer is waited for.
const MAX_QUEUED: usize = 1024;

/// What [`launch`] needs.
#[derive(Debug)]
pub struct Launch<'a> {
    /// The `tare-runtime` program, best as `sys::clone_exe` opened it.
    pub exe: BorrowedFd<'a>,
    /// All about the container; written to `RUN/ID/config.json`. The run and the data folder must exist.
    pub config: &'a Config,
    /// Where `sys::trace` records go (`Settings::trace`).
    pub trace: Option<BorrowedFd<'a>>,
    /// What it shall hold.
    pub handed: Handed<'a>,
}

/// Descriptors that a shim holds until the exit.
#[derive(Debug, Clone, Copy, Default)]
pub struct Handed<'a> {
    /// The container's network namespace (`Settings::has_netns`).
    pub netns: Option<BorrowedFd<'a>>,
    /// One socket for each of `Settings::ports`.
    pub ports: &'a [BorrowedFd<'a>],
    /// One detached tree for each of `Settings::mounts`.
    pub mounts: &'a [BorrowedFd<'a>],
}

/// Starts a shim. Blocks until it holds its lock and has said hello (bounded); the container is made by
/// [`Request::Create`] then. When this fails no shim is left.
pub fn launch(l: &Launch<'_>) -> Result<Connection> {
    let settings = &l.config.settings;
    Launching::begin(l.exe, &settings.run_dir, &settings.shim_cgroup, l.trace)?.finish(l.config, l.handed)
}

/// A shim that makes its world (cgroup, session, mount namespace) while the engine finds out what the container
/// shall be. Dropped, or left by an engine that dies, it ends: it has made nothing that stays.
#[derive(Debug)]
pub struct Launching {
    socket: Option<OwnedFd>,
    /// The process that was started makes the shim and ends.
    maker: OwnedFd,
    traced: bool,
}

impl Launching {
    /// Starts the program; the run folder must exist.
    pub fn begin(
        exe: BorrowedFd<'_>,
        run_dir: &Path,
        shim_cgroup: &Path,
        trace: Option<BorrowedFd<'_>>,
    ) -> Result<Self> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(Error::io("socketpair()"))?;
        let mut step = sys::trace::step("shim", "posix_spawn(3)");
        let words = ["tare-runtime", "shim"].map(OsStr::new);
        let argv = [words[0], words[1], run_dir.as_os_str(), shim_cgroup.as_os_str(), OsStr::new("trace")];
        // The trace sink is there from the first step on.
        let fds: Vec<BorrowedFd<'_>> = std::iter::once(theirs.as_fd()).chain(trace).collect();
        let spawned = step.check(sys::spawn::spawn(&sys::spawn::Spawn {
            exe,
            argv: &argv[..argv.len() - usize::from(trace.is_none())],
            env: &[],
            fds: &fds,
            setsid: false,
        }))?;
        step.note(format_args!("pid {}", spawned.pid));
        Ok(Self { socket: Some(ours), maker: spawned.pidfd, traced: trace.is_some() })
    }

    /// Tells it what it is for; it answers with hello.
    pub fn finish(mut self, config: &Config, handed: Handed<'_>) -> Result<Connection> {
        let settings = &config.settings;
        if settings.ports.len() != handed.ports.len()
            || settings.mounts.len() != handed.mounts.len()
            || settings.has_netns != handed.netns.is_some()
            || settings.trace != self.traced
        {
            // A mistake of the caller that would only show much later.
            let message = "the descriptors handed over do not fit the configuration";
            return Err(Error::Refused(Failure::new(protocol::FailureKind::Invalid, message)));
        }
        write_config(open_dir(&settings.run_dir)?.as_fd(), config)?;
        let Some(socket) = self.socket.take() else { return Err(Error::Closed) };
        // A shim that could not begin has left perhaps: then its last words are the reason, not the broken pipe.
        let mut connection = Connection::before_hello(socket);
        let handed_over = connection.greet().and_then(|()| connection.hold(handed));
        let greeted = connection.wait_for_hello();
        if greeted.is_err() {
            // ESRCH: it ended by itself.
            let _ = sys::process::signal(self.maker.as_fd(), rustix::process::Signal::KILL.as_raw());
        }
        greeted?;
        // It says why in the same breath as hello, as an answer that nobody asked for.
        match connection.queue.pop_front() {
            Some(Incoming::Response { response: Response::Failed(failure), .. }) => {
                Err(Error::Refused(failure))
            }
            Some(_) => Err(Error::UnexpectedAnswer("a launch")),
            None => handed_over.map(|()| connection),
        }
    }
}

impl Drop for Launching {
    fn drop(&mut self) {
        drop(self.socket.take());
        // No zombie stays with the engine. ECHILD: an engine that reaps every child was faster.
        let _ = sys::process::wait(self.maker.as_fd());
    }
}

/// Whether a shim lives in this run folder: whether it holds the lock. Absent files mean no.
pub fn is_alive(run_dir: &Path) -> Result<bool> {
    let path = run_dir.join(ALIVE);
    Ok(sys::lock::is_held(rustix::fs::CWD, &path)?)
}

/// What a shim said.
#[derive(Debug)]
pub enum Incoming {
    /// The answer to the request of this number, with its descriptors.
    Response {
        /// What [`Connection::send`] returned.
        id: u32,
        /// The answer.
        response: Response,
        /// Descriptors that came along.
        fds: Vec<OwnedFd>,
    },
    /// Something unasked.
    Event(Event),
}

/// A connection to a shim.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    decoder: Decoder<OwnedFd>,
    queue: VecDeque<Incoming>,
    next_id: u32,
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Connection {
    /// Connects to the shim of this run folder and exchanges hellos; blocks for a bounded time.
    /// [`Error::NoShim`] when nobody listens there.
    pub fn connect(run_dir: &Path) -> Result<Self> {
        let gone = || Error::NoShim(run_dir.display().to_string());
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = match open(run_dir, flags, Mode::empty()) {
            Ok(dir) => dir,
            Err(rustix::io::Errno::NOENT) => return Err(gone()),
            Err(e) => return Err(Error::io(format!("open({run_dir:?})"))(e)),
        };
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(Error::io("socket()"))?;
        let address = socket_address(dir.as_fd())?;
        match connect(&socket, &address) {
            Ok(()) => {}
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::CONNREFUSED) => return Err(gone()),
            Err(e) => return Err(Error::io(format!("connect({run_dir:?}/{SOCKET})"))(e)),
        }
        let mut connection = Self::new(socket)?;
        connection.wait_for_hello()?;
        Ok(connection)
    }

    /// Sends a request with descriptors; returns its number. Blocks only when the shim takes nothing (bounded).
    pub fn send(&mut self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<u32> {
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1).max(1);
        let frame = encode_frame(Kind::Request, id, &protocol::encode(request)?, fds.len())?;
        self.write(&frame, fds)?;
        Ok(id)
    }

    /// What has come, without waiting. [`Error::Closed`] when nothing will come any more.
    pub fn try_recv(&mut self) -> Result<Option<Incoming>> {
        if let Some(incoming) = self.queue.pop_front() {
            return Ok(Some(incoming));
        }
        self.receive()
    }

    /// What comes next, waiting at most `limit` (`None`: without limit).
    pub fn recv(&mut self, limit: Option<Duration>) -> Result<Incoming> {
        match self.queue.pop_front() {
            Some(incoming) => Ok(incoming),
            None => self.receive_until(limit.map(|l| (Instant::now() + l, l))),
        }
    }

    /// Sends a request and waits for its answer; others that come before are kept for `recv`. A refusal is
    /// [`Error::Refused`]. `limit` bounds the wait.
    pub fn call(
        &mut self,
        request: &Request,
        fds: &[BorrowedFd<'_>],
        limit: Option<Duration>,
    ) -> Result<(Response, Vec<OwnedFd>)> {
        let wanted = self.send(request, fds)?;
        let until = limit.map(|l| (Instant::now() + l, l));
        loop {
            match self.receive_until(until)? {
                Incoming::Response { id, response, fds } if id == wanted => {
                    return match response {
                        Response::Failed(failure) => Err(Error::Refused(failure)),
                        other => Ok((other, fds)),
                    };
                }
                other if self.queue.len() < MAX_QUEUED => self.queue.push_back(other),
                _ => return Err(Error::UnexpectedAnswer("too many requests at once")),
            }
        }
    }

    fn new(socket: OwnedFd) -> Result<Self> {
        let mut connection = Self::before_hello(socket);
        connection.greet()?;
        Ok(connection)
    }

    fn before_hello(socket: OwnedFd) -> Self {
        Self { socket, decoder: Decoder::default(), queue: VecDeque::new(), next_id: 1 }
    }

    fn greet(&mut self) -> Result<()> {
        self.write(&Hello::OURS.encode(), &[])
    }

    /// Hands over all descriptors of a launch, in as many frames as they need.
    fn hold(&mut self, handed: Handed<'_>) -> Result<()> {
        let (mut netns, mut ports, mut mounts) = (handed.netns, handed.ports, handed.mounts);
        while netns.is_some() || !ports.is_empty() || !mounts.is_empty() {
            let mut fds: Vec<BorrowedFd<'_>> = netns.into_iter().collect();
            let (now, rest) = ports.split_at(ports.len().min(MAX_FRAME_FDS - fds.len()));
            fds.extend_from_slice(now);
            let (trees, later) = mounts.split_at(mounts.len().min(MAX_FRAME_FDS - fds.len()));
            fds.extend_from_slice(trees);
            let (netns_too, ports_now, mounts_now) = (netns.is_some(), now.len() as u16, trees.len() as u16);
            let request = Request::Hold { netns: netns_too, ports: ports_now, mounts: mounts_now };
            // Number 0 asks for no answer: a failure is that of `Create`.
            let frame = encode_frame(Kind::Request, 0, &protocol::encode(&request)?, fds.len())?;
            self.write(&frame, &fds)?;
            (netns, ports, mounts) = (None, rest, later);
        }
        Ok(())
    }

    fn wait_for_hello(&mut self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while self.decoder.version().is_none() {
            match self.receive()? {
                Some(early) => self.queue.push_back(early),
                None if self.decoder.version().is_some() => {}
                None => self.poll(PollFlags::IN, Some((until, PATIENCE)))?,
            }
        }
        Ok(())
    }

    fn receive_until(&mut self, until: Option<(Instant, Duration)>) -> Result<Incoming> {
        loop {
            if let Some(incoming) = self.receive()? {
                return Ok(incoming);
            }
            self.poll(PollFlags::IN, until)?;
        }
    }

    /// One message of the socket, never waiting.
    fn receive(&mut self) -> Result<Option<Incoming>> {
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return incoming(frame).map(Some);
            }
            let mut buffer = [0; READ_BYTES];
            let mut fds = Vec::new();
            match sys::scm::recv(self.socket.as_fd(), &mut buffer, &mut fds, RecvFlags::DONTWAIT) {
                Ok(0) => return Err(Error::Closed),
                Ok(n) => self.decoder.push(&buffer[..n], fds)?,
                Err(e) if is(&e, rustix::io::Errno::AGAIN) => return Ok(None),
                Err(e) if is(&e, rustix::io::Errno::CONNRESET) => return Err(Error::Closed),
                Err(e) => return Err(e.into()),
            }
        }
    }

    fn write(&mut self, mut bytes: &[u8], mut fds: &[BorrowedFd<'_>]) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while !bytes.is_empty() {
            match sys::scm::send(self.socket.as_fd(), bytes, fds, SendFlags::DONTWAIT) {
                Ok(n) => {
                    bytes = &bytes[n..];
                    fds = &[];
                }
                Err(e) if is(&e, rustix::io::Errno::AGAIN) => {
                    self.poll(PollFlags::OUT, Some((until, PATIENCE)))?;
                }
                Err(e) if is(&e, rustix::io::Errno::PIPE) || is(&e, rustix::io::Errno::CONNRESET) => {
                    return Err(Error::Closed);
                }
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    fn poll(&self, flags: PollFlags, until: Option<(Instant, Duration)>) -> Result<()> {
        loop {
            let left = until.map(|(at, limit)| (at.saturating_duration_since(Instant::now()), limit));
            let timeout = left.map(|(left, _)| Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: left.subsec_nanos().into(),
            });
            match poll(&mut [PollFd::new(&self.socket, flags)], timeout.as_ref()) {
                Ok(0) => return Err(Error::Timeout(left.map_or(0, |(_, limit)| limit.as_secs()))),
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(Error::io("poll()")(e)),
            }
        }
    }
}

/// `/proc/self/fd/N/shim.sock`: `sun_path` holds 107 bytes, a run folder may be deeper.
pub(crate) fn socket_address(dir: BorrowedFd<'_>) -> Result<SocketAddrUnix> {
    use rustix::fd::AsRawFd;
    SocketAddrUnix::new(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd()))
        .map_err(Error::io("socket address"))
}

fn incoming(frame: Frame<OwnedFd>) -> Result<Incoming> {
    match frame.kind {
        Kind::Response => {
            Ok(Incoming::Response { id: frame.id, response: protocol::decode(&frame.body)?, fds: frame.fds })
        }
        Kind::Event => Ok(Incoming::Event(protocol::decode(&frame.body)?)),
        Kind::Request => Err(protocol::ProtocolError::Header.into()),
    }
}

fn is(error: &sys::Error, errno: rustix::io::Errno) -> bool {
    error.errno() == errno.raw_os_error()
}

fn open_dir(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    open(path, flags, Mode::empty()).map_err(Error::io(format!("open({path:?})")))
}

fn write_config(dir: BorrowedFd<'_>, config: &Config) -> Result<()> {
    let json = serde_json::to_vec(config)
        .map_err(|source| Error::File { path: config::FILE.to_string(), source })?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = openat(dir, config::FILE, flags, Mode::from(0o600)).map_err(Error::io("openat(config.json)"))?;
    sys::durable::write_all(fd.as_fd(), &json).map_err(Error::io("write(config.json)"))
}
