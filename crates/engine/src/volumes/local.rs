//! The driver `local`: names, options, and the mount that options describe.
//!
//! Such a mount is made at the volume's folder on the host, so that all its containers see the same one, and goes
//! with the last task that uses it. Texts are dockerd's.

use crate::Engine;
use crate::error::{Error, Kind, Result, errno, io};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, mount_remount, unmount,
};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub(super) fn check_name(name: &str) -> Result<()> {
    if name.len() == 1 {
        return Err(Error::invalid(
            "volume name is too short, names should be at least two alphanumeric characters",
        ));
    }
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    let valid =
        name.bytes().enumerate().all(|(at, b)| if at == 0 { b.is_ascii_alphanumeric() } else { inner(b) });
    if !valid {
        return Err(Error::invalid(format!(
            "{name:?} includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
        )));
    }
    // What no file system takes as a folder's name (NAME_MAX).
    if name.len() > 255 {
        return Err(Error::invalid(format!("mkdir {name}: file name too long")));
    }
    Ok(())
}

pub(super) fn check_options(options: Option<&BTreeMap<String, String>>) -> Result<()> {
    let Some(options) = options else { return Ok(()) };
    if let Some(unknown) =
        options.keys().find(|key| !matches!(key.as_str(), "type" | "o" | "device" | "size"))
    {
        return Err(Error::invalid(format!("invalid option: {unknown:?}")));
    }
    if options.contains_key("size") {
        return Err(Error::invalid("quota size requested but no quota support"));
    }
    let given = |key: &str| options.get(key).is_some_and(|value| !value.is_empty());
    let needs = [("device", given("type") || given("o")), ("type", given("device"))];
    match needs.iter().find(|(key, needed)| *needed && !given(key)) {
        Some((key, _)) => Err(Error::invalid(format!("missing required option: {key:?}"))),
        None => Ok(()),
    }
}

impl Engine {
    /// Mounts what a volume's options describe, if it has any, for a task whose row says so. `false`: it is a plain
    /// folder.
    pub(crate) fn mount_volume(&self, name: &str) -> Result<bool> {
        let volume = self.volume(name)?;
        let Some(options) = volume.options else { return Ok(false) };
        let folder = self.volume_folder(name)?;
        let _alone = self.paths().lock("volume-mounts")?;
        if !is_mount_point(&folder)? {
            attach(&options, &folder)?;
        }
        Ok(true)
    }

    /// Unmounts the volumes of a task that has ended, those that no other task uses.
    pub(crate) fn unmount_volumes(&self, task: &str, names: &[String]) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        let _alone = self.paths().lock("volume-mounts")?;
        let others = self.state()?.tasks()?;
        for name in names {
            if !others.iter().any(|(id, other)| id != task && other.mounted.contains(name)) {
                unmount_all(&self.paths().volume_data(name))?;
            }
        }
        Ok(())
    }
}

/// Unmounts whatever is mounted at a volume's folder.
pub(super) fn unmount_all(folder: &Path) -> Result<()> {
    loop {
        match unmount(folder, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Ok(()) => {}
            // Not a mount point; or nothing at all.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => return Ok(()),
            Err(e) => return Err(errno(format!("umount {}", folder.display()))(e)),
        }
    }
}

/// What is removed with its content must not have somebody else's mounted in it.
pub(super) fn check_no_mounts(folder: &Path, name: &str) -> Result<()> {
    let mountinfo = std::fs::read("/proc/self/mountinfo").map_err(io("read mountinfo"))?;
    let mut prefix = folder.as_os_str().as_bytes().to_vec();
    prefix.push(b'/');
    let inside = mountinfo
        .split(|b| *b == b'\n')
        .filter_map(|line| line.split(|b| *b == b' ').nth(4))
        .find(|point| point.starts_with(&prefix));
    match inside {
        Some(point) => Err(Error::conflict(format!(
            "remove {name}: something is mounted at {}; unmount it first",
            String::from_utf8_lossy(point)
        ))),
        None => Ok(()),
    }
}

/// Whether something is mounted at a folder.
pub(super) fn is_mount_point(folder: &Path) -> Result<bool> {
    let id = |path: &Path| crate::mounts::mount_id(path).map_err(errno(format!("stat {}", path.display())));
    let parent = folder.parent().unwrap_or(folder);
    Ok(id(folder)? != id(parent)?)
}

/// mount(8)'s words: what they set, what they clear.
const WORDS: &[(&str, MountFlags, bool)] = &[
    ("ro", MountFlags::RDONLY, true),
    ("rw", MountFlags::RDONLY, false),
    ("nosuid", MountFlags::NOSUID, true),
    ("suid", MountFlags::NOSUID, false),
    ("nodev", MountFlags::NODEV, true),
    ("dev", MountFlags::NODEV, false),
    ("noexec", MountFlags::NOEXEC, true),
    ("exec", MountFlags::NOEXEC, false),
    ("sync", MountFlags::SYNCHRONOUS, true),
    ("async", MountFlags::SYNCHRONOUS, false),
    ("dirsync", MountFlags::DIRSYNC, true),
    ("mand", MountFlags::PERMIT_MANDATORY_FILE_LOCKING, true),
    ("nomand", MountFlags::PERMIT_MANDATORY_FILE_LOCKING, false),
    ("noatime", MountFlags::NOATIME, true),
    ("atime", MountFlags::NOATIME, false),
    ("nodiratime", MountFlags::NODIRATIME, true),
    ("diratime", MountFlags::NODIRATIME, false),
    ("relatime", MountFlags::RELATIME, true),
    ("norelatime", MountFlags::RELATIME, false),
    ("strictatime", MountFlags::STRICTATIME, true),
    ("nostrictatime", MountFlags::STRICTATIME, false),
    ("bind", MountFlags::BIND, true),
    ("rbind", MountFlags::BIND.union(MountFlags::REC), true),
];

const PROPAGATIONS: &[(&str, MountPropagationFlags)] = &[
    ("private", MountPropagationFlags::PRIVATE),
    ("rprivate", MountPropagationFlags::PRIVATE.union(MountPropagationFlags::REC)),
    ("shared", MountPropagationFlags::SHARED),
    ("rshared", MountPropagationFlags::SHARED.union(MountPropagationFlags::REC)),
    ("slave", MountPropagationFlags::DOWNSTREAM),
    ("rslave", MountPropagationFlags::DOWNSTREAM.union(MountPropagationFlags::REC)),
    ("unbindable", MountPropagationFlags::UNBINDABLE),
    ("runbindable", MountPropagationFlags::UNBINDABLE.union(MountPropagationFlags::REC)),
];

/// Mounts what options describe at a volume's folder, if that has not been done, in the caller's mount namespace.
pub(crate) fn mount_here(options: &BTreeMap<String, String>, folder: &Path) -> Result<()> {
    if is_mount_point(folder)? { Ok(()) } else { attach(options, folder) }
}

/// Mounts what options describe at `folder`.
fn attach(options: &BTreeMap<String, String>, folder: &Path) -> Result<()> {
    let get = |key: &str| options.get(key).map_or("", String::as_str);
    let (mut flags, mut propagation, mut data) = (MountFlags::empty(), None, Vec::new());
    for word in get("o").split(',').filter(|word| !word.is_empty() && *word != "defaults") {
        if let Some((_, bits, set)) = WORDS.iter().find(|(name, ..)| *name == word) {
            flags.set(*bits, *set);
        } else if let Some((_, bits)) = PROPAGATIONS.iter().find(|(name, _)| *name == word) {
            propagation = Some(*bits);
        } else {
            data.push(resolved(get("type"), word));
        }
    }
    let data = data.join(",");
    let failed = |e: rustix::io::Errno| {
        let mut text = format!("mount {}:{}", get("device"), folder.display());
        if !flags.is_empty() {
            text.push_str(&format!(", flags: {:#x}", flags.bits()));
        }
        if !data.is_empty() {
            text.push_str(&format!(", data: {data}"));
        }
        Error::new(
            Kind::Internal,
            format!(
                "error while mounting volume '{}': failed to mount local volume: {text}: {e}",
                folder.display()
            ),
        )
    };
    let text = CString::new(data.as_str()).map_err(|_| failed(rustix::io::Errno::INVAL))?;
    mount(get("device"), folder, get("type"), flags, text.as_c_str()).map_err(failed)?;
    let rest = || {
        if let Some(propagation) = propagation {
            mount_change(folder, propagation)?;
        }
        // A bind takes its access from its source, whatever is asked for at first.
        if flags.contains(MountFlags::BIND | MountFlags::RDONLY) {
            mount_remount(folder, flags, c"")?;
        }
        Ok(())
    };
    rest().map_err(|e| {
        let _ = unmount_all(folder);
        failed(e)
    })
}

/// The kernel's network file systems want a server's address, not its name.
fn resolved(kind: &str, word: &str) -> String {
    let Some(name) = word.strip_prefix("addr=").filter(|_| kind.starts_with("nfs") || kind == "cifs") else {
        return word.to_string();
    };
    if name.parse::<std::net::IpAddr>().is_ok() {
        return word.to_string();
    }
    match hosts_file_address(name) {
        Some(address) => format!("addr={address}"),
        // The kernel says what it thinks of that.
        None => word.to_string(),
    }
}

/// The address that /etc/hosts has for a name.
fn hosts_file_address(name: &str) -> Option<String> {
    let hosts = std::fs::read_to_string("/etc/hosts").ok()?;
    hosts.lines().find_map(|line| {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let address = words.next()?;
        words.any(|word| word == name).then(|| address.to_string())
    })
}

/// Where a volume's files are, for who copies into it before any task runs: mounted when its options say so, and
/// unmounted again when it was not before.
pub(super) struct Borrowed {
    pub(super) folder: PathBuf,
    mounted: bool,
    _alone: sys::lock::Lock,
}

impl Borrowed {
    pub(super) fn new(engine: &Engine, name: &str) -> Result<Self> {
        let volume = engine.volume(name)?;
        let folder = engine.volume_folder(name)?;
        let alone = engine.paths().lock("volume-mounts")?;
        let mounted = match volume.options {
            Some(options) if !is_mount_point(&folder)? => {
                attach(&options, &folder)?;
                true
            }
            _ => false,
        };
        Ok(Self { folder, mounted, _alone: alone })
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if self.mounted {
            // What stays is unmounted with the last task, or with the volume.
            let _ = unmount_all(&self.folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_options() {
        for (name, expected) in
            [("ab", true), ("a", false), ("a b", false), (".a", false), ("a/b", false), ("a_b-c.d", true)]
        {
            assert_eq!(check_name(name).is_ok(), expected, "{name}");
        }
        let options = |pairs: &[(&str, &str)]| {
            let map = pairs.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())).collect();
            check_options(Some(&map)).err().map(|e| e.message)
        };
        for (pairs, expected) in [
            (&[("nope", "1")][..], Some("invalid option: \"nope\"")),
            (&[("type", "bind")], Some("missing required option: \"device\"")),
            (&[("device", "/tmp")], Some("missing required option: \"type\"")),
            (&[("o", "bind")], Some("missing required option: \"device\"")),
            (&[("type", "none"), ("device", "/tmp"), ("o", "bind")], None),
            (&[], None),
        ] {
            assert_eq!(options(pairs).as_deref(), expected, "{pairs:?}");
        }
    }
}
