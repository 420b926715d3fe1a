//! A command on a real terminal: what is typed, what is shown, and the window's size.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::command::{DEFAULT_LIMIT, exit_code};
use crate::wait;

/// A session on a pseudo terminal. Dropping it closes the terminal, as a window that is closed.
#[derive(Debug)]
pub struct Pty {
    typed: String,
    child: Child,
    master: File,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Pty {
    /// Starts `command` as the leader of a session with the terminal (80 × 24).
    #[track_caller]
    pub fn start(command: Command, typed: &str) -> Pty {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("open a pty");
        grantpt(&master).expect("grantpt");
        unlockpt(&master).expect("unlockpt");
        let slave =
            ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("open the pty's peer");
        let master = File::from(master);
        set_size(&master, 80, 24);
        let stdio = || Stdio::from(slave.try_clone().expect("duplicate the pty's peer"));
        let mut wrapped = Command::new("setsid");
        wrapped.arg("--ctty").arg(command.get_program()).args(command.get_args()).env_clear();
        for (key, value) in command.get_envs() {
            if let Some(value) = value {
                wrapped.env(key, value);
            }
        }
        let child = wrapped
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot execute {typed}: {error}"));
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, shared) = (master.try_clone().expect("duplicate the pty"), Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // EIO: the last process with the terminal open has gone (pty(7)).
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if let Ok(mut shown) = shared.lock() {
                    shown.extend_from_slice(&buffer[..count]);
                }
            }
        });
        Pty { typed: typed.to_string(), child, master, shown }
    }

    /// Types `text`.
    #[track_caller]
    pub fn send(&mut self, text: &str) {
        self.master
            .write_all(text.as_bytes())
            .unwrap_or_else(|error| panic!("type to {}: {error}", self.typed));
    }

    /// Everything that was shown so far.
    pub fn shown(&self) -> String {
        self.shown.lock().map(|shown| String::from_utf8_lossy(&shown).into_owned()).unwrap_or_default()
    }

    /// Waits until `text` has been shown.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        let found = wait::until(Duration::from_secs(20), || self.shown().contains(text));
        assert!(found, "{} never showed {text:?}; shown:\n{}", self.typed, self.shown());
    }

    /// Changes the window's size, as a person who drags the window's corner does.
    pub fn resize(&self, columns: u16, rows: u16) {
        set_size(&self.master, columns, rows);
    }

    /// Kills the CLI (and what it forked in its own group) with SIGKILL; the terminal stays open.
    pub fn kill(&mut self) {
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let _ = self.child.wait();
    }

    /// Waits for the end; gives the exit code and what was shown.
    #[track_caller]
    pub fn finish(mut self) -> (i32, String) {
        let mut status = None;
        let ended = wait::until(DEFAULT_LIMIT, || {
            status = status.or_else(|| self.child.try_wait().ok().flatten());
            status.is_some()
        });
        assert!(ended, "{} did not end; shown:\n{}", self.typed, self.shown());
        // What was written last may still be on its way through the reader thread.
        let mut before = String::new();
        wait::until(Duration::from_millis(500), || {
            let now = self.shown();
            let settled = now == before;
            before = now;
            settled
        });
        (status.map_or(-1, exit_code), self.shown())
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.kill();
        }
    }
}

fn set_size(master: &File, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(master, size).expect("set the window's size");
}
