//! A command in the foreground: its streams, its window, its signals, its keys.
//!
//! One loop over a closed set of events. It ends when the container's output ends, when the keys
//! that detach are typed, or when a signal that is not handed on asks for it; the terminal is
//! restored in each case, before anything else is printed.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use api::Client;
use api::container::WaitResponse;
use api::stdcopy::{Demux, Stream};
use api::stream::{ByteStream, Hijacked, HijackedReader, HijackedWriter};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::error::Error;
use crate::signals::{Caught, Signals};
use crate::stdio::{AsyncIn, AsyncOut, Out};
use crate::terminal::{DetachKeys, RawMode};

const BUFFER_LEN: usize = 32 * 1024;
/// So often is a window's first size tried, because the terminal may not be there yet.
const RESIZE_TRIES: u32 = 10;
const RESIZE_STEP: Duration = Duration::from_millis(10);
/// After so many requests to end, a command ends whatever its container does.
const MAX_TERMINATIONS: u32 = 3;

/// What runs at the other end.
#[derive(Debug, Clone)]
pub enum Target {
    /// A container's main process.
    Container(String),
    /// A process beside it.
    Exec(String),
}

/// What is connected to what.
pub struct Wiring {
    /// Standard input, if it is attached.
    pub stdin: Option<BorrowedFd<'static>>,
    /// Standard output, if it is attached.
    pub stdout: Option<Out>,
    /// Standard error, if it is attached.
    pub stderr: Option<Out>,
    /// The process has a terminal.
    pub tty: bool,
    /// Keys that detach.
    pub keys: DetachKeys,
    /// Follow the size of this window.
    pub window: Option<Out>,
}

/// How it ended.
#[derive(Debug)]
pub enum End {
    /// The output ended.
    Output,
    /// The keys were typed.
    Detached,
    /// The container ended; its output has been written.
    Exited(Result<WaitResponse, api::Error>),
}

/// Runs the streams until they end. `waiting` is the container's end, if somebody wants to know.
pub async fn run(
    client: &Client,
    target: &Target,
    hijacked: Hijacked,
    wiring: Wiring,
    signals: &mut Signals,
    waiting: Option<&mut api::calls::Waiting>,
) -> Result<End, Error> {
    let Wiring { stdin, stdout, stderr, tty, mut keys, window } = wiring;
    let Hijacked { reader, writer, .. } = hijacked;
    let mut raw = if tty { stdin.map(RawMode::set).transpose()?.flatten() } else { None };
    let has_output = stdout.is_some() || stderr.is_some();
    let mut output = std::pin::pin!(copy_output(reader, stdout, stderr, tty));
    let mut input = std::pin::pin!(copy_input(writer, stdin, tty.then_some(&mut keys)));
    let mut exit = std::pin::pin!(async {
        match waiting {
            Some(waiting) => waiting.exit().await,
            None => std::future::pending().await,
        }
    });
    let mut input_open = true;
    let mut exited = None;
    let mut terminations = 0;
    if let Some(window) = window {
        first_size(client.clone(), target.clone(), window);
    }
    let end = loop {
        tokio::select! {
            done = &mut output, if has_output => {
                drop(raw.take());
                done?;
                break exited.map_or(End::Output, End::Exited);
            }
            typed = &mut input, if input_open => {
                input_open = false;
                if typed? == Typed::Detach {
                    break End::Detached;
                }
                if !has_output {
                    break exited.map_or(End::Output, End::Exited);
                }
            }
            status = &mut exit, if exited.is_none() => {
                exited = Some(status);
                // Docker's CLI writes the rest of the output before it goes; without any it goes now.
                if !has_output {
                    break exited.map_or(End::Output, End::Exited);
                }
            }
            caught = signals.next() => {
                if caught.is_window()
                    && let Some(window) = window
                {
                    resize(client, target, window).await;
                }
                terminations += u32::from(caught.is_request());
                let handed_on = hand_on(client, target, signals.forwards(), caught);
                if terminations >= MAX_TERMINATIONS {
                    drop(raw.take());
                    return Err(Error::failed("\ngot 3 SIGTERM/SIGINTs, forcefully exiting"));
                }
                if !handed_on && ends(target, caught) {
                    drop(raw.take());
                    return Err(Error::code(128 + caught.number));
                }
            }
        }
    };
    Ok(end)
}

/// Whether a signal that is not handed on ends the command. A container in the foreground outlasts
/// the first requests to end (Docker's CLI ignores them), everything else does not.
fn ends(target: &Target, caught: Caught) -> bool {
    match target {
        Target::Container(_) => caught.is_terminating() && !caught.is_request(),
        Target::Exec(_) => caught.is_terminating(),
    }
}

/// Copies a stream of a container's output until it ends: logs.
pub async fn copy_body(mut body: ByteStream, out: Out, err: Out, tty: bool) -> Result<(), Error> {
    let mut sink = Sink::new(Some(out), Some(err), tty);
    while let Some(chunk) = body.next().await? {
        sink.take(&chunk).await?;
    }
    Ok(())
}

/// Whether a signal was handed on.
fn hand_on(client: &Client, target: &Target, forward: bool, caught: Caught) -> bool {
    let Target::Container(id) = target else { return false };
    if !forward {
        return false;
    }
    let (client, id) = (client.clone(), id.clone());
    tokio::task::spawn_local(async move {
        // The container may have ended meanwhile; then there is nobody to tell.
        let _ = client.container_kill(&id, caught.name).await;
    });
    true
}

async fn copy_output(
    mut reader: HijackedReader,
    out: Option<Out>,
    err: Option<Out>,
    tty: bool,
) -> Result<(), Error> {
    let mut sink = Sink::new(out, err, tty);
    let mut buffer = vec![0; BUFFER_LEN];
    loop {
        let read = reader.read(&mut buffer).await.map_err(|e| Error::io("attach", e))?;
        if read == 0 {
            return Ok(());
        }
        sink.take(&buffer[..read]).await?;
    }
}

#[derive(PartialEq)]
enum Typed {
    End,
    Detach,
}

async fn copy_input(
    mut writer: HijackedWriter,
    stdin: Option<BorrowedFd<'static>>,
    mut keys: Option<&mut DetachKeys>,
) -> Result<Typed, Error> {
    if let Some(fd) = stdin {
        let input = AsyncIn::new(fd);
        let mut buffer = vec![0; BUFFER_LEN];
        let mut passed = Vec::new();
        loop {
            let read = match input.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(read) => read,
            };
            let mut detach = false;
            let bytes = match keys.as_deref_mut() {
                None => &buffer[..read],
                Some(keys) => {
                    passed.clear();
                    detach = keys.filter(&buffer[..read], &mut passed);
                    passed.as_slice()
                }
            };
            // A container that is gone shows on the side of its output.
            if writer.write_all(bytes).await.is_err() {
                return Ok(Typed::End);
            }
            if detach {
                return Ok(Typed::Detach);
            }
        }
    }
    let _ = writer.shutdown().await;
    Ok(Typed::End)
}

/// Takes a container's output apart and writes it.
struct Sink {
    out: Option<AsyncOut>,
    err: Option<AsyncOut>,
    demux: Option<Demux>,
    /// Payloads of one stream that came one after the other: each line is a frame.
    run: Vec<u8>,
}

impl Sink {
    fn new(out: Option<Out>, err: Option<Out>, tty: bool) -> Sink {
        let demux = (!tty).then(Demux::new);
        Sink { out: out.map(AsyncOut::new), err: err.map(AsyncOut::new), demux, run: Vec::new() }
    }

    async fn take(&mut self, chunk: &[u8]) -> Result<(), Error> {
        let Some(demux) = &mut self.demux else {
            return write_to(self.out.as_ref().or(self.err.as_ref()), chunk).await;
        };
        let mut rest = chunk;
        let mut to_err = false;
        self.run.clear();
        while let Some((stream, payload)) = demux.next(&mut rest).map_err(|e| Error::failed(e.to_string()))? {
            let is_err = match stream {
                Stream::Stdin | Stream::Stdout => false,
                Stream::Stderr => true,
                Stream::System => {
                    write_to(if to_err { &self.err } else { &self.out }.as_ref(), &self.run).await?;
                    let text = String::from_utf8_lossy(payload);
                    return Err(Error::failed(format!("error from daemon in stream: {text}")));
                }
            };
            if is_err != to_err {
                write_to(if to_err { &self.err } else { &self.out }.as_ref(), &self.run).await?;
                self.run.clear();
                to_err = is_err;
            }
            self.run.extend_from_slice(payload);
        }
        write_to(if to_err { &self.err } else { &self.out }.as_ref(), &self.run).await
    }
}

async fn write_to(to: Option<&AsyncOut>, bytes: &[u8]) -> Result<(), Error> {
    match to {
        Some(to) => to.write(bytes).await,
        None => Ok(()),
    }
}

/// Tells the container the window's size.
pub async fn resize(client: &Client, target: &Target, window: Out) -> bool {
    match window.size() {
        Some((rows, columns)) => resize_to(client, target, rows, columns).await,
        None => true,
    }
}

/// Tells the container a size; true if it took it.
pub async fn resize_to(client: &Client, target: &Target, rows: u16, columns: u16) -> bool {
    if rows == 0 && columns == 0 {
        return true;
    }
    match target {
        Target::Container(id) => client.container_resize(id, rows, columns).await.is_ok(),
        Target::Exec(id) => client.exec_resize(id, rows, columns).await.is_ok(),
    }
}

fn first_size(client: Client, target: Target, window: Out) {
    tokio::task::spawn_local(async move {
        for attempt in 0..=RESIZE_TRIES {
            tokio::time::sleep(RESIZE_STEP * attempt).await;
            if resize(&client, &target, window).await {
                return;
            }
        }
        window.note("failed to resize tty, using default size");
    });
}
