//! Image names: which name stands for which manifest or index.
//!
//! A row's target is what its name was resolved to: the index when the registry gave an index. The
//! target's digest is the image's id. An image that loses its last name to another one stays as a
//! *dangling* row, so that its containers and its id still find it; only `delete` takes it away.
//! The store does not look into targets here: a row may be written before or after its content.

use crate::error::{Error, Result};
use db::{Database, Row, Transaction};
use oci::{Descriptor, Digest, Reference};
use std::collections::BTreeMap;
use std::sync::Arc;
use sys::clock::Time;

/// Free text attached to an image row (the builder's parent, the loader's origin).
pub type Labels = BTreeMap<String, String>;

const DANGLING: &str = "dangling@";
const COLUMNS: &str = "name, digest, media_type, size, labels, created_ns, updated_ns";

/// A row: a name (or none) and its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The name; `None` when it is dangling.
    pub name: Option<Reference>,
    /// The manifest or index.
    pub target: Descriptor,
    /// Labels of the row, not of the image's configuration.
    pub labels: Labels,
    /// When the name was first given.
    pub created: Time,
    /// When the name was last moved.
    pub updated: Time,
}

impl Image {
    /// The image's id.
    pub fn id(&self) -> &Digest {
        &self.target.digest
    }
}

/// What giving a name changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Put {
    /// The target that had the name before, when it is another one.
    pub replaced: Option<Digest>,
    /// Whether that target lost its last name by this and is dangling now.
    pub dangling: bool,
    /// Whether name and target were there already.
    pub unchanged: bool,
}

/// The image names of a data root.
#[derive(Debug, Clone)]
pub struct ImageStore {
    database: Arc<Database>,
}

impl ImageStore {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        ImageStore { database }
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// Gives `target` a name, or makes it a dangling image. One transaction: nobody sees the name
    /// without a target, or the old target without a row.
    pub fn put(&self, name: Option<&Reference>, target: &Descriptor, labels: &Labels) -> Result<Put> {
        let text = name.map_or_else(|| dangling(&target.digest), row_name);
        let labels = encode_labels(labels)?;
        self.database.write(|t| {
            let mut put = Put::default();
            if name.is_none() && count(t, &target.digest)? > 0 {
                put.unchanged = true;
                return Ok(put);
            }
            let old = t.query_one(&select("name = ?1"), &[(&text).into()], image)?;
            if let Some(old) = &old {
                if old.target.digest == target.digest {
                    put.unchanged = true;
                } else {
                    put.replaced = Some(old.target.digest.clone());
                    put.dangling = count(t, &old.target.digest)? == 1;
                    if put.dangling {
                        insert(t, &dangling(&old.target.digest), &old.target, &encode_labels(&old.labels)?)?;
                    }
                }
            }
            if !put.unchanged {
                insert(t, &text, target, &labels)?;
            }
            if name.is_some() {
                t.execute("DELETE FROM images WHERE name = ?1", &[(&dangling(&target.digest)).into()])?;
            }
            Ok(put)
        })
    }

    /// The image of this name (with its tag or digest, as given to `put`).
    pub fn get(&self, name: &Reference) -> Result<Option<Image>> {
        self.select_one("name = ?1", &row_name(name))
    }

    /// All rows of this target, named ones first.
    pub fn by_digest(&self, digest: &Digest) -> Result<Vec<Image>> {
        let mut found = self.select("digest = ?1 ORDER BY name", digest.as_str())?;
        found.sort_by_key(|i| i.name.is_none());
        Ok(found)
    }

    /// All rows whose target's digest begins so: `prefix` is hex, with or without `sha256:`.
    pub fn by_prefix(&self, prefix: &str) -> Result<Vec<Image>> {
        let hex = prefix.strip_prefix("sha256:").unwrap_or(prefix);
        if hex.is_empty() || hex.len() > 64 || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(Vec::new());
        }
        // No wildcard can stand in hex digits.
        self.select("digest LIKE ?1 || '%' ORDER BY name", &format!("sha256:{hex}"))
    }

    /// All rows.
    pub fn list(&self) -> Result<Vec<Image>> {
        self.select("?1 = '' ORDER BY created_ns DESC, name", "")
    }

    /// All rows with this label.
    pub fn with_label(&self, key: &str, value: &str) -> Result<Vec<Image>> {
        let mut all = self.list()?;
        all.retain(|i| i.labels.get(key).is_some_and(|v| v == value));
        Ok(all)
    }

    /// Takes a name away; whether it was there. The target gets no dangling row: what is not named is
    /// collected.
    pub fn delete(&self, name: &Reference) -> Result<bool> {
        let name = row_name(name);
        let n =
            self.database.write(|t| t.execute("DELETE FROM images WHERE name = ?1", &[(&name).into()]))?;
        Ok(n > 0)
    }

    /// Takes these names away; a target that loses its last one by it stays as a dangling image.
    pub fn untag(&self, names: &[Reference]) -> Result<()> {
        self.database.write(|t| {
            for name in names {
                let name = row_name(name);
                let Some(old) = t.query_one(&select("name = ?1"), &[(&name).into()], image)? else {
                    continue;
                };
                t.execute("DELETE FROM images WHERE name = ?1", &[(&name).into()])?;
                if count(t, &old.target.digest)? == 0 {
                    insert(t, &dangling(&old.target.digest), &old.target, &encode_labels(&old.labels)?)?;
                }
            }
            Ok(())
        })
    }

    /// Takes all names of a target away, and its dangling row; returns what was there.
    pub fn delete_target(&self, digest: &Digest) -> Result<Vec<Image>> {
        self.database.write(|t| {
            let found = t.query(&select("digest = ?1"), &[digest.as_str().into()], image)?;
            t.execute("DELETE FROM images WHERE digest = ?1", &[digest.as_str().into()])?;
            Ok(found)
        })
    }

    /// Gives a row labels, replacing those it had.
    pub fn set_labels(&self, name: &Reference, labels: &Labels) -> Result<bool> {
        let (name, labels) = (row_name(name), encode_labels(labels)?);
        let sql = "UPDATE images SET labels = ?2 WHERE name = ?1";
        Ok(self.database.write(|t| t.execute(sql, &[(&name).into(), (&labels).into()]))? > 0)
    }

    fn select(&self, condition: &str, value: &str) -> Result<Vec<Image>> {
        self.database.read(|t| t.query(&select(condition), &[value.into()], image))
    }

    fn select_one(&self, condition: &str, value: &str) -> Result<Option<Image>> {
        self.database.read(|t| t.query_one(&select(condition), &[value.into()], image))
    }
}

/// How a reference stands in the table: with `latest` when it has neither tag nor digest.
fn row_name(name: &Reference) -> String {
    name.clone().or_latest().to_string()
}

fn dangling(digest: &Digest) -> String {
    format!("{DANGLING}{digest}")
}

fn select(condition: &str) -> String {
    format!("SELECT {COLUMNS} FROM images WHERE {condition}")
}

fn count(t: &Transaction<'_>, digest: &Digest) -> Result<i64> {
    let sql = "SELECT count(*) FROM images WHERE digest = ?1";
    Ok(t.query_one::<_, Error>(sql, &[digest.as_str().into()], |r| Ok(r.int(0)?))?.unwrap_or(0))
}

fn insert(t: &Transaction<'_>, name: &str, target: &Descriptor, labels: &str) -> Result<()> {
    let sql = "INSERT INTO images VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)
               ON CONFLICT (name) DO UPDATE SET digest = ?2, media_type = ?3, size = ?4, labels = ?5, updated_ns = ?6";
    t.execute(
        sql,
        &[
            name.into(),
            target.digest.as_str().into(),
            (&target.media_type).into(),
            target.size.cast_signed().into(),
            labels.into(),
            Time::now().0.into(),
        ],
    )?;
    Ok(())
}

fn image(row: &Row<'_>) -> Result<Image> {
    let name = row.text(0)?;
    let digest = Digest::parse(&row.text(1)?)?;
    let name = if name.starts_with(DANGLING) { None } else { Some(Reference::parse_full(&name)?) };
    let labels = row.text(4)?;
    let labels =
        serde_json::from_str(&labels).map_err(|source| oci::Error::Json { what: "image labels", source })?;
    Ok(Image {
        name,
        target: Descriptor::new(row.text(2)?, digest, row.int(3)?.cast_unsigned()),
        labels,
        created: Time(row.int(5)?),
        updated: Time(row.int(6)?),
    })
}

fn encode_labels(labels: &Labels) -> Result<String> {
    Ok(serde_json::to_string(labels).map_err(|source| oci::Error::Json { what: "image labels", source })?)
}

#[cfg(test)]
mod tests;
