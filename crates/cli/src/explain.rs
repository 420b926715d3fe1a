//! `--explain`: what Linux does for a command, told on standard error as it happens.
//!
//! The engine records each kernel step of the calls that carry this command's trace id, in all its
//! processes; here the records (JSON lines) are only shown: as a tree, or as they are.

use std::time::Duration;

use api::Client;
use api::json::Json;

use crate::stdio::Out;

/// A longer record is cut off the story.
const MAX_RECORD_LEN: usize = 1 << 20;
/// The story may go on so long after the command's end.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// The engine has so long to begin the story before the command goes ahead without it.
const FIRST_WORDS: Duration = Duration::from_millis(250);

/// How the story is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Tree,
    /// One record a line, as the engine gives them.
    Json,
}

/// What was asked for by the flag, or else by `TARE_EXPLAIN`.
pub fn form(flag: Option<&str>, variable: Option<&str>) -> Option<Form> {
    match flag.or(variable)? {
        "json" => Some(Form::Json),
        "" | "0" | "false" => None,
        _ => Some(Form::Tree),
    }
}

/// A story that is being told.
pub struct Story {
    id: String,
    form: Form,
    out: Out,
    teller: Option<tokio::task::JoinHandle<()>>,
    begun: Option<tokio::sync::oneshot::Receiver<()>>,
}

impl Story {
    /// A story under an id of its own.
    pub fn new(form: Form, out: Out) -> Story {
        Story { id: random_id(), form, out, teller: None, begun: None }
    }

    /// The trace id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Starts to listen.
    pub fn follow(&mut self, client: Client) {
        let (id, form, out) = (self.id.clone(), self.form, self.out);
        let (begin, begun) = tokio::sync::oneshot::channel();
        self.begun = Some(begun);
        self.teller = Some(tokio::task::spawn_local(async move {
            let mut begin = Some(begin);
            if let Err(text) = tell(&client, &id, form, out, &mut begin).await {
                out.note(&format!("explain: {text}"));
            }
        }));
    }

    /// The engine's agreement to tell, to be waited for before the first call.
    pub fn take_begun(&mut self) -> Option<tokio::sync::oneshot::Receiver<()>> {
        self.begun.take()
    }

    /// Lets the story come to its end.
    pub async fn finish(self) {
        if let Some(mut teller) = self.teller
            && tokio::time::timeout(LAST_WORDS, &mut teller).await.is_err()
        {
            teller.abort();
        }
    }
}

/// Waits until the engine has agreed to tell, but not for ever.
pub async fn begin(begun: tokio::sync::oneshot::Receiver<()>) {
    let _ = tokio::time::timeout(FIRST_WORDS, begun).await;
}

async fn tell(
    client: &Client,
    id: &str,
    form: Form,
    out: Out,
    begin: &mut Option<tokio::sync::oneshot::Sender<()>>,
) -> Result<(), String> {
    let answer = client.trace(id, true).await;
    if let Some(begin) = begin.take() {
        let _ = begin.send(());
    }
    let mut body = answer.map_err(|e| match e.is_not_found() {
        true => "this engine tells no story".to_owned(),
        false => crate::error::chain(&e),
    })?;
    let mut pending: Vec<u8> = Vec::new();
    let mut tree = Tree::new(out.is_terminal());
    while let Some(chunk) = body.next().await.map_err(|e| crate::error::chain(&e))? {
        pending.extend_from_slice(&chunk);
        while let Some(end) = pending.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            let text = match form {
                Form::Json => String::from_utf8_lossy(&line).into_owned(),
                Form::Tree => tree.record(&line),
            };
            out.write(text.as_bytes()).map_err(|e| e.to_string())?;
        }
        if pending.len() > MAX_RECORD_LEN {
            return Err("a record is too long".to_owned());
        }
    }
    if form == Form::Tree {
        out.write(tree.summary().as_bytes()).map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// Shows records grouped by the process that took the step.
#[derive(Debug)]
pub struct Tree {
    colour: bool,
    process: String,
    steps: usize,
    processes: Vec<String>,
    total_ns: i64,
}

impl Tree {
    /// With colours or without.
    pub fn new(colour: bool) -> Tree {
        Tree { colour, process: String::new(), steps: 0, processes: Vec::new(), total_ns: 0 }
    }

    /// The lines for one record; nothing for what is none.
    pub fn record(&mut self, line: &[u8]) -> String {
        let Ok(json) = Json::parse(line) else { return String::new() };
        let text = |key: &str| clean(json.get(key).and_then(Json::as_str).unwrap_or(""));
        let number = |key: &str| json.get(key).and_then(Json::as_i64).unwrap_or(0);
        let process = format!("{} (pid {})", text("proc"), number("pid"));
        let mut out = String::new();
        if process != self.process {
            out.push_str(&format!("{}{process}{}\n", self.style("1"), self.style("0")));
            if !self.processes.contains(&process) {
                self.processes.push(process.clone());
            }
            self.process = process;
        }
        self.steps += 1;
        self.total_ns = self.total_ns.saturating_add(number("ns"));
        let time = micros(number("ns"));
        let (dim, plain) = (self.style("2"), self.style("0"));
        let head = format!("├─ {:<20} {dim}{:<26} {time:>10}{plain}", text("step"), text("call"));
        out.push_str(head.trim_end());
        let detail = short_ids(&text("detail"));
        if !detail.is_empty() {
            out.push_str("  ");
            out.push_str(&detail);
        }
        let error = text("error");
        if !error.is_empty() {
            out.push_str(&format!("  {}failed: {error}{plain}", self.style("31")));
        }
        out.push('\n');
        out
    }

    /// The last line.
    pub fn summary(&self) -> String {
        if self.steps == 0 {
            return String::new();
        }
        let (steps, processes) = (self.steps, self.processes.len());
        format!(
            "└─ {steps} step{} in {processes} process{}, {} in the kernel\n",
            if steps == 1 { "" } else { "s" },
            if processes == 1 { "" } else { "es" },
            micros(self.total_ns)
        )
    }

    fn style(&self, code: &str) -> String {
        if self.colour { format!("\x1b[{code}m") } else { String::new() }
    }
}

/// The id of a container is in most paths: twelve of its 64 digits tell it apart.
fn short_ids(text: &str) -> String {
    const ID_LEN: usize = 64;
    const SHOWN: usize = 12;
    let mut out = String::with_capacity(text.len());
    let mut digits = String::new();
    let flush = |digits: &mut String, out: &mut String| {
        if digits.len() == ID_LEN {
            out.push_str(&digits[..SHOWN]);
            out.push('…');
        } else {
            out.push_str(digits);
        }
        digits.clear();
    };
    for c in text.chars() {
        if matches!(c, '0'..='9' | 'a'..='f') {
            digits.push(c);
        } else {
            flush(&mut digits, &mut out);
            out.push(c);
        }
    }
    flush(&mut digits, &mut out);
    out
}

/// Names and paths come from containers and images: nothing in them may steer the terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn micros(ns: i64) -> String {
    let (whole, tenth) = (ns / 1000, ns % 1000 / 100);
    if whole < 10 { format!("{whole}.{tenth} µs") } else { format!("{whole} µs") }
}

fn random_id() -> String {
    let mut bytes = [0u8; 16];
    // Without randomness the id only has to be this process's own.
    if rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).is_err() {
        bytes[..4].copy_from_slice(&std::process::id().to_le_bytes());
    }
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_become_a_tree() {
        let mut tree = Tree::new(false);
        let mut out = String::new();
        for line in [
            r#"{"proc":"tare","pid":7,"step":"overlay","call":"mount(2)","detail":"lower /a:/b","start_ns":1,"ns":211000,"error":""}"#,
            r#"{"proc":"tare","pid":7,"step":"veth","call":"RTM_NEWLINK","detail":"","start_ns":2,"ns":1500}"#,
            "not json",
            r#"{"proc":"shim","pid":8,"step":"exec","call":"execve(2)","detail":"/bin/x\u001b[2J","ns":900,"error":"ENOENT"}"#,
        ] {
            out.push_str(&tree.record(line.as_bytes()));
        }
        out.push_str(&tree.summary());
        let want = "tare (pid 7)\n\
             ├─ overlay              mount(2)                       211 µs  lower /a:/b\n\
             ├─ veth                 RTM_NEWLINK                    1.5 µs\n\
             shim (pid 8)\n\
             ├─ exec                 execve(2)                      0.9 µs  /bin/x\u{fffd}[2J  failed: ENOENT\n\
             └─ 3 steps in 2 processes, 213 µs in the kernel\n";
        assert_eq!(out, want);
    }

    #[test]
    fn ids_are_shortened() {
        let id = "0123456789abcdef".repeat(4);
        for (text, want) in [
            (format!("/sys/{id}/tasks = 0"), "/sys/0123456789ab…/tasks = 0".to_owned()),
            (id.clone(), "0123456789ab…".to_owned()),
            (format!("{id}0"), format!("{id}0")),
            ("172.17.0.3 dead beef".to_owned(), "172.17.0.3 dead beef".to_owned()),
        ] {
            assert_eq!(short_ids(&text), want);
        }
    }

    #[test]
    fn who_asks_for_a_story() {
        for (flag, variable, want) in [
            (None, None, None),
            (Some("tree"), None, Some(Form::Tree)),
            (Some("json"), Some("0"), Some(Form::Json)),
            (None, Some("1"), Some(Form::Tree)),
            (None, Some("json"), Some(Form::Json)),
            (None, Some("0"), None),
            (None, Some(""), None),
        ] {
            assert_eq!(form(flag, variable), want);
        }
    }
}
