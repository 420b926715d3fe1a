//! Mount options as words (config-linux.md, "Linux mount options") into what the kernel takes.
//!
//! Pure: it knows words and bits, not paths or calls.

use crate::error::{Error, Kind, Result};
use rustix::mount::{MountFlags, MountPropagationFlags};
use sys::mount::{
    MOUNT_ATTR_ATIME_MASK, MOUNT_ATTR_NOATIME, MOUNT_ATTR_NODEV, MOUNT_ATTR_NODIRATIME, MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID, MOUNT_ATTR_NOSYMFOLLOW, MOUNT_ATTR_RDONLY, MOUNT_ATTR_STRICTATIME,
};

/// Attributes of a mount to set and to clear (mount_setattr(2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) set: u64,
    pub(crate) clear: u64,
}

/// The options of one mount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// `bind` is `Some(false)`, `rbind` is `Some(true)`.
    pub(crate) bind: Option<bool>,
    /// Of this mount alone.
    pub(crate) attributes: Attributes,
    /// Of this mount and all below it (`rro` and the like).
    pub(crate) recursive: Attributes,
    /// Flags of the file system, not of the mount (`sync`, `dirsync`, `mand`, `silent`, `lazytime`).
    pub(crate) file_system: Option<MountFlags>,
    /// In the order given.
    pub(crate) propagation: Vec<MountPropagationFlags>,
    /// `idmap` is `Some(false)`, `ridmap` is `Some(true)`.
    pub(crate) idmap: Option<bool>,
    /// `tmpcopyup`: what the image has there is copied into the tmpfs.
    pub(crate) copy_up: bool,
    /// What the file system itself understands, joined with commas.
    pub(crate) data: String,
}

/// One word's meaning.
enum Word {
    Set(u64),
    Clear(u64),
    /// One of the three access-time modes.
    Atime(u64),
    FileSystem(MountFlags),
    Propagation(MountPropagationFlags),
    Bind(bool),
    Idmap(bool),
    CopyUp,
    Nothing,
    Refused(&'static str),
}

impl Options {
    /// Reads the words of one mount.
    pub(crate) fn parse(words: &[String]) -> Result<Self> {
        let mut options = Self::default();
        let mut data: Vec<&str> = Vec::new();
        for word in words {
            match meaning(word) {
                Some(meaning) => options.apply(meaning)?,
                None => match word.strip_prefix('r').and_then(recursive) {
                    Some(meaning) => apply_attribute(&mut options.recursive, &meaning),
                    None => data.push(word),
                },
            }
        }
        options.data = data.join(",");
        Ok(options)
    }

    fn apply(&mut self, word: Word) -> Result<()> {
        match word {
            Word::Set(_) | Word::Clear(_) | Word::Atime(_) => apply_attribute(&mut self.attributes, &word),
            Word::FileSystem(flag) => self.file_system = Some(self.file_system.unwrap_or(flag) | flag),
            Word::Propagation(flag) => self.propagation.push(flag),
            // `rbind` wins over `bind`, whatever the order: both are what podman sends at times.
            Word::Bind(recursive) => self.bind = Some(recursive || self.bind == Some(true)),
            Word::Idmap(recursive) => self.idmap = Some(recursive),
            Word::CopyUp => self.copy_up = true,
            Word::Nothing => {}
            Word::Refused(word) => {
                return Err(Error::new(Kind::Unsupported, format!("mount option {word:?} is not supported")));
            }
        }
        Ok(())
    }

    /// Whether the mount ends up read-only.
    pub(crate) fn is_read_only(&self) -> bool {
        self.attributes.set & MOUNT_ATTR_RDONLY != 0
    }

    /// The flags for mount(2) of a file system, without `ro` if `writable`.
    pub(crate) fn mount_flags(&self, writable: bool) -> MountFlags {
        let table = [
            (MOUNT_ATTR_RDONLY, MountFlags::RDONLY),
            (MOUNT_ATTR_NOSUID, MountFlags::NOSUID),
            (MOUNT_ATTR_NODEV, MountFlags::NODEV),
            (MOUNT_ATTR_NOEXEC, MountFlags::NOEXEC),
            (MOUNT_ATTR_NOATIME, MountFlags::NOATIME),
            (MOUNT_ATTR_STRICTATIME, MountFlags::STRICTATIME),
            (MOUNT_ATTR_NODIRATIME, MountFlags::NODIRATIME),
            (MOUNT_ATTR_NOSYMFOLLOW, MountFlags::NOSYMFOLLOW),
        ];
        let mut flags = self.file_system.unwrap_or(MountFlags::empty());
        for (attribute, flag) in table {
            if self.attributes.set & attribute != 0 && !(writable && attribute == MOUNT_ATTR_RDONLY) {
                flags |= flag;
            }
        }
        flags
    }
}

fn apply_attribute(to: &mut Attributes, word: &Word) {
    match *word {
        Word::Set(bit) => {
            to.set |= bit;
            to.clear &= !bit;
        }
        Word::Clear(bit) => {
            to.clear |= bit;
            to.set &= !bit;
        }
        // The mode is a field of three bits: all are cleared, then one is set.
        Word::Atime(mode) => {
            to.clear |= MOUNT_ATTR_ATIME_MASK;
            to.set = to.set & !MOUNT_ATTR_ATIME_MASK | mode;
        }
        _ => {}
    }
}

fn meaning(word: &str) -> Option<Word> {
    attribute(word).or_else(|| {
        use MountPropagationFlags as P;
        Some(match word {
            "defaults" | "rw,defaults" | "loud" | "acl" | "noacl" | "nomand" | "nolazytime" | "async"
            | "noiversion" => Word::Nothing,
            "bind" => Word::Bind(false),
            "rbind" => Word::Bind(true),
            "sync" => Word::FileSystem(MountFlags::SYNCHRONOUS),
            "dirsync" => Word::FileSystem(MountFlags::DIRSYNC),
            "mand" => Word::FileSystem(MountFlags::PERMIT_MANDATORY_FILE_LOCKING),
            "silent" => Word::FileSystem(MountFlags::SILENT),
            "lazytime" => Word::FileSystem(MountFlags::LAZYTIME),
            // MS_I_VERSION.
            "iversion" => Word::FileSystem(MountFlags::from_bits_retain(1 << 23)),
            "private" => Word::Propagation(P::PRIVATE),
            "rprivate" => Word::Propagation(P::PRIVATE | P::REC),
            "shared" => Word::Propagation(P::SHARED),
            "rshared" => Word::Propagation(P::SHARED | P::REC),
            // MS_SLAVE, which rustix calls downstream.
            "slave" => Word::Propagation(P::DOWNSTREAM),
            "rslave" => Word::Propagation(P::DOWNSTREAM | P::REC),
            "unbindable" => Word::Propagation(P::UNBINDABLE),
            "runbindable" => Word::Propagation(P::UNBINDABLE | P::REC),
            "idmap" => Word::Idmap(false),
            "ridmap" => Word::Idmap(true),
            "tmpcopyup" => Word::CopyUp,
            "remount" => Word::Refused("remount"),
            _ => return None,
        })
    })
}

fn attribute(word: &str) -> Option<Word> {
    Some(match word {
        "ro" => Word::Set(MOUNT_ATTR_RDONLY),
        "rw" => Word::Clear(MOUNT_ATTR_RDONLY),
        "nosuid" => Word::Set(MOUNT_ATTR_NOSUID),
        "suid" => Word::Clear(MOUNT_ATTR_NOSUID),
        "nodev" => Word::Set(MOUNT_ATTR_NODEV),
        "dev" => Word::Clear(MOUNT_ATTR_NODEV),
        "noexec" => Word::Set(MOUNT_ATTR_NOEXEC),
        "exec" => Word::Clear(MOUNT_ATTR_NOEXEC),
        "nodiratime" => Word::Set(MOUNT_ATTR_NODIRATIME),
        "diratime" => Word::Clear(MOUNT_ATTR_NODIRATIME),
        "nosymfollow" => Word::Set(MOUNT_ATTR_NOSYMFOLLOW),
        "symfollow" => Word::Clear(MOUNT_ATTR_NOSYMFOLLOW),
        "noatime" => Word::Atime(MOUNT_ATTR_NOATIME),
        "strictatime" | "norelatime" => Word::Atime(MOUNT_ATTR_STRICTATIME),
        // The kernel's default mode.
        "atime" | "relatime" | "nostrictatime" => Word::Atime(0),
        _ => return None,
    })
}

/// What follows the `r` of a recursive attribute.
fn recursive(word: &str) -> Option<Word> {
    attribute(word)
}

/// Reads `linux.rootfsPropagation`.
pub(crate) fn propagation(word: &str) -> Result<Option<MountPropagationFlags>> {
    if word.is_empty() {
        return Ok(None);
    }
    match meaning(word) {
        Some(Word::Propagation(flags)) => Ok(Some(flags)),
        _ => Err(Error::new(
            Kind::Invalid,
            format!("rootfsPropagation={word} is not a valid mount propagation"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use MountPropagationFlags as P;

    fn parse(text: &str) -> Options {
        let words: Vec<String> = text.split(' ').filter(|w| !w.is_empty()).map(String::from).collect();
        Options::parse(&words).unwrap()
    }

    #[test]
    fn words() {
        let ro = MOUNT_ATTR_RDONLY;
        let cases = [
            ("", Options::default()),
            (
                "rbind ro",
                Options {
                    bind: Some(true),
                    attributes: Attributes { set: ro, clear: 0 },
                    ..Options::default()
                },
            ),
            ("rbind bind", Options { bind: Some(true), ..Options::default() }),
            ("ro rw", Options { attributes: Attributes { set: 0, clear: ro }, ..Options::default() }),
            (
                "bind rro",
                Options {
                    bind: Some(false),
                    recursive: Attributes { set: ro, clear: 0 },
                    ..Options::default()
                },
            ),
            (
                "relatime noatime",
                Options {
                    attributes: Attributes { set: MOUNT_ATTR_NOATIME, clear: MOUNT_ATTR_ATIME_MASK },
                    ..Options::default()
                },
            ),
            ("size=64k mode=755", Options { data: "size=64k,mode=755".into(), ..Options::default() }),
            (
                "rslave private",
                Options { propagation: vec![P::DOWNSTREAM | P::REC, P::PRIVATE], ..Options::default() },
            ),
            ("ridmap tmpcopyup", Options { idmap: Some(true), copy_up: true, ..Options::default() }),
            // `r` in front of something that is no attribute is the file system's.
            ("rsize=4096", Options { data: "rsize=4096".into(), ..Options::default() }),
        ];
        for (words, options) in cases {
            assert_eq!(parse(words), options, "{words}");
        }
        assert_eq!(Options::parse(&["remount".into()]).unwrap_err().kind(), Kind::Unsupported);
    }

    #[test]
    fn flags_for_file_systems() {
        let options = parse("nosuid noexec nodev ro strictatime dirsync");
        let flags = MountFlags::NOSUID
            | MountFlags::NOEXEC
            | MountFlags::NODEV
            | MountFlags::STRICTATIME
            | MountFlags::DIRSYNC;
        assert_eq!(options.mount_flags(true), flags);
        assert_eq!(options.mount_flags(false), flags | MountFlags::RDONLY);
    }

    #[test]
    fn root_propagation() {
        assert_eq!(propagation("").unwrap(), None);
        assert_eq!(propagation("rshared").unwrap(), Some(P::SHARED | P::REC));
        assert_eq!(
            propagation("bind").unwrap_err().to_string(),
            "rootfsPropagation=bind is not a valid mount propagation"
        );
    }
}
