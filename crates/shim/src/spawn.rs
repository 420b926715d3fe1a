//! Programs that the shim starts beside the container: the helper after an exit, the compressor of logs.
//!
//! They get a session of their own, `PATH` as their whole environment, and the descriptors they are given, no others.
//! They are the shim's children: it reaps them.

use crate::{Error, Result};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use std::ffi::OsStr;
use sys::spawn::Spawned;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Starts `command` (an absolute path and arguments) with these descriptors as 0, 1, 2 and so on.
pub(crate) fn spawn(command: &[String], fds: &[BorrowedFd<'_>]) -> Result<Spawned> {
    let program = command.first().map_or("", String::as_str);
    let exe = open(program, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(Error::io(format!("open({program:?})")))?;
    let argv: Vec<&OsStr> = command.iter().map(OsStr::new).collect();
    let env = [OsStr::new(PATH)];
    let wanted = sys::spawn::Spawn { exe: exe.as_fd(), argv: &argv, env: &env, fds, setsid: true };
    Ok(sys::spawn::spawn(&wanted)?)
}

/// `/dev/null`.
pub(crate) fn null() -> Result<OwnedFd> {
    open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(Error::io("open(\"/dev/null\")"))
}
