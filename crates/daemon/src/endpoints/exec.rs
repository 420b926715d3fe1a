//! The exec endpoints.

use std::io;

use api::container::{ExecCreateRequest, ExecInspect, ExecProcessConfig, ExecStartRequest, IdResponse};
use api::stdcopy::Stream;
use engine::tasks::{ExecConfig, ExecInfo, ExecStreams};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::call::{Call, window_size};
use crate::descriptor::Descriptor;
use crate::detach::DetachKeys;
use crate::endpoints::attach::{framed, type_into};
use crate::reply::{self, CHUNKS_IN_FLIGHT, Refusal, Reply};
use crate::server::Router;
use crate::wire::{self, CHUNK_LEN, Wire};

pub(super) async fn create(router: &Router, mut call: Call) -> Result<Reply, Refusal> {
    let request: ExecCreateRequest = call.json_or_default().await?;
    let cmd = request.cmd.unwrap_or_default();
    if cmd.is_empty() {
        return Err(Refusal::bad_request("No exec command specified"));
    }
    DetachKeys::parse(&request.detach_keys)?;
    let config = ExecConfig {
        cmd,
        tty: request.tty,
        attach_stdin: request.attach_stdin,
        attach_stdout: request.attach_stdout,
        attach_stderr: request.attach_stderr,
        env: request.env.unwrap_or_default(),
        user: request.user,
        working_dir: request.working_dir,
        privileged: request.privileged,
        detach_keys: request.detach_keys,
    };
    let name = call.name.clone();
    let id = router.block(&call.tracing, move |engine| engine.exec_create(&name, config)).await?;
    Ok(reply::json(StatusCode::CREATED, &IdResponse { id }))
}

pub(super) async fn start(router: &Router, mut call: Call) -> Result<Reply, Refusal> {
    let request: ExecStartRequest = call.json_or_default().await?;
    let id = call.name.clone();
    let info = {
        let id = id.clone();
        router.block(&call.tracing, move |engine| engine.exec_inspect(&id)).await?
    };
    let size = request.console_size.filter(|_| request.tty && call.since(42));
    let size = size.map(|[rows, columns]| (short(columns), short(rows)));
    if request.detach {
        router.block(&call.tracing, move |engine| engine.exec_start(&id, true, size)).await?;
        return Ok(reply::empty(StatusCode::OK));
    }
    // As dockerd: this request says how the output is framed, whatever the process has been promised.
    let multiplexed = !request.tty;
    let (answer, wire) = wire::take_over(&mut call, multiplexed)?;
    let (router, hangup, tracing) = (router.clone(), call.hangup.clone(), call.tracing.clone());
    // As dockerd: the connection is the client's before the process runs, and an error is told on it.
    tokio::spawn(async move {
        let exec = id.clone();
        let started = router.block(&tracing, move |engine| engine.exec_start(&id, false, size)).await;
        let Ok(wire) = wire.await else { return };
        let result = match started {
            Ok(streams) => {
                // The client asks for the exit code when its stream ends: the code must be there by then.
                let ended = async { drop(router.engine().exec_wait(&exec).await) };
                let keys = DetachKeys::parse(&info.config.detach_keys).ok();
                converse(wire, streams, multiplexed, keys, hangup.wait(), ended).await
            }
            Err(refusal) => tell(wire, &refusal.message, multiplexed).await,
        };
        if let Err(error) = result {
            tracing::debug!(%error, "an exec's client was lost");
        }
    });
    Ok(answer)
}

fn short(size: usize) -> u16 {
    u16::try_from(size).unwrap_or(u16::MAX)
}

async fn tell(mut wire: Box<dyn Wire>, message: &str, multiplexed: bool) -> io::Result<()> {
    let mut out = Vec::new();
    framed(&mut out, Stream::Stdout, format!("{message}\r\n").as_bytes(), multiplexed);
    wire.write_all(&out).await?;
    wire.shutdown().await
}

/// Joins a client and an exec. When the client leaves, the process goes on and its output goes nowhere.
async fn converse(
    wire: Box<dyn Wire>,
    streams: ExecStreams,
    multiplexed: bool,
    keys: Option<DetachKeys>,
    client_left: impl Future<Output = ()>,
    ended: impl Future<Output = ()>,
) -> io::Result<()> {
    match streams {
        ExecStreams::Terminal(fd) => {
            let (output, input) = tokio::io::split(Descriptor::new(fd)?);
            let outputs = vec![(Stream::Stdout, output)];
            join(wire, Some(input), outputs, multiplexed, keys, client_left, ended).await
        }
        ExecStreams::Pipes { stdin, stdout, stderr } => {
            let input = stdin.map(Descriptor::new).transpose()?;
            let mut outputs = Vec::new();
            for (stream, fd) in [(Stream::Stdout, stdout), (Stream::Stderr, stderr)] {
                if let Some(fd) = fd {
                    outputs.push((stream, Descriptor::new(fd)?));
                }
            }
            join(wire, input, outputs, multiplexed, None, client_left, ended).await
        }
    }
}

async fn join<R, W>(
    wire: Box<dyn Wire>,
    input: Option<W>,
    outputs: Vec<(Stream, R)>,
    multiplexed: bool,
    keys: Option<DetachKeys>,
    client_left: impl Future<Output = ()>,
    ended: impl Future<Output = ()>,
) -> io::Result<()>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let (mut from_client, mut to_client) = tokio::io::split(wire);
    let (sender, mut chunks) = mpsc::channel::<Vec<u8>>(CHUNKS_IN_FLIGHT);
    for (stream, output) in outputs {
        tokio::spawn(read_frames(output, stream, multiplexed, sender.clone()));
    }
    drop(sender);
    let typed = async move {
        let Some(mut input) = input else { std::future::pending().await };
        match type_into(&mut from_client, &mut input, keys).await {
            Ok(true) => {}
            // The end of a pipe's input is the drop of `input`; a process that does not read any more is none of
            // the client's business.
            Ok(false) | Err(_) => {
                drop(input);
                std::future::pending().await
            }
        }
    };
    let written = async {
        while let Some(chunk) = chunks.recv().await {
            to_client.write_all(&chunk).await?;
            to_client.flush().await?;
        }
        ended.await;
        to_client.shutdown().await
    };
    let result = tokio::select! {
        result = written => result,
        () = typed => Ok(()),
        () = client_left => Ok(()),
    };
    // Closes the client's connection.
    drop(to_client);
    // To an ended exec this does nothing; one that goes on must not be stopped by a full or broken pipe.
    while chunks.recv().await.is_some() {}
    result
}

async fn read_frames<R: AsyncRead + Unpin>(
    mut output: R,
    stream: Stream,
    multiplexed: bool,
    sender: mpsc::Sender<Vec<u8>>,
) {
    let mut buffer = vec![0; CHUNK_LEN];
    while let Ok(len) = output.read(&mut buffer).await {
        let mut chunk = Vec::with_capacity(len + api::stdcopy::HEADER_LEN);
        framed(&mut chunk, stream, &buffer[..len], multiplexed);
        if len == 0 || sender.send(chunk).await.is_err() {
            return;
        }
    }
}

pub(super) async fn resize(router: &Router, call: Call) -> Result<Reply, Refusal> {
    let rows = window_size(&call.query, "h", "height")?;
    let columns = window_size(&call.query, "w", "width")?;
    let id = call.name.clone();
    router.block(&call.tracing, move |engine| engine.exec_resize(&id, columns, rows)).await?;
    Ok(reply::empty(StatusCode::OK))
}

pub(super) async fn inspect(router: &Router, call: Call) -> Result<Reply, Refusal> {
    let id = call.name.clone();
    let info = router.block(&call.tracing, move |engine| engine.exec_inspect(&id)).await?;
    Ok(reply::json(StatusCode::OK, &body(info)))
}

fn body(info: ExecInfo) -> ExecInspect {
    let ExecConfig { cmd, tty, attach_stdin, attach_stdout, attach_stderr, user, privileged, .. } =
        info.config;
    let mut words = cmd.into_iter();
    ExecInspect {
        id: info.id,
        running: info.running,
        exit_code: info.exit_code.map(|code| code as isize),
        process_config: Some(ExecProcessConfig {
            tty,
            entrypoint: words.next().unwrap_or_default(),
            arguments: words.collect(),
            privileged: Some(privileged),
            user,
        }),
        open_stdin: attach_stdin,
        open_stderr: attach_stderr,
        open_stdout: attach_stdout,
        can_remove: false,
        container_id: info.container,
        detach_keys: Some(api::container::Bytes(Vec::new())),
        pid: info.pid as isize,
    }
}
