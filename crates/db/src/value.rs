//! Values in and out of SQLite, so that no other crate names rusqlite's types.

use crate::{Error, Result};
use rusqlite::types::{ToSqlOutput, ValueRef};

/// A value to bind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// SQL NULL.
    Null,
    /// INTEGER.
    Int(i64),
    /// TEXT.
    Text(&'a str),
    /// BLOB.
    Blob(&'a [u8]),
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(text: Option<&'a str>) -> Self {
        text.map_or(Self::Null, Self::Text)
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<bool> for Value<'_> {
    fn from(yes: bool) -> Self {
        Self::Int(i64::from(yes))
    }
}

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// A row of a result; columns count from 0.
#[derive(Debug)]
pub struct Row<'a>(pub(crate) &'a rusqlite::Row<'a>);

impl Row<'_> {
    /// A TEXT column.
    pub fn text(&self, column: usize) -> Result<String> {
        self.opt_text(column)?.ok_or(Error::Column { column, expected: "text" })
    }

    /// A TEXT column that may be NULL.
    pub fn opt_text(&self, column: usize) -> Result<Option<String>> {
        self.0.get(column).map_err(|_| Error::Column { column, expected: "text" })
    }

    /// An INTEGER column.
    pub fn int(&self, column: usize) -> Result<i64> {
        self.opt_int(column)?.ok_or(Error::Column { column, expected: "an integer" })
    }

    /// An INTEGER column that may be NULL.
    pub fn opt_int(&self, column: usize) -> Result<Option<i64>> {
        self.0.get(column).map_err(|_| Error::Column { column, expected: "an integer" })
    }

    /// An INTEGER column that holds 0 or 1.
    pub fn bool(&self, column: usize) -> Result<bool> {
        Ok(self.int(column)? != 0)
    }

    /// A BLOB column.
    pub fn blob(&self, column: usize) -> Result<Vec<u8>> {
        self.0.get(column).map_err(|_| Error::Column { column, expected: "a blob" })
    }
}
