//! Clients that came before the start: Docker's CLI attaches and waits first, then starts.
//!
//! They are kept in this process's memory: whoever attaches to a container that does not run and
//! whoever starts it are clients of the same process.

use rustix::fd::OwnedFd;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{oneshot, watch};

/// How many clients may wait for one container's start.
const MAX_WAITING: usize = 64;

/// What a client wants of a container that will be started.
#[derive(Debug)]
pub(crate) struct PendingAttach {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    /// The stream, once there is one; dropped when the start failed.
    pub reply: oneshot::Sender<OwnedFd>,
}

#[derive(Debug, Default)]
struct Entry {
    attaches: Vec<PendingAttach>,
    waiters: usize,
    /// A start has succeeded since somebody waits.
    started: bool,
    /// How the last run ended that this process has cleaned up after, since somebody waits.
    exit: Option<i32>,
}

impl Entry {
    fn is_idle(&self) -> bool {
        self.attaches.is_empty() && self.waiters == 0
    }
}

/// All of them, by container id.
#[derive(Debug)]
pub(crate) struct Pending {
    entries: Mutex<HashMap<String, Entry>>,
    /// Counts what waiters may want to look at again: starts, ends, removals.
    changes: watch::Sender<u64>,
    /// Ids whose `exited()` this process has promised and not finished.
    supervised: watch::Sender<HashMap<String, u64>>,
}

/// What a waiter has missed, if anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Since {
    pub started: bool,
    pub exit: Option<i32>,
}

impl Default for Pending {
    fn default() -> Self {
        Self {
            entries: Mutex::default(),
            changes: watch::Sender::new(0),
            supervised: watch::Sender::default(),
        }
    }
}

impl Pending {
    /// Registers an attach; `None` when there are too many.
    pub(crate) fn attach(&self, id: &str, attach: PendingAttach) -> Option<()> {
        let mut entries = self.lock();
        let entry = entries.entry(id.to_string()).or_default();
        // Those who gave up do not count.
        entry.attaches.retain(|a| !a.reply.is_closed());
        (entry.attaches.len() < MAX_WAITING).then(|| entry.attaches.push(attach))
    }

    /// Takes the attaches of a container that is being started.
    pub(crate) fn take_attaches(&self, id: &str) -> Vec<PendingAttach> {
        let mut entries = self.lock();
        let taken = entries.get_mut(id).map(|e| std::mem::take(&mut e.attaches)).unwrap_or_default();
        entries.retain(|_, e| !e.is_idle());
        taken
    }

    /// Whether somebody in this process waits for or is attached to the container: then it
    /// lives on until the end and can supervise.
    pub(crate) fn has_clients(&self, id: &str) -> bool {
        self.lock().get(id).is_some_and(|e| !e.is_idle())
    }

    /// Somebody waits for the container, until [`Pending::leave`].
    pub(crate) fn join(&self, id: &str) {
        self.lock().entry(id.to_string()).or_default().waiters += 1;
    }

    pub(crate) fn leave(&self, id: &str) {
        let mut entries = self.lock();
        if let Some(entry) = entries.get_mut(id) {
            entry.waiters = entry.waiters.saturating_sub(1);
        }
        entries.retain(|_, e| !e.is_idle());
    }

    /// What has happened to a container since the first of its waiters came.
    pub(crate) fn since(&self, id: &str) -> Since {
        self.lock().get(id).map_or(Since::default(), |e| Since { started: e.started, exit: e.exit })
    }

    /// Tells waiters that it was started.
    pub(crate) fn note_start(&self, id: &str) {
        if let Some(entry) = self.lock().get_mut(id) {
            (entry.started, entry.exit) = (true, None);
        }
        self.wake();
    }

    /// Tells waiters how it ended, before anything of it is removed.
    pub(crate) fn note_exit(&self, id: &str, code: i32) {
        if let Some(entry) = self.lock().get_mut(id) {
            entry.exit = Some(code);
        }
        self.wake();
    }

    /// Waiters look again: something was removed, or a start has failed.
    pub(crate) fn wake(&self) {
        self.changes.send_modify(|n| *n += 1);
    }

    /// To wait for the next change.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(crate) fn supervise(&self, id: &str) {
        self.supervised.send_modify(|all| *all.entry(id.to_string()).or_default() += 1);
    }

    pub(crate) fn supervise_done(&self, id: &str) {
        self.supervised.send_modify(|all| {
            if let Some(n) = all.get_mut(id) {
                *n -= 1;
                if *n == 0 {
                    all.remove(id);
                }
            }
        });
    }

    /// Returns when this process has nothing left to do for the container's exit.
    pub(crate) async fn cleaned_up(&self, id: &str) {
        let mut receiver = self.supervised.subscribe();
        // An error means that the sender is gone, which `self` rules out.
        let _ = receiver.wait_for(|all| !all.contains_key(id)).await;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
