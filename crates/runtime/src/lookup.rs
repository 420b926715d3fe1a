//! Finding the program to execute, inside the container and as its user, with runc's texts (which are Go's
//! `exec.LookPath`'s): callers decide exit codes 126 and 127 by them.

use crate::error::{Error, Kind, Result};
use rustix::fs::{Access, AtFlags, CWD, FileType};
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// The path to give to execve for `program` (argv[0] of the process) with this value of PATH.
pub(crate) fn find(program: &str, path: Option<&str>) -> Result<PathBuf> {
    if program.contains('/') {
        return match check(Path::new(program)) {
            Ok(()) => Ok(PathBuf::from(program)),
            Err(problem) => Err(problem.error(program)),
        };
    }
    if !program.is_empty() {
        for folder in path.unwrap_or_default().split(':') {
            // An empty entry means the current folder (exec(3)); Go 1.19+ refuses what it finds there,
            // runc's cwd being the container's makes it a valid place.
            let folder = if folder.is_empty() { "." } else { folder };
            let candidate = Path::new(folder).join(program);
            if check(&candidate).is_ok() {
                return Ok(candidate);
            }
        }
    }
    Err(Error::new(Kind::NotFound, format!("exec: {}: executable file not found in $PATH", quote(program))))
}

/// A failed execve of a file that [`find`] accepted: an interpreter that is missing, a wrong format.
pub(crate) fn exec_failed(path: &Path, errno: i32) -> Error {
    let kind = match Errno::from_raw_os_error(errno) {
        Errno::NOENT => Kind::NoSuchFile,
        Errno::ACCESS => Kind::PermissionDenied,
        Errno::ISDIR => Kind::IsDirectory,
        Errno::NOTDIR => Kind::NotDirectory,
        _ => Kind::Kernel,
    };
    Error::received(kind, format!("exec {}", path.display()), errno)
}

/// Why a path cannot be executed.
enum Problem {
    Stat(Errno),
    Directory,
    Permission,
}

impl Problem {
    fn error(self, program: &str) -> Error {
        let name = quote(program);
        match self {
            Self::Directory => Error::new(Kind::IsDirectory, format!("exec: {name}: is a directory")),
            Self::Permission => {
                Error::new(Kind::PermissionDenied, format!("exec: {name}: permission denied"))
            }
            Self::Stat(errno) => {
                let kind = match errno {
                    Errno::NOENT => Kind::NoSuchFile,
                    Errno::NOTDIR => Kind::NotDirectory,
                    Errno::ACCESS => Kind::PermissionDenied,
                    _ => Kind::Kernel,
                };
                Error::received(kind, format!("exec: {name}: stat {program}"), errno.raw_os_error())
            }
        }
    }
}

fn check(path: &Path) -> Result<(), Problem> {
    let stat = rustix::fs::stat(path).map_err(Problem::Stat)?;
    if FileType::from_raw_mode(stat.st_mode).is_dir() {
        return Err(Problem::Directory);
    }
    // eaccess(): the effective ids count. Kernels without faccessat2 (or filters that do not know it)
    // decide by the mode bits, as Go does.
    match rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS) {
        Ok(()) => Ok(()),
        Err(Errno::NOSYS | Errno::PERM) if stat.st_mode & 0o111 != 0 => Ok(()),
        Err(_) => Err(Problem::Permission),
    }
}

/// Go's %q for the names that occur here.
pub(crate) fn quote(text: &str) -> String {
    format!("{text:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn texts_and_kinds() {
        let dir = std::env::temp_dir().join(format!("tare-lookup-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("bin/folder")).unwrap();
        let plain = dir.join("bin/plain");
        std::fs::write(&plain, "x").unwrap();
        std::fs::set_permissions(&plain, std::fs::Permissions::from_mode(0o644)).unwrap();
        let tool = dir.join("bin/tool");
        std::fs::write(&tool, "x").unwrap();
        std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
        let d = dir.display();
        let path = format!("/nonexistent:{d}/bin");

        assert_eq!(find("tool", Some(&path)).unwrap(), tool);
        assert_eq!(find(&format!("{d}/bin/tool"), None).unwrap(), tool);
        let cases = [
            (
                "nope".to_string(),
                Kind::NotFound,
                "exec: \"nope\": executable file not found in $PATH".to_string(),
            ),
            ("plain".into(), Kind::NotFound, "exec: \"plain\": executable file not found in $PATH".into()),
            ("folder".into(), Kind::NotFound, "exec: \"folder\": executable file not found in $PATH".into()),
            (String::new(), Kind::NotFound, "exec: \"\": executable file not found in $PATH".into()),
            (
                format!("{d}/nope"),
                Kind::NoSuchFile,
                format!("exec: \"{d}/nope\": stat {d}/nope: no such file or directory"),
            ),
            (
                format!("{d}/bin/tool/x"),
                Kind::NotDirectory,
                format!("exec: \"{d}/bin/tool/x\": stat {d}/bin/tool/x: not a directory"),
            ),
            (
                format!("{d}/bin/plain"),
                Kind::PermissionDenied,
                format!("exec: \"{d}/bin/plain\": permission denied"),
            ),
            (
                format!("{d}/bin/folder"),
                Kind::IsDirectory,
                format!("exec: \"{d}/bin/folder\": is a directory"),
            ),
        ];
        for (program, kind, text) in cases {
            let error = find(&program, Some(&path)).unwrap_err();
            assert_eq!((error.kind(), error.chain()), (kind, text));
        }
        std::fs::remove_dir_all(dir).unwrap();
    }
}
