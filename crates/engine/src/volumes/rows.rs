//! The rows of volumes in `tare.db`.

use super::Row;
use crate::error::Result;
use crate::state::{State, decode, encode};
use db::{Migration, Transaction};

/// `owner`: the container that the volume goes with.
pub(crate) const MIGRATION: Migration = Migration {
    component: "volumes",
    version: 1,
    sql: "CREATE TABLE volumes (name TEXT PRIMARY KEY, owner TEXT, record TEXT NOT NULL) STRICT;",
};

impl State {
    pub(super) fn volume(&self, name: &str) -> Result<Option<Row>> {
        let sql = "SELECT record FROM volumes WHERE name = ?1";
        self.durable().read(|t| t.query_one(sql, &[name.into()], |row| decode(&row.text(0)?)))
    }

    pub(super) fn volumes(&self) -> Result<Vec<(String, Row)>> {
        let sql = "SELECT name, record FROM volumes ORDER BY name";
        self.durable().read(|t| t.query(sql, &[], |row| Ok((row.text(0)?, decode(&row.text(1)?)?))))
    }

    pub(super) fn owned_volumes(&self) -> Result<Vec<(String, String)>> {
        let sql = "SELECT name, owner FROM volumes WHERE owner IS NOT NULL";
        self.durable().read(|t| t.query(sql, &[], |row| Ok((row.text(0)?, row.text(1)?))))
    }

    pub(super) fn insert_volume(&self, name: &str, owner: Option<&str>, row: &Row) -> Result<()> {
        let text = encode(row)?;
        let sql = "INSERT INTO volumes VALUES (?1, ?2, ?3)";
        self.durable().write(|t| {
            t.execute(sql, &[name.into(), owner.into(), (&text).into()])?;
            Ok(())
        })
    }

    pub(super) fn delete_volume(&self, name: &str) -> Result<()> {
        self.durable().write(|t| {
            t.execute("DELETE FROM volumes WHERE name = ?1", &[name.into()])?;
            Ok(())
        })
    }

    pub(super) fn disown_volume(&self, name: &str) -> Result<()> {
        self.durable().write(|t| {
            t.execute("UPDATE volumes SET owner = NULL WHERE name = ?1", &[name.into()])?;
            Ok(())
        })
    }

    /// From now on these volumes go with their container, whose end is near.
    pub(crate) fn doom_volumes(&self, container: &str, names: &[String]) -> Result<()> {
        self.durable().write(|t| doom(t, container, names).map_err(Into::into))
    }
}

/// In the transaction that keeps a container: its volumes stay when it goes, unless that is asked for.
pub(crate) fn keep(t: &Transaction<'_>, container: &str) -> db::Result<()> {
    t.execute("UPDATE volumes SET owner = NULL WHERE owner = ?1", &[container.into()]).map(drop)
}

/// In the transaction that removes a container: these volumes go with it.
pub(crate) fn doom(t: &Transaction<'_>, container: &str, names: &[String]) -> db::Result<()> {
    for name in names {
        t.execute("UPDATE volumes SET owner = ?1 WHERE name = ?2", &[container.into(), name.into()])?;
    }
    Ok(())
}
