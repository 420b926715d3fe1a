//! Rows of `history`.

use std::rc::Rc;

use api::image::HistoryItem;

use super::containers::View;
use super::short_id;
use crate::table::ellipsis;
use crate::template::{Object, Value, plain};
use crate::time::rfc3339;
use crate::units::{human_duration, human_size};

/// The header's cells.
pub const HEADERS: &[(&str, &str)] = &[
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];

const MAX_CREATED_BY_WIDTH: usize = 45;
/// Before this an image's date is none: the epoch, and Go's zero time.
const EPOCH: i64 = 0;

/// The format that options stand for.
pub fn format(given: &str, quiet: bool, human: bool) -> String {
    match given {
        "table" if quiet => "{{.ID}}".to_owned(),
        "table" if human => "table {{.ID}}\t{{if .CreatedSince}}{{.CreatedSince}}{{else}}N/A{{end}}\t\
                             {{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
            .to_owned(),
        "table" => "table {{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}".to_owned(),
        given => given.to_owned(),
    }
}

/// The rows of an image's steps.
pub fn rows(items: Vec<HistoryItem>, human: bool, view: &View) -> Vec<Value> {
    let row = |item| Value::Object(Rc::new(Row { item, human, view: view.clone() }));
    items.into_iter().map(row).collect()
}

struct Row {
    item: HistoryItem,
    human: bool,
    view: View,
}

impl Row {
    fn text(&self, name: &str) -> Option<String> {
        let item = &self.item;
        let at = || rfc3339(item.created, &self.view.zone);
        Some(match name {
            "ID" if self.view.truncate => short_id(&item.id),
            "ID" => item.id.clone(),
            "CreatedAt" => at(),
            "CreatedSince" if !self.human => at(),
            "CreatedSince" if item.created <= EPOCH => "N/A".to_owned(),
            "CreatedSince" => format!("{} ago", human_duration(self.view.now - item.created as f64)),
            "CreatedBy" => {
                let text = item.created_by.replace('\t', " ");
                if self.view.truncate { ellipsis(&text, MAX_CREATED_BY_WIDTH) } else { text }
            }
            "Size" if self.human => human_size(item.size, 3),
            "Size" => item.size.to_string(),
            "Comment" => item.comment.clone(),
            _ => return None,
        })
    }
}

impl Object for Row {
    fn type_name(&self) -> &'static str {
        "*image.historyContext"
    }
    fn get(&self, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
        plain(name, self.text(name)?, args)
    }
    fn names(&self) -> &'static [&'static str] {
        &["Comment", "CreatedAt", "CreatedBy", "CreatedSince", "ID", "Size"]
    }
}
