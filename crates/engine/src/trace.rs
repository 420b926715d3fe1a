//! Where the story of a request goes: `RUN/trace/ID.jsonl`, by way of the calling thread.

use crate::Engine;
use crate::error::{Error, Result, errno};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use std::sync::Arc;

/// An open sink; whatever runs in it is told to it.
#[derive(Debug, Clone)]
pub struct TraceSink(Arc<OwnedFd>);

impl Engine {
    /// Opens (and makes) the sink of a trace id: letters, digits, `-` and `_`, at most 64.
    pub fn trace_sink(&self, id: &str) -> Result<TraceSink> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if id.is_empty() || id.len() > 64 || !id.bytes().all(plain) {
            return Err(Error::invalid(format!("invalid trace id: {id:?}")));
        }
        let path = self.paths().trace(id);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::open(&path, flags, Mode::from(0o600))
            .map_err(errno(format!("open {}", path.display())))?;
        Ok(TraceSink(Arc::new(fd)))
    }
}

impl TraceSink {
    /// Runs `work` with what this thread does told to the sink.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        sys::trace::with_sink(self.0.clone(), work)
    }
}
