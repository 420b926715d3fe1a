//! What a service manager and an init script see of the daemon: its pid file, sockets that it is given, notices.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};

use crate::listen::Error;

/// The first descriptor that is given (sd_listen_fds(3)).
const FIRST: i32 = 3;
/// More sockets than these are a mistake.
const MAX_GIVEN: i32 = 64;

/// The file with this process's number, as long as it lives.
#[derive(Debug)]
pub(crate) struct PidFile(PathBuf);

impl PidFile {
    /// Writes it; that of a process that lives is left alone.
    pub(crate) fn write(path: &Path) -> Result<PidFile, Error> {
        let failed = |source| Error::PidFile { path: path.to_owned(), source };
        let before = fs::read_to_string(path).unwrap_or_default();
        if let Ok(pid) = before.trim().parse::<u32>()
            && pid != std::process::id()
            && Path::new(&format!("/proc/{pid}")).exists()
        {
            return Err(Error::Running { path: path.to_owned(), pid });
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        // Beside and renamed: whoever reads it reads a whole number.
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        fs::write(&beside, std::process::id().to_string()).map_err(failed)?;
        fs::rename(&beside, path).map_err(failed)?;
        Ok(PidFile(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Only what is still ours.
        if fs::read_to_string(&self.0).is_ok_and(|text| text == std::process::id().to_string()) {
            let _ = fs::remove_file(&self.0);
        }
    }
}

/// The sockets that a service manager has given; `which` is what stands after `fd://`: nothing or `*` for all, or
/// the number of a descriptor.
pub(crate) fn given(which: &str) -> Result<Vec<UnixListener>, Error> {
    let variable = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<i32>().ok());
    let ours = variable("LISTEN_PID") == i32::try_from(std::process::id()).ok();
    let count = variable("LISTEN_FDS").filter(|_| ours).unwrap_or(0).clamp(0, MAX_GIVEN);
    let numbers: Vec<i32> = match which {
        "" | "*" => (FIRST..FIRST + count).collect(),
        number => match number.parse() {
            Ok(number) if (FIRST..FIRST + count).contains(&number) => vec![number],
            _ => return Err(Error::NotGiven(which.to_owned())),
        },
    };
    if numbers.is_empty() {
        return Err(Error::NothingGiven);
    }
    let listener = |number: i32| -> io::Result<UnixListener> {
        let fd = open(number)?;
        let address = rustix::net::getsockname(&fd)?;
        if address.address_family() != rustix::net::AddressFamily::UNIX {
            return Err(io::Error::other("it is not a unix socket (TCP needs mutual TLS)"));
        }
        let listener = UnixListener::from(fd);
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    let listener = |number| listener(number).map_err(|source| Error::Given { number, source });
    numbers.into_iter().map(listener).collect()
}

/// A duplicate: what a service manager has given stays open under its number.
fn open(number: i32) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{number}");
    let known = fs::read_link(&path)?;
    if !known.to_string_lossy().starts_with("socket:") {
        return Err(io::Error::other("it is not a socket"));
    }
    let own = rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty())?;
    let fd = rustix::process::pidfd_getfd(own.as_fd(), number, rustix::process::PidfdGetfdFlags::empty())?;
    Ok(fd)
}

/// Tells the service manager (sd_notify(3)); without one, nobody.
pub(crate) fn notify(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()) else { return };
    let told = || -> io::Result<()> {
        let bytes = path.as_encoded_bytes();
        let address = match bytes.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&path)?,
        };
        UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
    };
    if let Err(error) = told() {
        tracing::warn!(%error, state, "the service manager could not be told");
    }
}

/// That settings are read again, with the time that systemd wants of it.
pub(crate) fn notify_reloading() {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    notify(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1_000_000 + now.tv_nsec / 1000));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_is_of_one_that_lives() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/x.pid");
        let file = PidFile::write(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), std::process::id().to_string());
        drop(file);
        assert!(!path.exists());
        // A number that no process can have is stale; init's is not.
        fs::write(&path, "4194305").unwrap();
        drop(PidFile::write(&path).unwrap());
        fs::write(&path, "1").unwrap();
        let error = PidFile::write(&path).unwrap_err().to_string();
        assert!(error.contains("process with PID 1 is still running"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "1");
    }

    #[test]
    fn nothing_is_given_to_a_test() {
        assert!(given("").unwrap_err().to_string().starts_with("no sockets found via socket activation"));
    }
}
