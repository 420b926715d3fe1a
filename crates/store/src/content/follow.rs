//! Reading a blob while another thread of this process writes it.

use crate::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// How far the writer is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The size that the finished blob will have, when it is known.
    size: Option<u64>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    written: u64,
    /// `Some(true)`: complete and verified. `Some(false)`: the writer gave up.
    finished: Option<bool>,
}

impl Progress {
    pub(super) fn of_size(size: u64) -> Self {
        Progress { size: Some(size), ..Progress::default() }
    }

    pub(super) fn advance(&self, bytes: u64) {
        self.lock().written += bytes;
        self.changed.notify_all();
    }

    pub(super) fn finish(&self, complete: bool) {
        self.lock().finished.get_or_insert(complete);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reader that ends where the finished blob ends. It delivers bytes before they are verified, and
/// ends (when the size is known) before the writer has synced them: what is made of them must be
/// verified by another digest, or not be named before [`Follow::wait`] says yes.
#[derive(Debug)]
pub struct Follow {
    file: File,
    progress: Arc<Progress>,
    position: u64,
}

impl Follow {
    pub(super) fn new(file: File, progress: Arc<Progress>) -> Self {
        Follow { file, progress, position: 0 }
    }

    /// Waits until the writer has committed or given up; whether it committed.
    pub fn wait(&self) -> bool {
        let mut state = self.progress.lock();
        loop {
            match state.finished {
                Some(complete) => return complete,
                None => state = self.progress.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// How many bytes may be read now; 0 at the end.
    fn available(&self) -> io::Result<u64> {
        let mut state = self.progress.lock();
        loop {
            if self.progress.size == Some(self.position) {
                return Ok(0);
            }
            if state.written > self.position {
                return Ok(state.written - self.position);
            }
            match state.finished {
                Some(true) => return Ok(0),
                Some(false) => return Err(io::Error::other(Error::Unfinished)),
                None => state = self.progress.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

impl Read for Follow {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let available = self.available()?;
        let n = buf.len().min(usize::try_from(available).unwrap_or(usize::MAX));
        if n == 0 {
            return Ok(0);
        }
        let n = self.file.read(&mut buf[..n])?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.position += n as u64;
        Ok(n)
    }
}
