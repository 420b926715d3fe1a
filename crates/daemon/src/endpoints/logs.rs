//! `GET /containers/{id}/logs`.

use std::io;

use api::stdcopy::Stream;
use bytes::Bytes;
use engine::Time;
use engine::tasks::{LogLine, LogOptions, LogReader};
use http::header::HeaderValue;
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
    let (sender, mut answer) = reply::stream(if multiplexed { MULTIPLEXED } else { RAW });
    if reader.beginning_lost() {
        answer.headers_mut().insert(api::stream::BEGINNING_LOST, HeaderValue::from_static("1"));
    }
    let form =
        Form { framed: !tty, timestamps: call.query.flag("timestamps"), details: call.query.flag("details") };
    tokio::spawn(async move {
        let mut batch = Vec::with_capacity(CHUNK_LEN);
        loop {
            let more = tokio::select! {
                more = fill(&mut reader, &mut batch, form) => more,
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
    let form = Form { framed, ..Form::default() };
    let mut batch = Vec::with_capacity(CHUNK_LEN);
    loop {
        let more = fill(reader, &mut batch, form).await;
        out.write_all(&batch).await?;
        batch.clear();
        if !more {
            return out.flush().await;
        }
    }
}

/// How lines are shown.
#[derive(Debug, Clone, Copy, Default)]
struct Form {
    framed: bool,
    timestamps: bool,
    details: bool,
}

/// Waits for lines and takes what the reader has at once. False: that was the end.
async fn fill(reader: &mut LogReader, batch: &mut Vec<u8>, form: Form) -> bool {
    let more = reader.next(&mut |line: &LogLine<'_>| append(batch, line, form)).await;
    match more {
        Ok(more) => more,
        Err(error) => {
            let text = format!("Error grabbing logs: {}\n", error.message);
            framed(batch, Stream::System, text.as_bytes(), form.framed);
            false
        }
    }
}

fn append(batch: &mut Vec<u8>, line: &LogLine<'_>, form: Form) {
    let stream = if line.stderr { Stream::Stderr } else { Stream::Stdout };
    if !form.timestamps && !form.details {
        return framed(batch, stream, line.line, form.framed);
    }
    let mut shown = Vec::with_capacity(line.line.len() + 64);
    if form.timestamps {
        shown.extend_from_slice(&line.time().unwrap_or_default().rfc3339_fixed());
        shown.push(b' ');
    }
    if form.details {
        let pairs = line.attributes().into_iter();
        let pairs: Vec<String> =
            pairs.map(|(key, value)| format!("{}={}", escape(&key), escape(&value))).collect();
        shown.extend_from_slice(pairs.join(",").as_bytes());
        shown.push(b' ');
    }
    shown.extend_from_slice(line.line);
    framed(batch, stream, &shown, form.framed);
}

/// Go's `url.QueryEscape`.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

/// Unix seconds with an optional fraction, as Docker's clients send times; empty and zero are no time.
pub(super) fn time(text: &str) -> Result<Option<Time>, Refusal> {
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
