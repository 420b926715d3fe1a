//! `tare daemon`: its flags, its sockets, its end.
//!
//! Invariants: a socket of an engine that lives is never replaced, and of two that start at once exactly one gets
//! it: whoever listens holds a lock beside the socket, in the run root, until it ends; the socket is the host's root, so that
//! it is 0660 and belongs to the group `tare` where there is one; containers go on when the daemon ends.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use api::ApiVersion;
use engine::settings::Source;
use engine::{Engine, Lock};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::server::{Blocking, Router};
use crate::service::PidFile;

/// The group whose members may use the socket.
const GROUP: &str = "tare";
/// More clients than these wait for a place.
const MAX_CONNECTIONS: usize = 1024;
/// How long requests under way may take when the daemon shall end. Streams (logs, attach) are cut then.
const FAREWELL: Duration = Duration::from_secs(3);
/// The same where `shutdown-timeout` is negative: no bound, says dockerd.
const LONG_FAREWELL: Duration = Duration::from_secs(24 * 60 * 60);
/// The kernel's bound on the queue of clients that were not accepted yet.
const BACKLOG: i32 = 512;
/// The longest path `sun_path` holds, with its terminating zero.
const SUN_PATH_LEN: usize = 108;

/// Why the daemon does not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A host that is no address.
    #[error("invalid bind address ({0}): use unix:///PATH")]
    Address(String),
    /// TCP without TLS would give the host's root to the network.
    #[error("{0}: listening on TCP needs mutual TLS, which is not supported yet; use unix:///PATH")]
    Tcp(String),
    /// Somebody listens there.
    #[error("can't create unix socket {0}: an engine already answers there")]
    InUse(PathBuf),
    /// Something else lies there.
    #[error("can't create unix socket {0}: a file that is not a socket is in its place")]
    NotASocket(PathBuf),
    /// A system call on a socket failed.
    #[error("can't create unix socket {path}: {call}")]
    Socket {
        /// Where.
        path: PathBuf,
        /// Which call.
        call: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A group that nobody knows.
    #[error("can't create unix socket {path}: group {group} not found")]
    Group {
        /// Where.
        path: PathBuf,
        /// Its name.
        group: String,
    },
    /// Nobody has given sockets.
    #[error("no sockets found via socket activation: make sure the service was started by systemd")]
    NothingGiven,
    /// It was not among those that were given.
    #[error("no socket fd://{0} was given by the service manager")]
    NotGiven(String),
    /// What was given is of no use.
    #[error("descriptor {number}, which the service manager has given")]
    Given {
        /// Which.
        number: i32,
        /// Why.
        source: io::Error,
    },
    /// A daemon with this file lives.
    #[error(
        "failed to start daemon, ensure tare is not running or delete {path}: process with PID {pid} is still running"
    )]
    Running {
        /// Which file.
        path: PathBuf,
        /// Whose it is.
        pid: u32,
    },
    /// The file cannot be written.
    #[error("failed to start daemon: write {path}")]
    PidFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The environment asks for what cannot be.
    #[error("invalid DOCKER_MIN_API_VERSION: {0}")]
    MinVersion(String),
    /// The runtime, or signals, cannot be had.
    #[error("{0}")]
    Runtime(&'static str, #[source] io::Error),
    /// The engine refuses.
    #[error("{0}")]
    Engine(#[from] engine::Error),
}

/// Where the daemon listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Door {
    /// A unix socket of its own.
    Unix(PathBuf),
    /// Sockets of the service manager: what stands after `fd://`.
    Given(String),
}

/// Where to listen: the `hosts` of the settings, by default `tare.sock` in the run root.
pub fn doors(hosts: &[&str], run_root: &Path) -> Result<Vec<Door>, Error> {
    match hosts {
        [] => Ok(vec![Door::Unix(run_root.join("tare.sock"))]),
        hosts => hosts.iter().map(|host| door(host)).collect(),
    }
}

fn door(host: &str) -> Result<Door, Error> {
    match host.split_once("://") {
        Some(("unix", path)) if path.starts_with('/') => Ok(Door::Unix(PathBuf::from(path))),
        Some(("fd", which)) => Ok(Door::Given(which.to_owned())),
        Some(("tcp" | "http" | "https", _)) => Err(Error::Tcp(host.to_owned())),
        _ => Err(Error::Address(host.to_owned())),
    }
}

/// A socket that is listened on, and the right to it.
#[derive(Debug)]
pub struct Listening {
    /// Takes clients.
    pub listener: StdListener,
    /// As long as it is held, nobody else takes the socket's place.
    pub claim: Lock,
}

/// Binds a socket. One that nobody listens on any more is replaced.
pub fn bind(path: &Path, run_root: &Path, group: Option<&str>) -> Result<Listening, Error> {
    let failed = |call| move |source: io::Error| Error::Socket { path: path.to_owned(), call, source };
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::Address(path.display().to_string()));
    };
    fs::create_dir_all(folder).map_err(failed("mkdir"))?;
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let folder = rustix::fs::open(folder, flags, rustix::fs::Mode::empty());
    let folder = folder.map_err(|e| failed("open")(e.into()))?;
    let claim = claim(path, folder.as_fd(), name, run_root)?;
    let mut short = path.to_owned();
    if path.as_os_str().len() >= SUN_PATH_LEN {
        short = Path::new(&format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
    }
    remove_stale(path, &short)?;
    let socket = bind_listen(&short).map_err(failed("bind"))?;
    let known = group_id(&fs::read_to_string("/etc/group").unwrap_or_default(), group.unwrap_or(GROUP));
    match (known, group) {
        (Some(known), _) => std::os::unix::fs::chown(path, None, Some(known)).map_err(failed("chown"))?,
        // Nobody is let in that was not meant: who names a group is told that there is none.
        (None, Some(group)) => {
            let _ = fs::remove_file(path);
            return Err(Error::Group { path: path.to_owned(), group: group.to_owned() });
        }
        (None, None) => {}
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(failed("chmod"))?;
    Ok(Listening { listener: socket, claim })
}

/// The lock of a socket's place: without it nobody may look there, replace, or take away. The file stays, since
/// one that is removed could be locked twice.
fn claim(path: &Path, folder: BorrowedFd<'_>, name: &OsStr, run_root: &Path) -> Result<Lock, Error> {
    let failed = |call| move |source: io::Error| Error::Socket { path: path.to_owned(), call, source };
    // The folder by its inode: two names of one folder are one place.
    let stat = rustix::fs::fstat(folder).map_err(|e| failed("fstat")(e.into()))?;
    let name: String = name.as_encoded_bytes().iter().map(|b| format!("{b:02x}")).collect();
    let file = format!("socket-{:x}-{:x}-{}.lock", stat.st_dev, stat.st_ino, name);
    fs::create_dir_all(run_root).map_err(failed("mkdir"))?;
    let root = fs::File::open(run_root).map_err(failed("open"))?;
    let lock = Lock::try_exclusive(root.as_fd(), &file);
    let lock = lock.map_err(|e| failed("lock")(io::Error::from_raw_os_error(e.errno())))?;
    lock.ok_or_else(|| Error::InUse(path.to_owned()))
}

fn remove_stale(path: &Path, short: &Path) -> Result<(), Error> {
    let failed = |call| move |source: io::Error| Error::Socket { path: path.to_owned(), call, source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("stat")(error)),
        Ok(meta) if !meta.file_type().is_socket() => return Err(Error::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    match std::os::unix::net::UnixStream::connect(short) {
        Ok(_) => Err(Error::InUse(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed("unlink"))
        }
        Err(error) => Err(failed("connect")(error)),
    }
}

/// Binds with a umask that lets nobody in before the mode is set. The daemon has no other thread yet.
fn bind_listen(path: &Path) -> io::Result<StdListener> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let bound = rustix::net::bind(&socket, &SocketAddrUnix::new(path)?);
    rustix::process::umask(before);
    bound?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(StdListener::from(socket))
}

/// The group's number, read from the file: a static program has no name service.
fn group_id(text: &str, group: &str) -> Option<u32> {
    let named = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(group) {
            return None;
        }
        fields.nth(1)?.parse().ok()
    });
    named.or_else(|| group.parse().ok())
}

/// Runs the daemon until SIGTERM or SIGINT: takes its sockets, takes over the running containers. `source` is where
/// its settings came from: SIGHUP reads them again.
pub fn main(engine: Engine, source: &Source) -> Result<(), String> {
    crate::log::begin(&engine.settings());
    serve(engine, source).map_err(|error| {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        text
    })
}

fn serve(engine: Engine, source: &Source) -> Result<(), Error> {
    let settings = engine.settings();
    let oldest = oldest_version(std::env::var("DOCKER_MIN_API_VERSION").ok().as_deref())?;
    let farewell = match settings.number("shutdown-timeout") {
        None => FAREWELL,
        Some(seconds) => u64::try_from(seconds).map_or(LONG_FAREWELL, Duration::from_secs),
    };
    let hosts: Vec<&str> = settings.list("hosts").collect();
    let run_root = engine.options().run_root.clone();
    let (mut listeners, mut claims, mut paths) = (Vec::new(), Vec::new(), Vec::new());
    for door in doors(&hosts, &run_root)? {
        match door {
            Door::Unix(path) => {
                let bound = bind(&path, &run_root, settings.text("group"))?;
                listeners.push(bound.listener);
                // Held until the sockets are gone.
                claims.push(bound.claim);
                paths.push(path);
            }
            Door::Given(which) => listeners.extend(crate::service::given(&which)?),
        }
    }
    let _pid_file = settings.text("pidfile").map(|path| PidFile::write(Path::new(path))).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::Runtime("the async runtime cannot start", e))?;
    let result = runtime.block_on(async {
        let adopted = engine.adopt()?;
        tracing::info!(containers = adopted, "took over running containers");
        let listeners = listeners
            .into_iter()
            .map(UnixListener::from_std)
            .collect::<io::Result<Vec<_>>>()
            .map_err(|e| Error::Runtime("the sockets cannot be waited on", e))?;
        let signals = Signals::catch()?;
        for path in &paths {
            tracing::info!(socket = %path.display(), "API listen on");
        }
        crate::service::notify("READY=1");
        let router = Router::new(engine.clone(), Blocking::Threads).with_oldest(oldest);
        run(router, listeners, signals.until_the_end(&engine, source), farewell).await;
        Ok(())
    });
    crate::service::notify("STOPPING=1");
    // Blocking calls under way must not hold up the end.
    runtime.shutdown_timeout(farewell);
    for path in &paths {
        // Still ours: nobody else can have bound here. Another engine finds out by itself that nobody listens.
        let _ = fs::remove_file(path);
    }
    result
}

/// dockerd's checks and texts.
fn oldest_version(asked: Option<&str>) -> Result<ApiVersion, Error> {
    let invalid = |why: String| Err(Error::MinVersion(why));
    let Some(text) = asked else { return Ok(ApiVersion::OLDEST) };
    match text.parse::<ApiVersion>() {
        _ if text.is_empty() => invalid("value is empty".to_owned()),
        _ if text.starts_with(['v', 'V']) => {
            invalid("API version must be provided without \"v\" prefix".to_owned())
        }
        Ok(version) if version < ApiVersion::OLDEST => {
            invalid(format!("minimum supported API version is {}: {text}", ApiVersion::OLDEST))
        }
        Ok(version) if version > ApiVersion::NEWEST => {
            invalid(format!("maximum supported API version is {}: {text}", ApiVersion::NEWEST))
        }
        Ok(version) => Ok(version),
        Err(error) => invalid(error.to_string()),
    }
}

struct Signals {
    end: [tokio::signal::unix::Signal; 2],
    reload: tokio::signal::unix::Signal,
}

impl Signals {
    fn catch() -> Result<Signals, Error> {
        let one = |kind, what| signal(kind).map_err(|e| Error::Runtime(what, e));
        Ok(Signals {
            end: [
                one(SignalKind::terminate(), "SIGTERM cannot be caught")?,
                one(SignalKind::interrupt(), "SIGINT cannot be caught")?,
            ],
            reload: one(SignalKind::hangup(), "SIGHUP cannot be caught")?,
        })
    }

    async fn until_the_end(mut self, engine: &Engine, source: &Source) {
        let [term, int] = &mut self.end;
        loop {
            tokio::select! {
                _ = term.recv() => return,
                _ = int.recv() => return,
                _ = self.reload.recv() => reload(engine, source),
            }
        }
    }
}

fn reload(engine: &Engine, source: &Source) {
    tracing::info!("Got signal to reload configuration");
    crate::service::notify_reloading();
    match engine.reload(source) {
        Ok(()) => crate::log::set(&engine.settings()),
        Err(error) => tracing::error!(%error, "Error reloading configuration"),
    }
    crate::service::notify("READY=1");
}

/// Serves every client of the listeners until `shutdown`, then gives requests under way a moment.
pub async fn run(
    router: Router,
    listeners: Vec<UnixListener>,
    shutdown: impl Future<Output = ()>,
    farewell: Duration,
) {
    let places = std::sync::Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let (sender, mut accepted) = tokio::sync::mpsc::channel(1);
    let mut doors = JoinSet::new();
    for listener in listeners {
        doors.spawn(accept(listener, places.clone(), sender.clone()));
    }
    drop(sender);
    let mut clients = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some((stream, place)) = accepted.recv() => {
                let router = router.clone();
                clients.spawn(async move {
                    serve_one(&router, stream).await;
                    drop(place);
                });
            }
            Some(_) = clients.join_next() => {}
        }
    }
    doors.abort_all();
    let ended = tokio::time::timeout(farewell, async { while clients.join_next().await.is_some() {} }).await;
    if ended.is_err() {
        tracing::info!(left = clients.len(), "clients were cut off");
    }
}

async fn serve_one(router: &Router, stream: UnixStream) {
    match stream.as_fd().try_clone_to_owned() {
        Ok(duplicate) => router.serve_socket(stream, duplicate).await,
        Err(error) => {
            tracing::warn!(%error, "a client's connection cannot be watched");
            router.serve(stream).await;
        }
    }
}

type Accepted = (UnixStream, tokio::sync::OwnedSemaphorePermit);

async fn accept(
    listener: UnixListener,
    places: std::sync::Arc<Semaphore>,
    sender: tokio::sync::mpsc::Sender<Accepted>,
) {
    /// After an error such as "too many open files" the next try would fail at once, too.
    const PAUSE: Duration = Duration::from_millis(100);
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                if sender.send((stream, place)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a client could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let root = Path::new("/run/tare");
        for (hosts, expected) in [
            (&[][..], Ok(vec!["/run/tare/tare.sock"])),
            (&["unix:///a", "unix:///b"], Ok(vec!["/a", "/b"])),
            (&["unix://a"], Err("invalid bind address (unix://a): use unix:///PATH")),
            (&["/a"], Err("invalid bind address (/a): use unix:///PATH")),
            (
                &["tcp://0.0.0.0:2375"],
                Err(
                    "tcp://0.0.0.0:2375: listening on TCP needs mutual TLS, which is not supported yet; use unix:///PATH",
                ),
            ),
        ] {
            let got = doors(hosts, root).map_err(|e| e.to_string());
            let expected = expected
                .map(|paths| paths.into_iter().map(|p| Door::Unix(p.into())).collect::<Vec<_>>())
                .map_err(str::to_owned);
            assert_eq!(got, expected, "{hosts:?}");
        }
    }

    #[test]
    fn groups() {
        assert_eq!(group_id("root:x:0:\ntare:x:991:a,b\n", "tare"), Some(991));
        assert_eq!(group_id("tare2:x:1:\nxtare:x:2:\ntare:x:y:\n", "tare"), None);
        assert_eq!(group_id("", "12"), Some(12));
    }

    #[test]
    fn the_oldest_version_is_within_ours() {
        for (asked, expected) in [
            (None, Ok("1.24")),
            (Some("1.40"), Ok("1.40")),
            (Some(""), Err("value is empty")),
            (Some("v1.40"), Err("API version must be provided without \"v\" prefix")),
            (Some("1.20"), Err("minimum supported API version is 1.24: 1.20")),
            (Some("1.99"), Err("maximum supported API version is 1.51: 1.99")),
        ] {
            let got = oldest_version(asked).map(|v| v.to_string()).map_err(|e| e.to_string());
            let expected = expected.map(str::to_owned);
            assert_eq!(got, expected.map_err(|why| format!("invalid DOCKER_MIN_API_VERSION: {why}")));
        }
    }

    #[test]
    fn only_a_dead_socket_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let first = bind(&path, folder.path(), None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert!(matches!(bind(&path, folder.path(), None), Err(Error::InUse(_))));
        drop(first);
        let second = bind(&path, folder.path(), None).unwrap();
        drop(second);
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(bind(&file, folder.path(), None), Err(Error::NotASocket(_))));
    }

    #[test]
    fn long_paths_are_reached() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("x".repeat(100)).join("y".repeat(100));
        let path = deep.join("a.sock");
        let _first = bind(&path, folder.path(), None).unwrap();
        assert!(matches!(bind(&path, folder.path(), None), Err(Error::InUse(_))));
    }

    /// A socket file that a killed engine left is replaced by exactly one of those that race for it, and the one
    /// who got it is reached there.
    #[test]
    fn one_of_many_replaces_a_dead_socket() {
        for round in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.sock");
            drop(StdListener::bind(&path).unwrap());
            let start = std::sync::Barrier::new(4);
            // All stay until everybody has tried.
            let won: Vec<Result<Listening, Error>> = std::thread::scope(|scope| {
                let tries = (0..4).map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        bind(&path, folder.path(), None)
                    })
                });
                tries.collect::<Vec<_>>().into_iter().map(|t| t.join().unwrap()).collect()
            });
            let lost = won.iter().filter(|w| matches!(w, Err(Error::InUse(_)))).count();
            assert_eq!((won.iter().filter(|w| w.is_ok()).count(), lost), (1, 3), "round {round}: {won:?}");
            std::os::unix::net::UnixStream::connect(&path).unwrap();
            let listener = &won.iter().flatten().next().unwrap().listener;
            listener.accept().unwrap();
        }
    }

    /// An engine that lives but listens not yet, or not any more, keeps its place.
    #[test]
    fn a_claim_is_enough() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let first = bind(&path, folder.path(), None).unwrap();
        drop(first.listener);
        assert!(matches!(bind(&path, folder.path(), None), Err(Error::InUse(_))));
        drop(first.claim);
        bind(&path, folder.path(), None).unwrap();
    }
}
