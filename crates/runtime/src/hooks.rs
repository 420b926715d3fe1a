//! Hooks (config.md, "POSIX-platform Hooks"): programs called at points of the life cycle, with the
//! container's state on stdin.
//!
//! [`spawn_hooks`] runs a phase in a forked helper, so that the caller never waits; inside a new process
//! [`run`] waits itself. Output is collected in memory files: a chatty hook cannot block on a pipe, and
//! what it wrote to stderr is part of the error.

use crate::channel::CallerEnd;
use crate::error::{Error, Kind, Result, What};
use crate::protocol::Order;
use oci::runtime::{Hook, Hooks, Spec, State, Status};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, SeekFrom};
use rustix::io::Errno;
use rustix::process::Signal;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use sys::process::{ForkOptions, SingleThread};
use sys::trace;

/// A point of the life cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookPhase {
    /// `prestart` and then `createRuntime`: in the caller's namespaces, when the container's exist.
    CreateRuntime,
    /// In the container's namespaces, before pivot_root.
    CreateContainer,
    /// In the container, before the program is executed.
    StartContainer,
    /// In the caller's namespaces, after the program was executed.
    Poststart,
    /// In the caller's namespaces, after the container was deleted.
    Poststop,
}

/// What hooks are told about the container.
#[derive(Clone, Copy, Debug)]
pub struct HookState<'a> {
    /// The container's id.
    pub id: &'a str,
    /// Init's pid in the caller's pid namespace; 0 when there is none.
    pub pid: i32,
    /// The bundle's folder.
    pub bundle: &'a Path,
    /// The container's configuration.
    pub spec: &'a Spec,
}

/// A helper process that runs hooks. Dropping it does not stop it.
#[derive(Debug)]
pub struct HookRun {
    pidfd: OwnedFd,
    answer: OwnedFd,
}

/// How much of a hook's output becomes part of an error.
const OUTPUT_MAX: usize = 2048;
/// The longest answer of the helper.
const ANSWER_MAX: usize = 8192;

/// Runs the hooks of `phase` in a forked helper; `None` when the spec has none.
pub fn spawn_hooks(phase: HookPhase, state: HookState<'_>) -> Result<Option<HookRun>> {
    if !has(state.spec, phase) {
        return Ok(None);
    }
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).what(|| "pipe2()")?;
    let proof = SingleThread::check()?;
    let child = fork(proof, || match run(phase, state, proof) {
        Ok(()) => 0,
        Err(e) => {
            let text = e.chain();
            // The exit code says that it failed; the text is for people.
            let _ = sys::durable::write_all(write.as_fd(), &text.as_bytes()[..text.len().min(ANSWER_MAX)]);
            1
        }
    })?;
    Ok(Some(HookRun { pidfd: child.pidfd, answer: read }))
}

impl HookRun {
    /// Becomes readable when [`HookRun::advance`] has an answer.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// `Some` when all hooks ran.
    pub fn advance(&mut self) -> Result<Option<()>> {
        match sys::process::try_wait(self.pidfd.as_fd()) {
            Ok(None) => Ok(None),
            Ok(Some(ended)) if ended.code() == 0 => Ok(Some(())),
            // A caller that reaps every child may have been faster: the text decides.
            Ok(Some(_)) => Err(self.failure()),
            Err(e) if e.errno() == Errno::CHILD.raw_os_error() => {
                let error = self.failure();
                if error.to_string().is_empty() { Ok(Some(())) } else { Err(error) }
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Waits for the answer: for callers that have nothing else to do.
    pub fn wait(mut self) -> Result<()> {
        loop {
            poll_one(self.as_fd(), None)?;
            if self.advance()?.is_some() {
                return Ok(());
            }
        }
    }

    fn failure(&self) -> Error {
        let mut buffer = [0; ANSWER_MAX];
        let size = rustix::io::read(&self.answer, &mut buffer).unwrap_or(0);
        Error::new(Kind::Hook, String::from_utf8_lossy(&buffer[..size]))
    }
}

/// Runs `prestart` and `createRuntime` in a forked helper, which then gives init its order itself:
/// the caller has one descriptor to watch, not two. Returns the helper's pidfd.
pub(crate) fn spawn_and_order(state: HookState<'_>, channel: &CallerEnd) -> Result<OwnedFd> {
    let proof = SingleThread::check()?;
    let child = fork(proof, || {
        let order = match run(HookPhase::CreateRuntime, state, proof) {
            Ok(()) => Order::Proceed,
            Err(e) => Order::Abort(e.chain()),
        };
        i32::from(channel.order(&order).is_err())
    })?;
    Ok(child.pidfd)
}

/// Whether the spec has hooks of this phase.
pub(crate) fn has(spec: &Spec, phase: HookPhase) -> bool {
    spec.hooks.as_ref().is_some_and(|hooks| lists(hooks, phase).iter().any(|(_, list)| !list.is_empty()))
}

/// Runs the hooks of `phase`, one after the other, and waits for each. The proof comes from outside:
/// a container need not have a /proc to find it in.
pub(crate) fn run(phase: HookPhase, state: HookState<'_>, proof: SingleThread) -> Result<()> {
    let Some(hooks) = &state.spec.hooks else { return Ok(()) };
    let status = match phase {
        HookPhase::CreateRuntime | HookPhase::CreateContainer => Status::Creating,
        HookPhase::StartContainer => Status::Created,
        HookPhase::Poststart => Status::Running,
        HookPhase::Poststop => Status::Stopped,
    };
    let input = serde_json::to_vec(&State {
        oci_version: oci::runtime::VERSION.to_string(),
        id: state.id.to_string(),
        status,
        pid: state.pid,
        bundle: state.bundle.to_path_buf(),
        annotations: state.spec.annotations.clone(),
    })
    .map_err(|e| Error::new(Kind::Hook, format!("state for hooks: {e}")))?;
    for (name, list) in lists(hooks, phase) {
        for (number, hook) in list.iter().enumerate() {
            let mut step = trace::step("hook", "execve(2)");
            step.note(format_args!("{name} {}", hook.path.display()));
            let result = call(hook, &input, proof)
                .map_err(|e| e.context(format!("error running {name} hook #{number}")));
            step.check(result)?;
        }
    }
    Ok(())
}

fn lists(hooks: &Hooks, phase: HookPhase) -> Vec<(&'static str, &[Hook])> {
    match phase {
        HookPhase::CreateRuntime => {
            vec![("prestart", &hooks.prestart), ("createRuntime", &hooks.create_runtime)]
        }
        HookPhase::CreateContainer => vec![("createContainer", &hooks.create_container)],
        HookPhase::StartContainer => vec![("startContainer", &hooks.start_container)],
        HookPhase::Poststart => vec![("poststart", &hooks.poststart)],
        HookPhase::Poststop => vec![("poststop", &hooks.poststop)],
    }
}

fn call(hook: &Hook, input: &[u8], proof: SingleThread) -> Result<()> {
    if !hook.path.is_absolute() {
        return Err(Error::new(Kind::Invalid, format!("path {:?} is not absolute", hook.path)));
    }
    let stdin = memory_file(input)?;
    let (stdout, stderr) = (memory_file(&[])?, memory_file(&[])?);
    let child = fork(proof, || exec_hook(hook, &stdin, &stdout, &stderr))?;
    if let Some(seconds) = hook.timeout
        && !poll_one(child.pidfd.as_fd(), Some(seconds))?
    {
        // ESRCH: it ended just now.
        let _ = sys::process::signal(child.pidfd.as_fd(), Signal::KILL.as_raw());
        let _ = sys::process::wait(child.pidfd.as_fd());
        return Err(Error::new(
            Kind::Hook,
            format!("hook ran past specified timeout of {seconds:.1}s", seconds = f64::from(seconds)),
        ));
    }
    let text = match sys::process::wait(child.pidfd.as_fd())? {
        sys::process::Ended::Code(0) => return Ok(()),
        sys::process::Ended::Code(code) => format!("exit status {code}"),
        sys::process::Ended::Signal(signal) => format!("signal: {}", sys::signal::name(signal)),
    };
    let (stdout, stderr) = (content(&stdout), content(&stderr));
    Err(Error::new(Kind::Hook, format!("{text}, stdout: {stdout}, stderr: {stderr}")))
}

/// In the hook's process. The code of a program that could not be executed is a shell's.
fn exec_hook(hook: &Hook, stdin: &OwnedFd, stdout: &OwnedFd, stderr: &OwnedFd) -> i32 {
    let ready = (|| -> rustix::io::Result<()> {
        rustix::stdio::dup2_stdin(stdin)?;
        rustix::stdio::dup2_stdout(stdout)?;
        rustix::stdio::dup2_stderr(stderr)
    })();
    let texts =
        |list: &[String]| list.iter().map(|s| CString::new(s.as_str())).collect::<Result<Vec<_>, _>>();
    let (Ok(path), Ok(mut argv), Ok(env)) =
        (CString::new(hook.path.as_os_str().as_bytes()), texts(&hook.args), texts(&hook.env))
    else {
        return 126;
    };
    if ready.is_err() || sys::process::close_from(3, true).is_err() {
        return 126;
    }
    sys::signal::reset();
    if argv.is_empty() {
        argv.push(path.clone());
    }
    let error = sys::process::exec(&path, &argv, &env);
    let reason = std::io::Error::from_raw_os_error(error.errno());
    let _ = sys::durable::write_all(stderr.as_fd(), format!("{error}: {reason}").as_bytes());
    if error.errno() == Errno::NOENT.raw_os_error() { 127 } else { 126 }
}

/// The child dies with this process: a killed caller's helper would otherwise hold the caller's locks and
/// init's channel until its hook is done.
fn fork(proof: SingleThread, child: impl FnOnce() -> i32) -> Result<sys::process::Child> {
    let mortal = || {
        // EINVAL is the only error, and KILL is a signal.
        let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
        child()
    };
    Ok(sys::process::fork(proof, &ForkOptions::default(), mortal)?)
}

fn memory_file(content: &[u8]) -> Result<OwnedFd> {
    let fd = rustix::fs::memfd_create(c"hook", MemfdFlags::CLOEXEC).what(|| "memfd_create(\"hook\")")?;
    sys::durable::write_all(fd.as_fd(), content).what(|| "write(memfd)")?;
    rustix::fs::seek(&fd, SeekFrom::Start(0)).what(|| "lseek(memfd)")?;
    Ok(fd)
}

fn content(file: &OwnedFd) -> String {
    let mut buffer = [0; OUTPUT_MAX];
    let size = rustix::io::pread(file, &mut buffer, 0).unwrap_or(0);
    String::from_utf8_lossy(&buffer[..size]).trim().to_string()
}

/// Waits until `fd` is readable; false when `seconds` have passed before.
pub(crate) fn poll_one(fd: BorrowedFd<'_>, seconds: Option<u32>) -> Result<bool> {
    let deadline = seconds.map(|s| sys::clock::boottime_ns() + u64::from(s) * 1_000_000_000);
    loop {
        let left = deadline.map(|end| {
            let ns = end.saturating_sub(sys::clock::boottime_ns());
            Timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as _ }
        });
        match poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], left.as_ref()) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(e) => return Err(Error::kernel("poll()", e)),
        }
    }
}
