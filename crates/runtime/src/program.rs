//! The program of a process: found as its user, executed with its environment.

use crate::WindowSize;
use crate::error::{Error, Kind, Result};
use crate::init::FIRST_AFTER_STDIO;
use crate::lookup;
use oci::runtime::Process;
use rustix::fs::{Mode, OFlags};
use std::ffi::CString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use sys::trace;

/// A container's /etc/passwd is read up to here.
const PASSWD_MAX: u64 = 1 << 20;

/// Ready to be executed.
pub(crate) struct Program {
    path: PathBuf,
    argv: Vec<CString>,
    env: Vec<CString>,
    listen_fds: u32,
}

/// Looks the program up in the root, folder and identity that this process has now.
pub(crate) fn find(process: &Process, listen_fds: u32) -> Result<Program> {
    let mut step = trace::step("program", "faccessat2(2)");
    let name =
        process.args.first().ok_or_else(|| Error::new(Kind::Invalid, "process args cannot be empty"))?;
    let path = step.check(lookup::find(name, value(&process.env, "PATH")))?;
    step.note(format_args!("{}", path.display()));
    let mut env: Vec<String> = process.env.clone();
    if value(&env, "HOME").is_none_or(str::is_empty) {
        env.retain(|entry| !entry.starts_with("HOME="));
        env.push(format!("HOME={}", home(process.user.uid)));
    }
    if listen_fds > 0 {
        // sd_listen_fds(3): valid only for the process whose pid this is.
        env.push(format!("LISTEN_FDS={listen_fds}"));
        env.push(format!("LISTEN_PID={}", rustix::process::getpid().as_raw_nonzero()));
    }
    let texts = |list: &[String]| {
        let texts: Result<Vec<_>, _> = list.iter().map(|text| CString::new(text.as_str())).collect();
        texts.map_err(|_| Error::new(Kind::Invalid, "process args and env cannot hold NUL bytes"))
    };
    Ok(Program { path, argv: texts(&process.args)?, env: texts(&env)?, listen_fds })
}

impl Program {
    /// Becomes the program. Everything beyond stdio and the wanted descriptors is closed by it.
    pub(crate) fn exec(&self, preserve_fds: u32) -> Result<()> {
        let mut step = trace::step("exec", "execve(2)");
        step.note(format_args!("{}", self.path.display()));
        // The record has to be written before: success does not come back.
        drop(step);
        sys::process::close_from(FIRST_AFTER_STDIO + self.listen_fds + preserve_fds, true)?;
        let path = CString::new(self.path.as_os_str().as_bytes())
            .map_err(|_| Error::new(Kind::Invalid, "NUL byte"))?;
        let error = sys::process::exec(&path, &self.argv, &self.env);
        Err(lookup::exec_failed(&self.path, error.errno()))
    }
}

/// The size that the spec asks for, if it makes sense.
pub(crate) fn console_size(process: &Process) -> Option<WindowSize> {
    let size = process.console_size?;
    Some(WindowSize { rows: u16::try_from(size.height).ok()?, columns: u16::try_from(size.width).ok()? })
}

/// The last value counts: environments are built by appending.
fn value<'a>(env: &'a [String], name: &str) -> Option<&'a str> {
    env.iter().rev().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='))
}

/// The user's folder by the container's passwd file; `/` when it does not say.
fn home(uid: u32) -> String {
    // Not blocking, and only a regular file: the image may have put a fifo or a device there.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open("/etc/passwd", flags, Mode::empty()).ok().map(File::from);
    let file = file.filter(|file| file.metadata().is_ok_and(|meta| meta.is_file()));
    let found = file.and_then(|file| home_in(BufReader::new(file.take(PASSWD_MAX)), uid));
    found.unwrap_or_else(|| "/".to_string())
}

fn home_in(passwd: impl BufRead, uid: u32) -> Option<String> {
    passwd.split(b'\n').map_while(Result::ok).find_map(|line| {
        let line = String::from_utf8(line).ok()?;
        let fields: Vec<&str> = line.split(':').collect();
        let home = fields.get(5).filter(|home| home.starts_with('/') && !home.contains('\0'))?;
        (fields[2].parse() == Ok(uid)).then(|| home.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\n# x\nbad\xff:x:7:7::/no:\nnobody:x:65534:65534:::\nweb:x:33:33::/srv\n";
        for (uid, home) in [(0, Some("/root")), (33, Some("/srv")), (65534, None), (7, None), (1, None)] {
            assert_eq!(home_in(&passwd[..], uid).as_deref(), home, "{uid}");
        }
    }

    #[test]
    fn environment() {
        let env = ["PATH=/a".to_string(), "PATHX=no".into(), "PATH=/b".into(), "E=".into()];
        assert_eq!(value(&env, "PATH"), Some("/b"));
        assert_eq!(value(&env, "E"), Some(""));
        assert_eq!(value(&env, "NONE"), None);
    }
}
