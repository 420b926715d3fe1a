//! `GET /containers/{id}/logs`.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::Poll;

use api::stdcopy::Stream;
use bytes::Bytes;
use engine::Time;
use engine::tasks::{LogLine, LogOptions, LogReader};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::call::{Call, go_quote};
use crate::endpoints::attach::framed;
use crate::reply::{self, Refusal, Reply};
use crate::server::Router;
use crate::wire::{CHUNK_LEN, MULTIPLEXED, RAW};

pub(super) async fn logs(router: &Router, call: Call) -> Result<Reply, Refusal> {
    let (stdout, stderr) = (call.query.flag("stdout"), call.query.flag("stderr"));
    if !stdout && !stderr {
        return Err(Refusal::bad_request("Bad parameters: you must choose at least one stream"));
    }
    if call.query.flag("details") {
        return Err(Refusal::later("logs with details"));
    }
    let options = LogOptions {
        follow: call.query.flag("follow"),
        stdout,
        stderr,
        // Docker takes a tail that is no number for all.
        tail: call.query.get("tail").parse().ok(),
        since: time(call.query.get("since"))?,
        until: time(call.query.get("until"))?,
    };
    let name = call.name.clone();
    let (mut reader, tty) = router.block(&call.tracing, move |engine| engine.logs(&name, options)).await?;
    let multiplexed = !tty && call.since(42);
    let (sender, answer) = reply::stream(if multiplexed { MULTIPLEXED } else { RAW });
    let timestamps = call.query.flag("timestamps");
    tokio::spawn(async move {
        let mut batch = Vec::with_capacity(CHUNK_LEN);
        loop {
            let more = tokio::select! {
                more = fill(&mut reader, &mut batch, !tty, timestamps) => more,
                () = sender.closed() => return,
            };
            if !batch.is_empty() && sender.send(Bytes::from(std::mem::take(&mut batch))).await.is_err() {
                return;
            }
            if !more {
                return;
            }
        }
    });
    Ok(answer)
}

/// Copies a log to its end.
pub(super) async fn copy_plain(
    reader: &mut LogReader,
    out: &mut (impl AsyncWrite + Unpin),
    framed: bool,
) -> io::Result<()> {
    let mut batch = Vec::with_capacity(CHUNK_LEN);
    loop {
        let more = fill(reader, &mut batch, framed, false).await;
        out.write_all(&batch).await?;
        batch.clear();
        if !more {
            return out.flush().await;
        }
    }
}

/// Waits for a line, then takes what is there at once, up to a chunk. False: that was the end.
async fn fill(reader: &mut LogReader, batch: &mut Vec<u8>, framed: bool, timestamps: bool) -> bool {
    let mut first = true;
    while first || batch.len() < CHUNK_LEN {
        let next = pin!(reader.next());
        let line = if first {
            next.await
        } else {
            match at_once(next).await {
                Some(line) => line,
                None => return true,
            }
        };
        first = false;
        match line {
            Ok(Some(line)) => append(batch, &line, framed, timestamps),
            Ok(None) => return false,
            Err(error) => {
                let text = format!("Error grabbing logs: {}\n", error.message);
                self::framed(batch, Stream::System, text.as_bytes(), framed);
                return false;
            }
        }
    }
    true
}

/// What a future has ready, if anything.
async fn at_once<T>(mut future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

fn append(batch: &mut Vec<u8>, line: &LogLine, multiplexed: bool, timestamps: bool) {
    let stream = if line.stderr { Stream::Stderr } else { Stream::Stdout };
    if !timestamps {
        return framed(batch, stream, &line.line, multiplexed);
    }
    let mut stamped = line.time.rfc3339_fixed().to_vec();
    stamped.push(b' ');
    stamped.extend_from_slice(&line.line);
    framed(batch, stream, &stamped, multiplexed);
}

/// Unix seconds with an optional fraction, as Docker's clients send times; empty and zero are no time.
fn time(text: &str) -> Result<Option<Time>, Refusal> {
    let invalid = |text: &str| {
        Refusal::internal(format!("strconv.ParseInt: parsing {}: invalid syntax", go_quote(text)))
    };
    if text.is_empty() {
        return Ok(None);
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: i64 = seconds.parse().map_err(|_| invalid(seconds))?;
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(invalid(fraction));
    }
    let nanoseconds: i64 = format!("{fraction:0<9}").parse().map_err(|_| invalid(fraction))?;
    let total = whole.checked_mul(1_000_000_000).and_then(|ns| ns.checked_add(nanoseconds));
    Ok(Some(Time(total.ok_or_else(|| invalid(text))?)).filter(|time| time.0 != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, expected) in [
            ("", Ok(None)),
            ("0", Ok(None)),
            ("0.000000000", Ok(None)),
            ("1", Ok(Some(1_000_000_000))),
            ("1700000000.5", Ok(Some(1_700_000_000_500_000_000))),
            ("1.000000001", Ok(Some(1_000_000_001))),
            ("x", Err("strconv.ParseInt: parsing \"x\": invalid syntax")),
            ("1.x", Err("strconv.ParseInt: parsing \"x\": invalid syntax")),
            ("99999999999", Err("strconv.ParseInt: parsing \"99999999999\": invalid syntax")),
        ] {
            let got = time(text).map(|time| time.map(|time| time.0)).map_err(|refusal| refusal.message);
            assert_eq!(got, expected.map_err(str::to_owned), "{text}");
        }
    }
}
