//! HTTP/1.1 in a few lines: one request per connection, which is enough for a server that tests ask.

use std::io::{self, BufRead, BufReader, Read, Write};

const MAX_LINE: u64 = 64 << 10;
const MAX_HEADERS: usize = 200;

/// The head of a message.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// `GET /path HTTP/1.1` or `HTTP/1.1 200 OK`.
    pub first: String,
    /// In order.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// Reads one; none at the end of the stream.
    pub fn read(from: &mut impl BufRead) -> io::Result<Option<Head>> {
        let first = line(from)?;
        if first.is_empty() {
            return Ok(None);
        }
        let mut head = Head { first, headers: Vec::new() };
        loop {
            let text = line(from)?;
            if text.is_empty() || head.headers.len() > MAX_HEADERS {
                return Ok(Some(head));
            }
            if let Some((name, value)) = text.split_once(':') {
                head.headers.push((name.to_ascii_lowercase(), value.trim().to_string()));
            }
        }
    }

    /// A header's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The second word: the path of a request, the status of an answer.
    pub fn second(&self) -> &str {
        self.first.split(' ').nth(1).unwrap_or_default()
    }

    /// The whole body.
    pub fn body(&self, from: &mut impl BufRead) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if self.get("transfer-encoding").is_some_and(|t| t.contains("chunked")) {
            loop {
                let size = line(from)?;
                let size = u64::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16)
                    .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
                from.take(size).read_to_end(&mut body)?;
                line(from)?;
                if size == 0 {
                    return Ok(body);
                }
            }
        }
        let len = self.get("content-length").and_then(|l| l.parse().ok());
        match len {
            Some(len) => from.take(len).read_to_end(&mut body)?,
            // Of an answer: until the end.
            None if self.first.starts_with("HTTP/") => from.read_to_end(&mut body)?,
            None => 0,
        };
        Ok(body)
    }

    /// Writes it.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let mut text = format!("{}\r\n", self.first);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        to.write_all(format!("{text}\r\n").as_bytes())
    }
}

/// An answer.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// Status.
    pub status: u16,
    /// Headers beside the length.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Reply {
    /// With a body.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Reply {
        Reply { status, headers: Vec::new(), body: body.into() }
    }

    /// With one header more.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Reply {
        self.headers.push((name.to_string(), value.into()));
        self
    }

    /// Writes it; a HEAD is answered without the body.
    pub fn write(&self, to: &mut impl Write, with_body: bool) -> io::Result<()> {
        let mut head = Head { first: format!("HTTP/1.1 {} -", self.status), headers: self.headers.clone() };
        if head.get("content-length").is_none() {
            head.headers.push(("content-length".into(), self.body.len().to_string()));
        }
        head.headers.push(("connection".into(), "close".into()));
        head.write(to)?;
        if with_body {
            to.write_all(&self.body)?;
        }
        to.flush()
    }
}

/// A reader of a stream that is written to as well.
pub fn buffered<R: Read>(stream: R) -> BufReader<R> {
    BufReader::with_capacity(64 << 10, stream)
}

fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut text = Vec::new();
    from.take(MAX_LINE).read_until(b'\n', &mut text)?;
    Ok(String::from_utf8_lossy(&text).trim_end().to_string())
}
