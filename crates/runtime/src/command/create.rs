//! `create` and `run`.

use super::lifecycle::{destroy, failed};
use super::relay::{self, Relay};
use super::{Call, Failure};
use crate::error::{Error, What};
use crate::init::FIRST_AFTER_STDIO;
use crate::state::{Container, FILE_MAX, State};
use crate::{CreateOptions, Created, Creating, Gate, Starting, Stdio, hooks};
use cgroup::{Cgroup, Layout};
use oci::runtime::{Resources, Spec};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use sys::clock::Time;
use sys::lock::Lock;
use sys::process::{Ended, Stat};
use sys::trace;

pub(super) fn create(call: &Call) -> Result<u8, Failure> {
    let made = Making::begin(call, "create")?;
    let spec = &made.spec;
    let socket = call.flags.text("console-socket");
    if terminal(spec) && socket.is_none() {
        return made
            .undo(Failure::new("cannot allocate tty if runc will detach without setting console socket"));
    }
    if !terminal(spec) && socket.is_some() {
        return made.undo(Failure::new("cannot use console socket if runc will not detach or allocate tty"));
    }
    match made.container.make_fifo().map_err(Failure::from).and_then(|fifo| made.create(Gate::Fifo(fifo))) {
        Ok(_) => Ok(0),
        Err(failure) => made.undo(failure),
    }
}

pub(super) fn run(call: &Call) -> Result<u8, Failure> {
    let detach = call.flags.is_on("detach");
    let mut made = Making::begin(call, "run")?;
    let socket = call.flags.text("console-socket");
    if let Err(failure) = relay::check_console(terminal(&made.spec), detach, socket.is_some()) {
        return made.undo(failure);
    }
    if !detach && !call.flags.is_on("no-subreaper") {
        // Orphans of the container are reaped here rather than by somebody who does not know them. EINVAL: an
        // ancient kernel.
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    }
    let relay = match if detach { Ok(None) } else { Relay::prepare().map(Some) } {
        Ok(relay) => relay,
        Err(e) => return made.undo(e.into()),
    };
    let ended = made.create(Gate::Hold).and_then(|mut created| {
        let console = created.console.take();
        wait_start(created.start()?)?;
        // From here on the lock would only be in the way of exec and kill.
        made.lock = None;
        match relay {
            Some(relay) => Ok(Some(relay.run(created.pidfd.as_fd(), console)?)),
            None => Ok(None),
        }
    });
    match ended {
        Err(failure) => made.undo(failure),
        Ok(None) => Ok(0),
        Ok(Some(ended)) => {
            if !call.flags.is_on("keep") {
                for warning in destroy(&made.container)? {
                    call.log.warning(&warning);
                }
            }
            Ok(exit_code(ended))
        }
    }
}

pub(super) fn exit_code(ended: Ended) -> u8 {
    u8::try_from(ended.code()).unwrap_or(u8::MAX)
}

fn terminal(spec: &Spec) -> bool {
    spec.process.as_ref().is_some_and(|process| process.terminal)
}

/// A container on its way, with what has to be taken back if it does not arrive.
struct Making<'a> {
    call: &'a Call,
    /// For messages.
    verb: &'static str,
    spec: Spec,
    bundle: PathBuf,
    container: Container,
    cgroup: Option<Cgroup>,
    lock: Option<Lock>,
}

impl<'a> Making<'a> {
    /// Reads the bundle, takes the id, makes the cgroup.
    fn begin(call: &'a Call, verb: &'static str) -> Result<Self, Failure> {
        let context = |failure: Failure| prefixed(verb, failure);
        crate::validate_id(call.id()).map_err(Failure::from).map_err(context)?;
        let bundle = call.flags.text("bundle").filter(|b| !b.is_empty()).unwrap_or(".");
        let bundle = Path::new(bundle).canonicalize();
        let missing = || Failure::new("JSON specification file config.json not found");
        let bundle = bundle.map_err(|_| missing()).map_err(context)?;
        let spec = read_spec(&bundle).map_err(context)?;
        let rootfs = crate::rootfs::root_path(&spec, &bundle).map_err(Failure::from).map_err(context)?;
        let linux = spec.linux.as_ref();
        let cgroup_path = match linux.map(|l| l.cgroups_path.as_path()) {
            Some(path) if !path.as_os_str().is_empty() => path.to_path_buf(),
            _ => Path::new("/").join(call.id()),
        };
        let state = State {
            version: State::VERSION,
            id: call.id().to_string(),
            pid: 0,
            start_time: 0,
            bundle: bundle.clone(),
            rootfs,
            created: Time::now().rfc3339(),
            cgroup: cgroup_path,
            owner: rustix::process::geteuid().as_raw(),
            annotations: spec.annotations.clone(),
        };
        let (container, lock) = call.root.create(state, &spec).map_err(Failure::from).map_err(context)?;
        let mut made = Self { call, verb, spec, bundle, container, cgroup: None, lock: Some(lock) };
        match made.make_cgroup() {
            Ok(cgroup) => {
                made.cgroup = cgroup;
                Ok(made)
            }
            Err(failure) => made.undo(failure),
        }
    }

    fn make_cgroup(&self) -> Result<Option<Cgroup>, Failure> {
        let layout = match Layout::detect(Path::new("/")) {
            Ok(layout) => layout,
            // A machine without cgroups can run what asks for no limits.
            Err(cgroup::Error::NotMounted) if self.resources() == Resources::default() => return Ok(None),
            Err(e) => return Err(failed(e)),
        };
        let cgroup =
            Cgroup::create(&layout, &self.container.state.cgroup, &self.resources()).map_err(failed)?;
        cgroup.warnings().iter().for_each(|warning| self.call.log.warning(warning));
        Ok(Some(cgroup))
    }

    fn resources(&self) -> Resources {
        self.spec.linux.as_ref().and_then(|linux| linux.resources.clone()).unwrap_or_default()
    }

    /// Makes the container and waits until init stands at its gate; writes what callers wait for.
    fn create(&self, gate: Gate) -> Result<Created, Failure> {
        let flags = &self.call.flags;
        let mut options = CreateOptions::new(self.call.id(), &self.spec, &self.bundle);
        options.gate = gate;
        options.cgroup = self.cgroup.as_ref();
        options.no_pivot = flags.is_on("no-pivot");
        options.no_new_keyring = flags.is_on("no-new-keyring");
        options.preserve_fds = preserve_fds(self.call)?;
        options.listen_fds = listen_fds();
        if terminal(&self.spec) {
            options.stdio = Stdio::Terminal { size: relay::own_size() };
        }
        let creating = crate::create(options)?;
        let mut created = wait_created(creating).map_err(container_init)?;
        for warning in &created.warnings {
            self.call.log.warning(warning);
        }
        self.call.log.debug(&format!("init of {} has pid {}", self.call.id(), created.pid));
        self.publish(&mut created).inspect_err(|_| crate::create::kill(&created.pidfd))?;
        Ok(created)
    }

    /// State, terminal and pid file, in this order: whoever waits for the pid file finds the rest.
    fn publish(&self, created: &mut Created) -> Result<(), Failure> {
        let mut state = self.container.state.clone();
        state.pid = created.pid;
        state.start_time = Stat::read(&created.pid.to_string()).map_err(Error::from)?.start_time;
        self.container.save_as(&state)?;
        if let Some(socket) = self.call.flags.text("console-socket")
            && let Some(console) = created.console.take()
        {
            relay::send_console(Path::new(socket), console.as_fd())?;
        }
        if let Some(path) = self.call.flags.text("pid-file") {
            write_pid_file(Path::new(path), created.pid)?;
        }
        Ok(())
    }

    /// Takes everything back and passes the failure on.
    fn undo<T>(self, failure: Failure) -> Result<T, Failure> {
        let failure = prefixed(self.verb, failure);
        if let Some(cgroup) = self.cgroup {
            let gone = cgroup.kill().and_then(|()| cgroup.wait_empty(std::time::Duration::from_secs(10)));
            if let Err(e) = gone.and_then(|()| cgroup.delete()) {
                self.call.log.warning(&failed(e).text);
            }
        }
        if let Err(e) = self.container.remove() {
            self.call.log.warning(&e.chain());
        }
        Err(failure)
    }
}

fn prefixed(verb: &str, failure: Failure) -> Failure {
    Failure { text: format!("{} {verb} failed: {}", super::PROGRAM, failure.text), ..failure }
}

/// As runc tells apart what init found out.
fn container_init(e: Error) -> Failure {
    Failure::new(format!("unable to start container process: error during container init: {}", e.chain()))
}

fn wait_created(mut creating: Creating) -> crate::Result<Created> {
    loop {
        if let Some(created) = creating.advance()? {
            return Ok(created);
        }
        wait(creating.as_fd())?;
    }
}

fn wait_start(mut starting: Starting) -> Result<(), Failure> {
    loop {
        if starting.advance().map_err(container_init)?.is_some() {
            return Ok(());
        }
        wait(starting.as_fd())?;
    }
}

pub(super) fn wait(fd: BorrowedFd<'_>) -> crate::Result<()> {
    hooks::poll_one(fd, None).map(drop)
}

fn read_spec(bundle: &Path) -> Result<Spec, Failure> {
    let file = File::open(bundle.join("config.json")).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Failure::new("JSON specification file config.json not found"),
        _ => Error::kernel("open(config.json)", e).into(),
    })?;
    let mut bytes = Vec::new();
    file.take(FILE_MAX).read_to_end(&mut bytes).map_err(|e| Error::kernel("read(config.json)", e))?;
    Spec::from_slice(&bytes).map_err(|e| Failure::new(format!("config.json: {e}")))
}

/// Written beside and renamed: conmon and containerd read it as soon as it is there.
pub(super) fn write_pid_file(path: &Path, pid: i32) -> Result<(), Failure> {
    let _step = trace::step("pid file", "rename(2)");
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Failure::new(format!("invalid pid file {path:?}")));
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let dir = File::open(parent).what(|| format!("open({parent:?})"))?;
    let text = pid.to_string();
    sys::durable::write_volatile(dir.as_fd(), &name.to_string_lossy(), text.as_bytes(), 0o644)
        .map_err(Error::from)?;
    Ok(())
}

/// The descriptors are promised to the container: they must be there, and be the caller's.
pub(super) fn preserve_fds(call: &Call) -> Result<u32, Failure> {
    let count = call.flags.number("preserve-fds");
    let Ok(wanted) = u32::try_from(count) else {
        return Err(Failure::new(format!("invalid number of descriptors to preserve: {count}")));
    };
    let there = call.inherited.saturating_sub(listen_fds());
    if wanted > there {
        let fd = FIRST_AFTER_STDIO + listen_fds() + there;
        return Err(Failure::new(format!(
            "please check that preserved-fd {there} (of {wanted}) is present: fd {fd}"
        )));
    }
    Ok(wanted)
}

/// Socket activation (sd_listen_fds(3)): descriptors from 3 on that were meant for us.
fn listen_fds() -> u32 {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u32>().ok());
    let own = rustix::process::getpid().as_raw_nonzero().get() as u32;
    if number("LISTEN_PID") == Some(own) { number("LISTEN_FDS").unwrap_or(0) } else { 0 }
}
