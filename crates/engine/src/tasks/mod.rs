//! Tasks: what runs. Start, wait, stop, signal, attach, exec, logs, and what happens after an exit.
//!
//! A start holds the container's lock from the first look to the last write. The task row is
//! written before the first side effect, with the starting process as owner, so that whoever finds
//! it with a dead owner undoes the rest; `exited()` is the one end of every task.

mod attach;
mod exec;
mod exited;
mod logs;
mod pause;
mod pending;
mod start;
mod stats;
mod stop;
pub(crate) mod streams;
mod wait;

pub use attach::{Attached, Attachment};
pub use exec::{ExecConfig, ExecInfo, ExecStreams};
pub use logs::{DEFAULT_MAX_FILE, DEFAULT_MAX_SIZE, LogLine, LogOptions, LogReader, compress_log};
pub use start::StartOptions;
pub use stats::{BlockStats, Device, Sample, Stats};
pub use wait::{Condition, WaitResult, Waiting};

pub(crate) use attach::SHIM_PATIENCE;
pub(crate) use exited::{Finished, again_after};
pub(crate) use logs::{check_log, go_size, watch_folder};
pub(crate) use pending::Pending;
pub(crate) use start::{SHIM_CGROUP, failure_code};
