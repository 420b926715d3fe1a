//! The story of what Linux does, told as it happens: the source of `--explain` and of the benchmarks.
//!
//! A [`Step`] is one kernel call (or a few that belong together) with its duration. When a sink
//! is set, dropping the step writes one JSON line to it with a single write(2), so that several
//! processes can share the sink (a pipe, or a file opened with O_APPEND). When there is none, a
//! step is one relaxed load. The sink's fd is inherited by forks and passed on to the shim.
//!
//! Record: `{"proc","pid","step","call","detail","start_ns","ns","error"}`, times CLOCK_MONOTONIC.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::cell::RefCell;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};

/// A record is cut to this many bytes: below PIPE_BUF (4096), so that lines never mix.
const MAX_RECORD: usize = 4000;

static SINKS: AtomicUsize = AtomicUsize::new(0);
static PROCESS_SINK: RwLock<Option<Arc<OwnedFd>>> = RwLock::new(None);
static PROCESS_NAME: RwLock<&str> = RwLock::new("tare");

thread_local! {
    static THREAD_SINK: RefCell<Option<Arc<OwnedFd>>> = const { RefCell::new(None) };
}

/// One step of the story; it ends, and is written, when it is dropped.
#[derive(Debug)]
#[must_use = "the step ends when it is dropped"]
pub struct Step(Option<Box<Running>>);

#[derive(Debug)]
struct Running {
    sink: Arc<OwnedFd>,
    name: &'static str,
    call: &'static str,
    detail: String,
    error: Option<String>,
    start_ns: u64,
}

/// Begins a step: `name` is a short noun ("overlay"), `call` the kernel call ("mount(2)").
#[inline]
pub fn step(name: &'static str, call: &'static str) -> Step {
    if enabled() { begin(name, call) } else { Step(None) }
}

/// Whether anybody listens, in any thread.
#[inline]
pub fn enabled() -> bool {
    SINKS.load(Ordering::Relaxed) != 0
}

impl Step {
    /// Adds to the step's detail; the arguments are formatted only when somebody listens.
    #[inline]
    pub fn note(&mut self, text: fmt::Arguments<'_>) {
        if let Some(running) = &mut self.0 {
            if !running.detail.is_empty() {
                running.detail.push_str(", ");
            }
            // Writing to a String cannot fail.
            let _ = running.detail.write_fmt(text);
        }
    }

    /// Says that the step failed and why.
    pub fn fail(&mut self, error: &dyn fmt::Display) {
        if let Some(running) = &mut self.0 {
            running.error = Some(error.to_string());
        }
    }

    /// Passes a result through, noting its error.
    pub fn check<T, E: fmt::Display>(&mut self, result: Result<T, E>) -> Result<T, E> {
        if let Err(e) = &result {
            self.fail(e);
        }
        result
    }

    /// Forgets the step: nothing is written.
    pub fn cancel(mut self) {
        self.0 = None;
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(running) = self.0.take() {
            running.write();
        }
    }
}

/// Everything this process does from now on is told to `sink`.
pub fn set_process_sink(sink: OwnedFd) {
    let mut slot = PROCESS_SINK.write().unwrap_or_else(std::sync::PoisonError::into_inner);
    if slot.replace(Arc::new(sink)).is_none() {
        SINKS.fetch_add(1, Ordering::Relaxed);
    }
}

/// The name by which this process appears in the story ("tare", "shim", "init").
pub fn set_process_name(name: &'static str) {
    *PROCESS_NAME.write().unwrap_or_else(std::sync::PoisonError::into_inner) = name;
}

/// Runs `work` with what this thread does told to `sink`.
pub fn with_sink<T>(sink: Arc<OwnedFd>, work: impl FnOnce() -> T) -> T {
    struct Restore(Option<Arc<OwnedFd>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            THREAD_SINK.with_borrow_mut(|slot| *slot = self.0.take());
            SINKS.fetch_sub(1, Ordering::Relaxed);
        }
    }
    SINKS.fetch_add(1, Ordering::Relaxed);
    let _restore = Restore(THREAD_SINK.with_borrow_mut(|slot| slot.replace(sink)));
    work()
}

/// As [`with_sink`] where there is a sink: what a thread hands on to the one that continues its work.
pub fn inherit<T>(sink: Option<Arc<OwnedFd>>, work: impl FnOnce() -> T) -> T {
    match sink {
        Some(sink) => with_sink(sink, work),
        None => work(),
    }
}

/// The sink of this thread, or of the process, to pass it on to another.
pub fn current_sink() -> Option<Arc<OwnedFd>> {
    if !enabled() {
        return None;
    }
    THREAD_SINK
        .with_borrow(Clone::clone)
        .or_else(|| PROCESS_SINK.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone())
}

#[cold]
fn begin(name: &'static str, call: &'static str) -> Step {
    Step(current_sink().map(|sink| {
        Box::new(Running {
            sink,
            name,
            call,
            detail: String::new(),
            error: None,
            start_ns: crate::clock::monotonic_ns(),
        })
    }))
}

impl Running {
    fn write(&self) {
        let ns = crate::clock::monotonic_ns().saturating_sub(self.start_ns);
        let line = self.line(ns);
        let fd: BorrowedFd<'_> = self.sink.as_fd();
        // A listener that went away must not disturb the work.
        let _ = rustix::io::write(fd, line.as_bytes());
    }

    fn line(&self, ns: u64) -> String {
        let process = *PROCESS_NAME.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut line = String::with_capacity(256);
        let pid = rustix::process::getpid().as_raw_nonzero();
        // Writing to a String cannot fail.
        let _ = write!(line, "{{\"proc\":\"{process}\",\"pid\":{pid},\"step\":");
        quote(&mut line, self.name, 100);
        line.push_str(",\"call\":");
        quote(&mut line, self.call, 100);
        line.push_str(",\"detail\":");
        quote(&mut line, &self.detail, MAX_RECORD - 1200);
        let _ = write!(line, ",\"start_ns\":{},\"ns\":{ns}", self.start_ns);
        if let Some(error) = &self.error {
            line.push_str(",\"error\":");
            quote(&mut line, error, 600);
        }
        line.push_str("}\n");
        line
    }
}

/// Appends `text` as a JSON string of at most about `limit` bytes.
fn quote(line: &mut String, text: &str, limit: usize) {
    let end = line.len() + limit;
    line.push('"');
    for c in text.chars() {
        if line.len() >= end {
            line.push('…');
            break;
        }
        match c {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            c if (c as u32) < 0x20 => {
                let _ = write!(line, "\\u{:04x}", c as u32);
            }
            c => line.push(c),
        }
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_step_is_one_line_and_silence_costs_nothing() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let mut silent = step("nothing", "none(2)");
        silent.note(format_args!("{}", panics_if_formatted()));
        drop(silent);
        with_sink(Arc::new(write), || {
            let mut s = step("overlay", "mount(2)");
            s.note(format_args!("lower \"{}\"", "a\nb"));
            s.note(format_args!("{}", "x".repeat(10_000)));
            s.fail(&"no");
        });
        let mut text = String::new();
        std::fs::File::from(read).read_to_string(&mut text).unwrap();
        assert!(text.len() <= MAX_RECORD && text.ends_with("}\n"));
        assert!(
            text.contains("\"step\":\"overlay\"")
                && text.contains("lower \\\"a\\nb\\\"")
                && text.contains("\"error\":\"no\"")
        );
    }

    fn panics_if_formatted() -> impl fmt::Display {
        struct Never;
        impl fmt::Display for Never {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                if enabled() && THREAD_SINK.with_borrow(Option::is_some) {
                    Ok(())
                } else {
                    panic!("formatted")
                }
            }
        }
        Never
    }
}
