//! The foreground side of `run` and `exec`: terminal, signals, exit.
//!
//! Bytes are copied between the caller's terminal and the container's; signals to this process go on to the
//! container's; the end of the process ends the relay, after what it still had to say.

use super::Failure;
use crate::WindowSize;
use crate::error::{Error, Result, What};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::Signal;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use sys::process::Ended;

/// One read from a terminal; the kernel's own buffer is 4 KiB.
const CHUNK: usize = 4096;

/// What the flags allow, with runc's texts.
pub(super) fn check_console(terminal: bool, detach: bool, socket: bool) -> Result<(), Failure> {
    if detach && terminal && !socket {
        return Err(Failure::new("cannot allocate tty if runc will detach without setting console socket"));
    }
    if socket && !(detach && terminal) {
        return Err(Failure::new("cannot use console socket if runc will not detach or allocate tty"));
    }
    Ok(())
}

/// The size of the caller's terminal.
pub(super) fn own_size() -> Option<WindowSize> {
    let size = tcgetwinsize(rustix::stdio::stdin()).ok()?;
    Some(WindowSize { rows: size.ws_row, columns: size.ws_col })
}

/// Sends a terminal's master to whoever listens at `path` (runc's console socket: the descriptor with a name).
pub(super) fn send_console(path: &Path, master: BorrowedFd<'_>) -> Result<()> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .what(|| "socket()")?;
    // A path longer than sun_path is reached through its folder.
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let dir = std::fs::File::open(folder).what(|| format!("open({folder:?})"))?;
    let name = path.file_name().unwrap_or_default();
    let short = sys::root::proc_path(dir.as_fd()).join(name);
    let address = SocketAddrUnix::new(&short).what(|| format!("the path {short:?}"))?;
    connect(&socket, &address).what(|| format!("connect to the console socket {path:?}"))?;
    sys::scm::send(socket.as_fd(), b"/dev/ptmx", &[master], rustix::net::SendFlags::empty())?;
    Ok(())
}

/// Prepared before the container exists, so that no signal is lost.
pub(super) struct Relay {
    signals: OwnedFd,
}

/// Restores the caller's terminal.
struct Raw(Termios);

impl Drop for Raw {
    fn drop(&mut self) {
        // The terminal may be gone by now.
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.0);
    }
}

impl Relay {
    pub(super) fn prepare() -> Result<Self> {
        let not_ours = [
            Signal::KILL,
            Signal::STOP,
            Signal::SEGV,
            Signal::BUS,
            Signal::ILL,
            Signal::FPE,
            Signal::TRAP,
            Signal::ABORT,
        ];
        let all: Vec<i32> = (1..=31).filter(|n| not_ours.iter().all(|s| s.as_raw() != *n)).collect();
        Ok(Self { signals: sys::signal::signalfd(&all)? })
    }

    /// Until the process ends; it is reaped.
    pub(super) fn run(self, pidfd: BorrowedFd<'_>, console: Option<OwnedFd>) -> Result<Ended, Failure> {
        let _raw = console.as_ref().map(|_| raw()).transpose()?.flatten();
        let (mut stdin_open, mut console_open) = (console.is_some(), console.is_some());
        loop {
            let mut fds = vec![
                PollFd::from_borrowed_fd(pidfd, PollFlags::IN),
                PollFd::new(&self.signals, PollFlags::IN),
            ];
            if let Some(console) = console.as_ref().filter(|_| console_open) {
                fds.push(PollFd::new(console, PollFlags::IN));
                if stdin_open {
                    fds.push(PollFd::from_borrowed_fd(rustix::stdio::stdin(), PollFlags::IN));
                }
            }
            match poll(&mut fds, None) {
                Err(Errno::INTR) => continue,
                other => other.what(|| "poll()")?,
            };
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            drop(fds);
            if ready[1] {
                self.forward(pidfd, console.as_ref())?;
            }
            if let Some(console) = &console {
                if ready.get(2) == Some(&true) {
                    console_open = copy(console.as_fd(), rustix::stdio::stdout())?;
                }
                if ready.get(3) == Some(&true) {
                    stdin_open = copy(rustix::stdio::stdin(), console.as_fd())?;
                }
            }
            if ready[0] {
                if let Some(console) = &console {
                    drain(console)?;
                }
                return Ok(sys::process::wait(pidfd).map_err(Error::from)?);
            }
        }
    }

    fn forward(&self, pidfd: BorrowedFd<'_>, console: Option<&OwnedFd>) -> Result<()> {
        while let Some((signal, _)) = sys::signal::read_signalfd(&self.signals)? {
            if signal == Signal::CHILD.as_raw() {
                continue;
            }
            if signal == Signal::WINCH.as_raw() {
                if let (Some(console), Some(size)) = (console, own_size()) {
                    sys::pty::resize(console.as_fd(), size.columns, size.rows)?;
                }
                continue;
            }
            // A go runtime's preemption, and what a closed pipe of ours says, are not meant for the container.
            if signal == Signal::URG.as_raw() || signal == Signal::PIPE.as_raw() {
                continue;
            }
            match sys::process::signal(pidfd, signal) {
                Err(e) if e.errno() != Errno::SRCH.raw_os_error() => return Err(e.into()),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The caller's terminal passes every key on; `None` when standard input is not one.
fn raw() -> Result<Option<Raw>> {
    let stdin = rustix::stdio::stdin();
    if !isatty(stdin) {
        return Ok(None);
    }
    let before = tcgetattr(stdin).what(|| "tcgetattr(stdin)")?;
    let mut after = before.clone();
    after.make_raw();
    tcsetattr(stdin, OptionalActions::Now, &after).what(|| "tcsetattr(stdin)")?;
    Ok(Some(Raw(before)))
}

/// Copies one chunk; false at the end of `from`. A terminal says EIO when nobody has its other end open.
fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<bool> {
    let mut buffer = [0; CHUNK];
    let size = match rustix::io::read(from, &mut buffer) {
        Ok(0) | Err(Errno::IO) => return Ok(false),
        Err(Errno::AGAIN | Errno::INTR) => return Ok(true),
        other => other.what(|| "read(terminal)")?,
    };
    match sys::durable::write_all(to, &buffer[..size]) {
        // Nobody reads any more: the process shall go on.
        Err(Errno::PIPE | Errno::IO) => Ok(true),
        other => other.map(|()| true).what(|| "write(terminal)"),
    }
}

/// What is left in the terminal after the process's end. Somebody it left behind may keep the other end open:
/// only what is there now counts.
fn drain(console: &OwnedFd) -> Result<()> {
    rustix::io::ioctl_fionbio(console, true).what(|| "ioctl(FIONBIO)")?;
    let mut buffer = [0; CHUNK];
    loop {
        match rustix::io::read(console, &mut buffer) {
            Ok(0) | Err(Errno::IO | Errno::AGAIN) => return Ok(()),
            Err(Errno::INTR) => {}
            Ok(size) => drop(sys::durable::write_all(rustix::stdio::stdout(), &buffer[..size])),
            Err(e) => return Err(Error::kernel("read(terminal)", e)),
        }
    }
}
