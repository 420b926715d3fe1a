//! Starting a container's task.

use super::attach::{Attachment, SHIM_PATIENCE, request_attach};
use super::exited::Finished;
use super::streams::{AsyncConnection, shim_error};
use crate::error::{Error, Kind, Result};
use crate::ipc::SharedIpc;
use crate::networks::{Connected, Linked};
use crate::spec::{self, Inputs};
use crate::state::{Record, Task};
use crate::{Engine, NetworkMode};
use net::Netns;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use shim::client::{Connection, Handed, Incoming, Launching};
use shim::config::{Config, Log, MountData, Settings};
use shim::protocol::{Event, Request, Response};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use sys::clock::Time;

/// Making a container may copy files (tmpcopyup) or run hooks; longer than this is stuck.
const CREATE_PATIENCE: Duration = Duration::from_secs(120);
/// The shims' own cgroup, outside of every container's and of the caller's.
pub(crate) const SHIM_CGROUP: &str = "/tare-shim";

/// What a start may be given.
#[derive(Debug, Clone, Copy, Default)]
pub struct StartOptions {
    /// This process supervises the task even if nobody in it waits.
    pub supervise: bool,
}

impl Engine {
    /// Starts a container. [`Kind::NotModified`] when it runs already.
    pub fn start(&self, word: &str, options: StartOptions) -> Result<()> {
        let id = self.state()?.find(word)?.id;
        let _lock = self.paths().lock(&id)?;
        let record = self.state()?.find(&id)?;
        if let Some(task) = self.state()?.task(&id)?
            && (task.due_ns.is_some() || self.finish(&record, &task)? != Finished::Ended)
        {
            if task.paused {
                return Err(Error::conflict("cannot start a paused container, try unpause instead"));
            }
            return Err(Error::new(Kind::NotModified, format!("container {id} is already running")));
        }
        // An ended `--rm` container was removed by that.
        let mut record = self.state()?.find(&id)?;
        if record.last.restarts != 0 || record.last.stopped_by_hand {
            (record.last.restarts, record.last.stopped_by_hand) = (0, false);
            self.state()?.update(&record)?;
        }
        let attaches = self.pending().take_attaches(&id);
        let supervise = options.supervise
            || self.options().long_lived
            || self.pending().has_clients(&id)
            || !attaches.is_empty();
        match self.start_locked(&record, attaches, supervise, 0) {
            Ok(connection) => {
                if supervise {
                    self.watch_end(&id, connection)?;
                }
                self.pending().note_start(&id);
                Ok(())
            }
            Err(failure) => {
                record.last.error.clone_from(&failure.message);
                record.last.exit_code = failure_code(&failure, record.last.exit_code);
                if record.host.auto_remove {
                    self.remove_parts(&record, true)?;
                    self.tell(&record, "destroy", &[]);
                    self.empty_trash();
                } else {
                    self.state()?.update(&record)?;
                }
                // Who waits for its removal looks again.
                self.pending().wake();
                Err(failure)
            }
        }
    }

    /// With the container's lock held: starts it, `delay_ms` after its last end when that is its policy's doing.
    pub(crate) fn start_locked(
        &self,
        record: &Record,
        attaches: Vec<super::pending::PendingAttach>,
        supervise: bool,
        delay_ms: u64,
    ) -> Result<Connection> {
        let record = &self.adopt_names(record)?;
        let own = sys::process::Stat::read("self")?;
        let mut task = Task {
            owner: Some((rustix::process::getpid().as_raw_nonzero().get(), own.start_time)),
            pid: 0,
            pid_start: 0,
            started_ns: 0,
            endpoints: Vec::new(),
            held: Vec::new(),
            cgroup: spec::cgroup_path(&record.host.cgroup_parent, &self.options().cgroup_parent, &record.id),
            due_ns: None,
            delay_ms,
            cancelled: false,
            paused: false,
            frozen_by: None,
            kept: false,
            mounted: Vec::new(),
            links: record.host.links.clone(),
            joined: self.joined(record)?,
            stopped_by_hand: false,
        };
        self.state()?.put_task(&record.id, &task)?;
        let started = self.run_task(record, &mut task, attaches, supervise);
        if started.is_ok() {
            self.tell(record, "start", &[]);
        } else {
            // The first error is the one to tell; what cannot be undone now is undone from the row.
            let _ = self.kill_cgroup(&task.cgroup).and_then(|()| self.forget_task(&record.id, &task, None));
        }
        started
    }

    fn run_task(
        &self,
        record: &Record,
        task: &mut Task,
        attaches: Vec<super::pending::PendingAttach>,
        supervise: bool,
    ) -> Result<Connection> {
        let record = &*self.with_settings(record);
        // Two things that need nothing from the rest are under way while the rest is found out: the network
        // namespace, half a millisecond of the kernel's, and the shim's own world.
        let joined = record.host.network.joined().map(|word| self.joined_netns(word)).transpose()?;
        let own = joined.is_none() && record.host.network != NetworkMode::Host;
        let netns = own.then(Netns::begin).transpose()?;
        // Before the shim has a mount namespace of its own.
        let ipc = self.shared_ipc(record)?;
        let launching = self.begin_shim(record)?;
        let mounts = self.store()?.snapshots().mounts(&record.id)?;
        let linked = self.linked(record)?;
        let connected = match joined {
            Some(netns) => Connected { netns: Some(netns), ..Connected::default() },
            None => self.connect(record, task, netns)?,
        };
        self.tell_networks(record, task, "connect");
        self.write_files(record, task, &linked)?;
        self.tell_parents(record, task)?;
        self.begin_health(record)?;
        let (config, trees) = self.shim_config(record, task, &connected, mounts, (ipc.as_ref(), &linked))?;
        let sockets: Vec<BorrowedFd<'_>> = connected.sockets.iter().map(AsFd::as_fd).collect();
        let trees: Vec<BorrowedFd<'_>> = trees.iter().map(AsFd::as_fd).collect();
        let netns = connected.netns.as_ref().map(AsFd::as_fd);
        let handed = Handed { netns, ports: &sockets, mounts: &trees };
        let mut connection =
            launching.finish(&config, handed).map_err(|e| Error::internal("start the shim", &e))?;
        if let Some(resolver) = &connected.resolver {
            self.hand_resolver(record, resolver, &mut connection)
                .map_err(|e| Error::internal("hand over the resolver's sockets", &e))?;
            self.tell_resolvers(record, task)?;
        }
        let (created, _) =
            connection.call(&Request::Create, &[], Some(CREATE_PATIENCE)).map_err(create_error)?;
        let Response::Created { pid, start_time, warnings } = created else {
            return Err(Error::new(Kind::Internal, "the shim did not create the container"));
        };
        for warning in warnings {
            tracing::warn!(container = record.id, warning, "started with less than asked for");
        }
        (task.pid, task.pid_start, task.started_ns) = (pid, start_time, Time::now().0);
        for pending in attaches {
            let what = Attachment { stdin: pending.stdin, stdout: pending.stdout, stderr: pending.stderr };
            let stream = request_attach(&mut connection, what)?;
            // The client may have gone.
            let _ = pending.reply.send(stream);
        }
        // Not synced: what a power loss takes with it, the run itself, is short.
        let started = self.paths().container(&record.id).join(crate::reconcile::STARTED);
        std::fs::write(&started, task.started_ns.to_string())
            .map_err(crate::error::io("write the start time"))?;
        // Before the process runs: from here on its end is found by the row.
        task.owner = None;
        self.state()?.put_task(&record.id, task)?;
        if supervise {
            // Promised before it runs: a short run would end unsupervised. Its answer is not waited for: a shim
            // that refused would have somebody else clean up as well, which may be done twice.
            connection.send(&Request::Supervise, &[]).map_err(create_error)?;
        }
        connection.call(&Request::Start, &[], Some(SHIM_PATIENCE)).map_err(create_error)?;
        Ok(connection)
    }

    fn begin_shim(&self, record: &Record) -> Result<Launching> {
        let run_dir = self.paths().task(&record.id);
        make_private(&run_dir)?;
        let program = &self.options().runtime_program;
        let mut step = sys::trace::step("protected copy", "open_tree(2)");
        step.note(format_args!("{}", program.display()));
        let exe = step.check(sys::clone_exe::open(program))?;
        drop(step);
        let trace = sys::trace::current_sink();
        let trace = trace.as_ref().map(|t| t.as_fd());
        Launching::begin(exe.as_fd(), &run_dir, Path::new(SHIM_CGROUP), trace)
            .map_err(|e| Error::internal("start the shim", &e))
    }

    fn shim_config(
        &self,
        record: &Record,
        task: &mut Task,
        connected: &Connected,
        mounts: Vec<sys::mount::Mount>,
        (ipc, linked): (Option<&SharedIpc>, &[Linked]),
    ) -> Result<(Config, Vec<OwnedFd>)> {
        let run_dir = self.paths().task(&record.id);
        let root = run_dir.join("rootfs");
        make_private(&root)?;
        let user = self.resolve_user(&record.config.user, &record.host.group_add, &mounts)?;
        let prepared = self.prepare_mounts(record, task, &user)?;
        let spec = self.build_spec(record, task, &root, &user, &prepared, (ipc, linked))?;
        let (indexes, trees) = prepared.handed(&spec);
        let data = mounts.iter().map(MountData::from_mount).collect::<Option<Vec<_>>>();
        let rootfs = data.ok_or_else(|| Error::new(Kind::Internal, "the snapshot's mount is not a path"))?;
        let bundle = run_dir.clone();
        let log = self.log_settings(record)?;
        let mut settings = self.shim_settings(record, task, connected, log);
        settings.mounts = indexes;
        let event = crate::events::of_container(&record.name, &record.config);
        Ok((Config { settings, spec, rootfs, bundle, event, no_pivot: false }, trees))
    }

    fn shim_settings(&self, record: &Record, task: &Task, connected: &Connected, log: Log) -> Settings {
        let options = self.options();
        let exit_command = [
            options.program.to_string_lossy().into_owned(),
            "internal".to_string(),
            "task-exited".to_string(),
            format!("--data-root={}", options.data_root.display()),
            format!("--run-root={}", options.run_root.display()),
            format!("--cgroup-parent={}", options.cgroup_parent),
        ];
        let exit_command = exit_command.into_iter().chain(options.arguments.iter().cloned());
        Settings {
            version: shim::config::VERSION,
            id: record.id.clone(),
            data_dir: self.paths().container(&record.id),
            run_dir: self.paths().task(&record.id),
            cgroup_path: Path::new(&task.cgroup).to_path_buf(),
            shim_cgroup: Path::new(SHIM_CGROUP).to_path_buf(),
            tty: record.config.tty,
            open_stdin: record.config.open_stdin,
            stdin_once: record.config.stdin_once,
            log,
            exit_command: exit_command.chain([record.id.clone()]).collect(),
            restarts: crate::restart::has_policy(&record.host.restart),
            has_netns: connected.netns.is_some(),
            ports: connected.ports.clone(),
            mounts: Vec::new(),
            health: crate::containers::health::probe(record.config.healthcheck.as_ref()).map(Box::new),
            trace: sys::trace::current_sink().is_some(),
            volatile: record.host.auto_remove,
        }
    }

    fn log_settings(&self, record: &Record) -> Result<Log> {
        if record.host.log.driver != "json-file" {
            return Ok(Log::None);
        }
        let log = super::logs::json_file(record)?;
        let program = self.options().program.to_string_lossy().into_owned();
        let compress = if log.compress {
            vec![program, "internal".to_string(), "compress-log".to_string()]
        } else {
            Vec::new()
        };
        let (max_size, max_file, attrs) = (log.max_size, log.max_file, log.attrs);
        Ok(Log::JsonFile { path: self.paths().log(&record.id), max_size, max_file, compress, attrs })
    }

    fn build_spec(
        &self,
        record: &Record,
        task: &Task,
        root: &Path,
        user: &spec::ResolvedUser,
        prepared: &crate::mounts::Prepared,
        (ipc, linked): (Option<&SharedIpc>, &[Linked]),
    ) -> Result<oci::runtime::Spec> {
        let linked: Vec<String> = linked.iter().flat_map(|l| l.environment(&record.name)).collect();
        let bounding = crate::system::bounding_capabilities()?;
        let devices = if record.host.privileged { crate::system::host_devices()? } else { Vec::new() };
        let host_name = crate::system::host_name();
        let given = crate::machine::given_devices(&record.host.devices)?;
        let block_devices = crate::machine::block_devices(&record.host.limits)?;
        let pid_namespace = self.shared_pid_namespace(&record.host)?;
        let security = spec::security::parse(&record.host.security)?;
        let settings = self.settings();
        let program = settings.text("init-path").map_or(self.options().runtime_program.as_path(), Path::new);
        let init = record.host.init.unwrap_or(false).then_some(program);
        let mut built = spec::build(&Inputs {
            record,
            user,
            root,
            network_files: &self.network_files(record),
            init,
            cgroup: &task.cgroup,
            cgroup_v2: self.cgroup_layout()?.version() == cgroup::Version::V2,
            host_name: &host_name,
            bounding: &bounding,
            host_devices: &devices,
            devices: &given,
            block_devices: &block_devices,
            pid_namespace: pid_namespace.as_deref(),
            ipc,
            security: &security,
            kernel: crate::machine::kernel(),
            apparmor: security.apparmor.is_some() && crate::machine::has_apparmor(),
            mounts: &prepared.mounts,
            linked: &linked,
        })?;
        crate::device_requests::apply(&record.host.device_requests, &|| self.cdi(), &mut built)?;
        Ok(built)
    }

    /// `hosts`, `hostname`, `resolv.conf` in the container's folder.
    fn write_files(&self, record: &Record, task: &Task, linked: &[Linked]) -> Result<()> {
        if record.host.network.joined().is_some() {
            // It has the other's.
            return Ok(());
        }
        let hostname = spec::hostname(record, &crate::system::host_name());
        let folder = self.paths().container(&record.id);
        let write = |name: &str, content: &[u8]| {
            write_readable(&folder.join(name), content).map_err(crate::error::io(format!("write {name}")))
        };
        write("hostname", format!("{hostname}\n").as_bytes())?;
        let dns = &self.dns_of(record);
        let mut extra = self.extra_hosts(dns, task)?;
        extra.extend(linked.iter().filter_map(Linked::host));
        if record.host.network == NetworkMode::Host {
            let mut hosts = std::fs::read("/etc/hosts").unwrap_or_default();
            for (name, address) in &extra {
                hosts.extend_from_slice(format!("{address}\t{name}\n").as_bytes());
            }
            write("hosts", &hosts)?;
            return write("resolv.conf", &crate::networks::resolv_conf(&record.host.network, dns, false)?);
        }
        let addresses: Vec<std::net::IpAddr> =
            task.endpoints.iter().flat_map(crate::state::TaskEndpoint::addresses).collect();
        let domainname = &record.config.domainname;
        let hosts = net::hosts::Hosts {
            hostname: &hostname,
            domainname,
            addresses: &addresses,
            extra: &extra,
            ipv6: net::ports::has_ipv6(),
        };
        write("hosts", &net::hosts::build(&hosts))?;
        let resolver = crate::networks::has_resolver(task);
        let resolv_conf = crate::networks::resolv_conf(&record.host.network, dns, resolver)?;
        write("resolv.conf", &resolv_conf)?;
        // By it, a file that the container has changed is told from one that may be written anew.
        let hash = folder.join(crate::networks::RESOLV_CONF_HASH);
        std::fs::write(&hash, oci::Digest::sha256(&resolv_conf).to_string())
            .map_err(crate::error::io("write resolv.conf.hash"))
    }

    /// Promises to run `exited()` for a task that runs already.
    pub(crate) fn supervise(&self, id: &str, mut connection: Connection) -> Result<()> {
        match connection.call(&Request::Supervise, &[], Some(SHIM_PATIENCE)) {
            Ok(_) => self.watch_end(id, connection),
            // Its end came first, or somebody else has promised.
            Err(shim::Error::Closed | shim::Error::NoShim(_) | shim::Error::Refused(_)) => Ok(()),
            Err(e) => Err(shim_error(e)),
        }
    }

    /// Keeps the promise when the time comes.
    fn watch_end(&self, id: &str, connection: Connection) -> Result<()> {
        let (engine, id) = (self.clone(), id.to_string());
        let connection = AsyncConnection::new(connection)?;
        self.pending().supervise(&id);
        // The story that tells the start tells its end too.
        let sink = sys::trace::current_sink();
        tokio::spawn(async move {
            engine.watch(&id, connection, sink).await;
            engine.pending().supervise_done(&id);
        });
        Ok(())
    }

    async fn watch(&self, id: &str, mut connection: AsyncConnection, sink: Option<Arc<OwnedFd>>) {
        let mut told = false;
        while let Ok(Some(incoming)) = connection.next().await {
            if matches!(incoming, Incoming::Event(Event::Exited(_))) {
                told = true;
                break;
            }
        }
        let (engine, id) = (self.clone(), id.to_string());
        let clean = move || {
            sys::trace::inherit(sink, || match told {
                true => engine.task_exited(&id),
                // Without a shim nobody keeps a time.
                false => engine.task_lost(&id).map(|()| None),
            })
        };
        let cleaned = if self.options().long_lived {
            tokio::task::spawn_blocking(clean)
                .await
                .unwrap_or_else(|e| Err(Error::new(Kind::Internal, e.to_string())))
        } else {
            clean()
        };
        match cleaned {
            Ok(again) if told => {
                let again_after_ms = again.map(|after| after.as_millis() as u64 + 1);
                let _ = connection.call(&Request::Release { again_after_ms }).await;
            }
            Ok(_) => {}
            // Not released: the shim spawns the helper, which tries again.
            Err(e) => tracing::error!(error = %e, "cleanup after an exit failed"),
        }
    }
}

/// Docker's words in front of the runtime's.
fn create_error(e: shim::Error) -> Error {
    const CONTEXT: &str =
        "failed to create task for container: failed to create shim task: OCI runtime create failed: ";
    let mut error = shim_error(e);
    error.message = format!("{CONTEXT}runc create failed: {}", process_text(&error.message));
    error
}

/// runc says of a program that cannot be run what it could not do.
pub(super) fn process_text(message: &str) -> String {
    if message.starts_with("error mounting ") {
        return format!("unable to start container process: error during container init: {message}");
    }
    if message.starts_with("exec: ") || message.starts_with("chdir to cwd") {
        return format!("unable to start container process: {message}");
    }
    message.to_string()
}

/// What Docker records for a start that failed; the code of the last run stays where nothing is known.
pub(crate) fn failure_code(failure: &Error, last: i32) -> i32 {
    let says = |text| failure.message.contains(text);
    if says("executable file not found") || says("no such file or directory") || says("system cannot find") {
        127
    } else if says("permission denied") || says("not a directory") || says("is a directory") {
        126
    } else if last != 0 {
        last
    } else {
        128
    }
}

fn make_private(folder: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(crate::error::io(format!("mkdir {}", folder.display()))),
    }
}

/// A file that any user in the container may read, whatever this process's umask.
fn write_readable(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::File::create(path)?;
    rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(0o644))?;
    std::io::Write::write_all(&mut file, content)
}
