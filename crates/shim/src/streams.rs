//! The standard streams of the main process: log first, then whoever is attached.
//!
//! Invariants. What was read is in the log's file before anybody attached sees it. Reading pauses while
//! an attached client is behind (bounded, see [`crate::attach`]), never for the log. Stdin is read from a
//! client only when the process has taken what came before.
//!
//! It does not know processes, requests or the exit.

use crate::attach::Attached;
use crate::config::{Log, Settings};
use crate::log::{Limits, LogFile, Name, Stream};
use crate::poller::{Event, Output, Poller, Readiness};
use crate::table::Table;
use crate::{Error, Result};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use sys::clock::Time;
use sys::process::Ended;

/// What is read at once.
const READ_BYTES: usize = 64 << 10;
/// Reads of one stream before the others have their turn.
const READS_PER_EVENT: usize = 16;
/// Attached clients of one container.
pub const MAX_ATTACHED: usize = 64;

/// One output of the main process.
#[derive(Debug)]
struct Source {
    fd: OwnedFd,
    log: Stream,
    watched: bool,
}

/// The input of the main process.
#[derive(Debug)]
struct Sink {
    fd: OwnedFd,
    /// What the process has not taken yet.
    pending: Vec<u8>,
    /// It ends when all is taken.
    ending: bool,
    /// It has ended; [`Streams::settle`] lets it go.
    closed: bool,
    watched: bool,
}

impl Sink {
    fn new(fd: OwnedFd) -> Self {
        Self { fd, pending: Vec::new(), ending: false, closed: false, watched: false }
    }
}

/// The standard streams of the main process.
#[derive(Debug, Default)]
pub struct Streams {
    stdout: Option<Source>,
    stderr: Option<Source>,
    stdin: Option<Sink>,
    terminal: Option<OwnedFd>,
    log: Option<LogFile>,
    /// Stands in each of the log's entries.
    attrs: String,
    attached: Table<Attached>,
    buffer: Vec<u8>,
    tty: bool,
    stdin_once: bool,
    draining: bool,
}

/// The other ends of the pipes, for the new process.
#[derive(Debug)]
pub struct ChildEnds {
    /// Becomes its descriptor 0.
    pub stdin: OwnedFd,
    /// Becomes its descriptor 1.
    pub stdout: OwnedFd,
    /// Becomes its descriptor 2.
    pub stderr: OwnedFd,
}

impl Streams {
    /// Streams that are connected to nothing yet; opens the log.
    pub fn new(settings: &Settings) -> Result<Self> {
        let (log, attrs) = match &settings.log {
            Log::None => (None, ""),
            Log::JsonFile { path, max_size, max_file, compress, attrs } => {
                let limits = Limits { max_size: *max_size, max_file: *max_file, compress: compress.clone() };
                (Some(LogFile::open(path, limits)?), attrs.as_str())
            }
        };
        let (attrs, tty, stdin_once) = (attrs.to_string(), settings.tty, settings.stdin_once);
        Ok(Self { log, attrs, tty, stdin_once, ..Self::default() })
    }

    /// Makes pipes for a process without a terminal. Without `open_stdin` its stdin is `/dev/null`.
    pub fn make_pipes(&mut self, poller: &Poller, open_stdin: bool) -> Result<ChildEnds> {
        let stdin = if open_stdin {
            let (theirs, ours) = pipe()?;
            non_blocking(&ours)?;
            self.stdin = Some(Sink::new(ours));
            theirs
        } else {
            crate::spawn::null()?
        };
        let (ours, stdout) = pipe()?;
        self.stdout = Some(self.source(poller, ours, Output::Stdout)?);
        let (ours, stderr) = pipe()?;
        self.stderr = Some(self.source(poller, ours, Output::Stderr)?);
        Ok(ChildEnds { stdin, stdout, stderr })
    }

    /// Takes the master of the process's terminal.
    pub fn take_terminal(&mut self, poller: &Poller, master: OwnedFd, open_stdin: bool) -> Result<()> {
        let copy = || master.try_clone().map_err(Error::io("dup(terminal)"));
        if open_stdin {
            self.stdin = Some(Sink::new(copy()?));
        }
        self.terminal = Some(copy()?);
        self.stdout = Some(self.source(poller, master, Output::Stdout)?);
        Ok(())
    }

    /// Changes the size of the terminal; false when there is none.
    pub fn resize(&self, columns: u16, rows: u16) -> Result<bool> {
        let Some(terminal) = &self.terminal else { return Ok(false) };
        sys::pty::resize(terminal.as_fd(), columns, rows)?;
        Ok(true)
    }

    /// Adds an attached client; `None` when there are too many.
    pub fn attach(&mut self, poller: &Poller, mut client: Attached) -> Result<Option<u32>> {
        if self.attached.len() >= MAX_ATTACHED {
            return Ok(None);
        }
        if self.stdin.is_none() && client.wants_stdin() {
            client.end_stdin(false);
        }
        let id = self.attached.next_id();
        client.watch(poller, Event::Attached(id), self.stdin_has_room())?;
        self.attached.insert(client);
        Ok(Some(id))
    }

    /// The main process said something, or all its copies of the stream are closed.
    pub fn on_output(&mut self, poller: &Poller, output: Output) {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(READ_BYTES, 0);
        for _ in 0..READS_PER_EVENT {
            let Some(source) = self.source_mut(output) else { break };
            let n = match rustix::io::read(&source.fd, &mut buffer[..]) {
                Ok(n) => n,
                Err(Errno::AGAIN | Errno::INTR) => break,
                // EIO: nobody has the terminal open any more.
                Err(_) => 0,
            };
            if n == 0 {
                self.end_output(poller, output);
                break;
            }
            self.forward(output, &buffer[..n]);
            if n < READ_BYTES || (self.is_behind() && !self.draining) {
                break;
            }
        }
        self.buffer = buffer;
        self.settle(poller);
    }

    /// The process takes input again.
    pub fn on_stdin(&mut self, poller: &Poller) {
        self.write_stdin();
        self.settle(poller);
    }

    /// A client said something, takes more, or left.
    pub fn on_attached(&mut self, poller: &Poller, id: u32, readiness: Readiness) {
        let Some(client) = self.attached.get_mut(id) else { return };
        if readiness.contains(Readiness::OUT) {
            client.flush();
        }
        if readiness.contains(Readiness::IN) && client.wants_stdin() {
            self.read_stdin(id);
        } else if readiness.intersects(Readiness::HUP | Readiness::ERR) {
            // What it wrote before it left is read when the process has room for it.
            client.hung_up = true;
            if !client.wants_stdin() {
                client.leave();
            }
        }
        self.settle(poller);
    }

    /// The earliest moment at which [`Streams::on_deadline`] has something to do.
    pub fn deadline_ns(&self) -> Option<u64> {
        self.attached.iter().filter_map(|(_, c)| c.deadline_ns()).min()
    }

    /// Gives up clients that stopped reading.
    pub fn on_deadline(&mut self, poller: &Poller, now_ns: u64) {
        let mut stdin_left = false;
        for (_, client) in self.attached.iter_mut() {
            let had_stdin = client.wants_stdin();
            stdin_left |= client.check_deadline(now_ns) && had_stdin;
        }
        if stdin_left {
            self.stdin_left();
        }
        self.settle(poller);
    }

    /// Init has ended: what is left in the pipes is read whoever is behind.
    pub fn begin_drain(&mut self, poller: &Poller) {
        self.draining = true;
        self.close_stdin();
        self.settle(poller);
    }

    /// Both outputs are closed.
    pub fn is_drained(&self) -> bool {
        self.stdout.is_none() && self.stderr.is_none()
    }

    /// Ends both outputs, the log and, as soon as they have taken all, the clients. Returns what went wrong
    /// with the log.
    pub fn finish(&mut self, poller: &Poller) -> Option<String> {
        self.end_output(poller, Output::Stdout);
        self.end_output(poller, Output::Stderr);
        self.terminal = None;
        self.close_stdin();
        let trouble = self.log.take().and_then(|mut log| {
            log.flush();
            log.trouble()
        });
        for (_, client) in self.attached.iter_mut() {
            client.end();
        }
        self.settle(poller);
        trouble
    }

    /// Gives buffers back.
    pub fn shrink(&mut self) {
        self.buffer = Vec::new();
        self.attached.shrink();
        if let Some(log) = &mut self.log {
            log.shrink();
        }
    }

    /// A child of the shim has ended; false when it is not the log's.
    pub fn claim(&mut self, pid: i32, ended: Ended) -> bool {
        self.log.as_mut().is_some_and(|log| log.claim(pid, ended))
    }

    /// Some client has yet to take something.
    pub fn has_attached(&self) -> bool {
        self.attached.len() > 0
    }

    fn source(&self, poller: &Poller, fd: OwnedFd, output: Output) -> Result<Source> {
        non_blocking(&fd)?;
        poller.add(&fd, Event::Output(output), Readiness::IN)?;
        let name = match output {
            Output::Stdout => Name::Stdout,
            Output::Stderr => Name::Stderr,
        };
        Ok(Source { fd, log: Stream::new(name, &self.attrs), watched: true })
    }

    fn source_mut(&mut self, output: Output) -> Option<&mut Source> {
        match output {
            Output::Stdout => self.stdout.as_mut(),
            Output::Stderr => self.stderr.as_mut(),
        }
    }

    fn forward(&mut self, output: Output, data: &[u8]) {
        let source = match output {
            Output::Stdout => self.stdout.as_mut(),
            Output::Stderr => self.stderr.as_mut(),
        };
        if let (Some(log), Some(source)) = (&mut self.log, source) {
            source.log.feed(data, Time::now(), log);
            log.flush();
        }
        for (_, client) in self.attached.iter_mut() {
            client.deliver(output, data);
        }
    }

    fn end_output(&mut self, poller: &Poller, output: Output) {
        let source = match output {
            Output::Stdout => self.stdout.take(),
            Output::Stderr => self.stderr.take(),
        };
        let Some(mut source) = source else { return };
        if source.watched {
            poller.remove(&source.fd);
        }
        if let Some(log) = &mut self.log {
            source.log.finish(Time::now(), log);
            log.flush();
        }
    }

    fn is_behind(&self) -> bool {
        self.attached.iter().any(|(_, c)| c.is_behind())
    }

    fn stdin_has_room(&self) -> bool {
        self.stdin.as_ref().is_some_and(|s| s.pending.is_empty() && !s.ending && !s.closed)
    }

    fn read_stdin(&mut self, id: u32) {
        if !self.stdin_has_room() {
            return;
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(READ_BYTES, 0);
        let read = self.attached.get_mut(id).map(|client| rustix::io::read(&*client, &mut buffer[..]));
        match read {
            Some(Ok(n)) if n > 0 => {
                if let Some(sink) = &mut self.stdin {
                    sink.pending.extend_from_slice(&buffer[..n]);
                }
                self.write_stdin();
            }
            None | Some(Err(Errno::AGAIN | Errno::INTR)) => {}
            // It ended its input, or left.
            Some(_) => {
                if let Some(client) = self.attached.get_mut(id) {
                    client.end_stdin(false);
                }
                self.stdin_left();
            }
        }
        self.buffer = buffer;
    }

    /// A client's input has ended. As with Docker, the terminal's stays open all the same.
    fn stdin_left(&mut self) {
        if !self.stdin_once || self.tty {
            return;
        }
        if let Some(sink) = &mut self.stdin {
            sink.ending = true;
        }
        self.write_stdin();
    }

    fn write_stdin(&mut self) {
        let Some(sink) = &mut self.stdin else { return };
        let mut closed = false;
        let mut written = 0;
        while written < sink.pending.len() {
            match rustix::io::write(&sink.fd, &sink.pending[written..]) {
                Ok(n) => written += n,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => {
                    closed = true;
                    break;
                }
            }
        }
        sink.pending.drain(..written);
        if sink.pending.is_empty() {
            sink.pending = Vec::new();
        }
        if closed || (sink.ending && sink.pending.is_empty()) {
            self.close_stdin();
        }
    }

    fn close_stdin(&mut self) {
        let Some(sink) = &mut self.stdin else { return };
        sink.pending = Vec::new();
        sink.closed = true;
        for (_, client) in self.attached.iter_mut().filter(|(_, c)| c.wants_stdin()) {
            client.end_stdin(true);
        }
    }

    /// Makes the poller watch what must be watched now, and closes clients that are done.
    fn settle(&mut self, poller: &Poller) {
        let pause = self.is_behind() && !self.draining;
        for (output, source) in [(Output::Stdout, &mut self.stdout), (Output::Stderr, &mut self.stderr)] {
            let Some(source) = source else { continue };
            // A watched pipe whose other end is closed is ready for ever, whatever it is watched for.
            if source.watched && pause {
                poller.remove(&source.fd);
                source.watched = false;
            } else if !source.watched && !pause {
                source.watched = poller.add(&source.fd, Event::Output(output), Readiness::IN).is_ok();
            }
        }
        // Taken from the poller before it is closed: a terminal's other copies would keep it watched.
        if let Some(sink) = self.stdin.take_if(|sink| sink.closed)
            && sink.watched
        {
            poller.remove(&sink.fd);
        }
        if let Some(sink) = &mut self.stdin {
            let watch = !sink.pending.is_empty();
            if watch && !sink.watched {
                sink.watched = poller.add(&sink.fd, Event::Stdin, Readiness::OUT).is_ok();
            } else if !watch && sink.watched {
                poller.remove(&sink.fd);
                sink.watched = false;
            }
        }
        let room = self.stdin_has_room();
        self.attached.retain(|id, client| {
            if client.hung_up && !client.wants_stdin() {
                client.leave();
            }
            if !client.is_gone() && client.watch(poller, Event::Attached(id), room).is_err() {
                client.leave();
            }
            !client.is_gone()
        });
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    pipe_with(PipeFlags::CLOEXEC).map_err(Error::io("pipe2()"))
}

/// The flag belongs to our end of a pipe only.
fn non_blocking(fd: &OwnedFd) -> Result<()> {
    rustix::io::ioctl_fionbio(fd, true).map_err(Error::io("ioctl(FIONBIO)"))
}
