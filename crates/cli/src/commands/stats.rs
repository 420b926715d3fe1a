//! `stats`: a table that is drawn again and again, or once.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use api::Client;
use api::calls::ContainerListOptions;
use api::stats::StatsResponse;

use crate::error::Error;
use crate::grammar::Parsed;
use crate::listing::{self, stats};
use crate::session::Session;

/// How often the table is drawn.
const REDRAW: Duration = Duration::from_millis(500);
/// How often new containers are looked for.
const LOOK_EVERY: u32 = 2;

/// One container's line: the word it was asked for by, and what came last.
type Shared = Rc<RefCell<Line>>;

struct Line {
    row: stats::Row,
    gone: bool,
}

/// `stats`
pub async fn stats(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let client = session.client().await?;
    let given = parsed.text("format");
    let format = stats::format(if given.is_empty() { &session.config.stats_format } else { given });
    let names = match parsed.args.is_empty() {
        true => list(&client, parsed.switch("all")).await?,
        false => parsed.args.clone(),
    };
    let truncate = !parsed.switch("no-trunc");
    let print = |rows: Vec<stats::Row>| {
        listing::print(&format, stats::HEADERS, &stats::values(rows, truncate)).map_err(Error::failed)
    };
    if parsed.switch("no-stream") {
        let asked: Vec<_> =
            names.into_iter().map(|name| tokio::task::spawn_local(first(client.clone(), name))).collect();
        let mut rows = Vec::new();
        for one in asked {
            let row = one.await.map_err(|e| Error::failed(e.to_string()))?;
            rows.push(row?);
        }
        return session.out.write(print(rows)?.as_bytes());
    }
    let follows_new = parsed.args.is_empty();
    let mut lines: Vec<(String, Shared)> = Vec::new();
    add(&client, &mut lines, names);
    let mut round = 0u32;
    loop {
        tokio::time::sleep(REDRAW).await;
        round = round.wrapping_add(1);
        if follows_new && round.is_multiple_of(LOOK_EVERY) {
            add(&client, &mut lines, list(&client, parsed.switch("all")).await?);
        }
        lines.retain(|(_, line)| !line.borrow().gone);
        if lines.is_empty() && !follows_new {
            return Ok(());
        }
        let text = print(lines.iter().map(|(_, line)| line.borrow().row.clone()).collect())?;
        // Home, each line to its end, the rest of the screen: nothing flickers.
        let drawn = format!("\u{1b}[H{}\u{1b}[J", text.replace('\n', "\u{1b}[K\n"));
        session.out.write(drawn.as_bytes())?;
    }
}

async fn list(client: &Client, all: bool) -> Result<Vec<String>, Error> {
    let found = client.container_list(&ContainerListOptions { all, ..Default::default() }).await?;
    Ok(found.into_iter().map(|container| container.id.chars().take(12).collect()).collect())
}

/// One answer for one container.
async fn first(client: Client, name: String) -> Result<stats::Row, Error> {
    let mut messages = client.container_stats(&name, false).await?;
    let message = messages.next_json().await?;
    let answer = message.map(api::go::decode_json::<StatsResponse>).transpose().map_err(api::Error::from)?;
    Ok(stats::Row::new(&name, &answer.unwrap_or_default()))
}

/// Begins to listen to containers that are not listened to yet.
fn add(client: &Client, lines: &mut Vec<(String, Shared)>, names: Vec<String>) {
    for name in names {
        if lines.iter().any(|(known, _)| *known == name) {
            continue;
        }
        let row = stats::Row::new(&name, &StatsResponse::default());
        let line = Rc::new(RefCell::new(Line { row, gone: false }));
        tokio::task::spawn_local(listen(client.clone(), name.clone(), Rc::clone(&line)));
        lines.push((name, line));
    }
}

async fn listen(client: Client, name: String, line: Shared) {
    if let Ok(mut messages) = client.container_stats(&name, true).await {
        while let Ok(Some(json)) = messages.next_json().await {
            let Ok(answer) = api::go::decode_json::<StatsResponse>(json) else { break };
            line.borrow_mut().row = stats::Row::new(&name, &answer);
        }
    }
    line.borrow_mut().gone = true;
}
