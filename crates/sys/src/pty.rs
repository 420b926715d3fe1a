//! Pseudo-terminals (pty(7)): a master, and its peer opened without a path.

use crate::{Error, Result};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// Opens a master of the calling mount namespace's /dev/ptmx, unlocked, close-on-exec.
pub fn open_master() -> Result<OwnedFd> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).map_err(|e| Error::new("open(/dev/ptmx)", e))?;
    unlockpt(&master).map_err(|e| Error::new("ioctl(TIOCSPTLCK)", e))?;
    Ok(master)
}

/// Opens the other end by TIOCGPTPEER: no path, so that nothing in a container can stand in its way.
pub fn open_peer(master: BorrowedFd<'_>) -> Result<OwnedFd> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    ioctl_tiocgptpeer(master, flags).map_err(|e| Error::new("ioctl(TIOCGPTPEER)", e))
}

/// The peer's path as the calling mount namespace's devpts names it.
pub fn peer_name(master: &OwnedFd) -> Result<String> {
    let name = ptsname(master.as_fd(), Vec::new()).map_err(|e| Error::new("ptsname()", e))?;
    Ok(name.to_string_lossy().into_owned())
}

/// Sets the window size in characters.
pub fn resize(terminal: BorrowedFd<'_>, columns: u16, rows: u16) -> Result<()> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).map_err(|e| Error::new(format!("ioctl(TIOCSWINSZ, {columns}x{rows})"), e))
}
