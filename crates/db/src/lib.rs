//! The two databases: open, migrate, transact. The only crate that knows SQLite.
//!
//! `DATA/tare.db` is durable (WAL, synchronous=FULL): what must survive a power loss. `RUN/run.db`
//! is volatile (on tmpfs, synchronous=OFF): what dies with the boot. Several processes use both
//! at once, so that every write transaction is BEGIN IMMEDIATE (a read transaction that wants to
//! write later fails at once, whatever the busy timeout says) and short: no exec, netlink or
//! network I/O inside one. A connection must not cross a fork.
//!
//! This crate does not know what is stored: each owner brings its own [`Migration`]s and SQL.

mod value;

pub use value::{Row, Value};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use rustix::fs::{CWD, FileType, Mode};
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a transaction waits for another process's.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// NFS_SUPER_MAGIC (statfs(2)): SQLite's locks and shared memory do not work there.
const NFS_SUPER_MAGIC: i64 = 0x6969;

/// What happens to a committed transaction when the power fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It is kept: WAL with synchronous=FULL.
    Durable,
    /// It may go, the database is for this boot only: synchronous=OFF.
    Volatile,
}

/// One step of one owner's schema. Steps of an owner run in order of their version, once.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// Whose tables these are ("store", "engine").
    pub component: &'static str,
    /// Counts from 1 without gaps.
    pub version: i64,
    /// Statements, separated by semicolons.
    pub sql: &'static str,
}

/// What can go wrong with a database.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database cannot be opened.
    #[error("cannot open database {path:?}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// It lies on NFS.
    #[error("{path:?} is on NFS, where the database cannot be kept; use a local file system")]
    Nfs {
        /// The file.
        path: PathBuf,
    },
    /// Others could read it, and its mode cannot be changed.
    #[error("cannot make database {path:?} private")]
    Mode {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Errno,
    },
    /// A newer program wrote it.
    #[error(
        "database {path:?} was written by a newer version (schema {component} {found}, known {known}); upgrade this program"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Whose schema.
        component: &'static str,
        /// The version found.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// A statement failed.
    #[error("database statement failed: {sql}")]
    Statement {
        /// Its beginning.
        sql: String,
        /// Why.
        source: rusqlite::Error,
    },
    /// A row does not hold what its owner expects.
    #[error("database column {column} does not hold {expected}")]
    Column {
        /// The column's index in the query.
        column: usize,
        /// What was expected.
        expected: &'static str,
    },
}

/// What this crate's functions return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Whether a UNIQUE or PRIMARY KEY constraint refused the statement: somebody has the name.
    pub fn is_unique_violation(&self) -> bool {
        matches!(self, Self::Statement { source: rusqlite::Error::SqliteFailure(e, _), .. }
            if e.code == ErrorCode::ConstraintViolation)
    }

    /// Whether the disk is full.
    pub fn is_disk_full(&self) -> bool {
        let (Self::Statement { source, .. } | Self::Open { source, .. }) = self else { return false };
        matches!(source, rusqlite::Error::SqliteFailure(e, _) if e.code == ErrorCode::DiskFull)
    }
}

/// An open database: one connection, used by one thread at a time.
#[derive(Debug)]
pub struct Database {
    connection: Mutex<Connection>,
}

impl Database {
    /// Opens the database at `path`, making it (0600) and bringing its schema up to date.
    pub fn open(path: &Path, durability: Durability, migrations: &[Migration]) -> Result<Self> {
        refuse_nfs(path)?;
        keep_private(path)?;
        let open_error = |source| Error::Open { path: path.to_path_buf(), source };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let mut connection = Connection::open_with_flags(path, flags).map_err(open_error)?;
        configure(&connection, durability).map_err(open_error)?;
        migrate(&mut connection, path, migrations)?;
        Ok(Self { connection: Mutex::new(connection) })
    }

    /// Runs `work` in a transaction that may write; it is committed when `work` returns `Ok`.
    pub fn write<T, E: From<Error>>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let mut connection = self.lock();
        let begun = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|e| statement("BEGIN IMMEDIATE", e))?;
        let transaction = Transaction(begun);
        let value = work(&transaction)?;
        transaction.0.commit().map_err(|e| statement("COMMIT", e))?;
        Ok(value)
    }

    /// Runs `work` on one consistent view; it must not write.
    pub fn read<T, E: From<Error>>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let mut connection = self.lock();
        let begun = connection
            .transaction_with_behavior(TransactionBehavior::Deferred)
            .map_err(|e| statement("BEGIN", e))?;
        work(&Transaction(begun))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic inside a transaction rolled it back when it unwound: the connection is sound.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running transaction.
#[derive(Debug)]
pub struct Transaction<'a>(rusqlite::Transaction<'a>);

impl Transaction<'_> {
    /// Runs one statement with `?1, ?2, …` bound; returns how many rows it changed.
    pub fn execute(&self, sql: &str, values: &[Value<'_>]) -> Result<usize> {
        let run = || {
            let mut prepared = self.0.prepare_cached(sql)?;
            prepared.execute(rusqlite::params_from_iter(values))
        };
        run().map_err(|e| statement(sql, e))
    }

    /// Runs a query and maps each row.
    pub fn query<T, E: From<Error>>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        mut map: impl FnMut(&Row<'_>) -> std::result::Result<T, E>,
    ) -> std::result::Result<Vec<T>, E> {
        let mut prepared = self.0.prepare_cached(sql).map_err(|e| statement(sql, e))?;
        let mut rows = prepared.query(rusqlite::params_from_iter(values)).map_err(|e| statement(sql, e))?;
        let mut mapped = Vec::new();
        while let Some(row) = rows.next().map_err(|e| statement(sql, e))? {
            mapped.push(map(&Row(row))?);
        }
        Ok(mapped)
    }

    /// The first row of a query, if any.
    pub fn query_one<T, E: From<Error>>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        map: impl FnMut(&Row<'_>) -> std::result::Result<T, E>,
    ) -> std::result::Result<Option<T>, E> {
        Ok(self.query(sql, values, map)?.into_iter().next())
    }

    /// The row id of the last INSERT.
    pub fn last_insert_id(&self) -> i64 {
        self.0.last_insert_rowid()
    }
}

fn configure(connection: &Connection, durability: Durability) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let (synchronous, log_pages) = match durability {
        // A checkpoint syncs twice.
        Durability::Durable => ("FULL", 256),
        Durability::Volatile => ("OFF", 32),
    };
    // Only the first process pays for the switch to WAL: the mode is kept in the file.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    // The last process to close would checkpoint, on a path that a person waits for.
    connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // The first process after that reads the whole log again (wal.html, "recovery"): it is kept short.
    connection.pragma_update(None, "wal_autocheckpoint", log_pages)?;
    Ok(())
}

fn migrate(connection: &mut Connection, path: &Path, migrations: &[Migration]) -> Result<()> {
    if pending(connection, path, migrations).is_ok_and(|p| p.is_empty()) {
        return Ok(());
    }
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|e| statement("BEGIN IMMEDIATE", e))?;
    let table =
        "CREATE TABLE IF NOT EXISTS schema (component TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT";
    transaction.execute_batch(table).map_err(|e| statement(table, e))?;
    // Looked at again under the write lock: another process may have been first.
    for migration in pending(&transaction, path, migrations)? {
        transaction.execute_batch(migration.sql).map_err(|e| statement(migration.sql, e))?;
        let note = "INSERT INTO schema VALUES (?1, ?2) ON CONFLICT (component) DO UPDATE SET version = ?2";
        transaction
            .execute(note, (migration.component, migration.version))
            .map_err(|e| statement(note, e))?;
    }
    transaction.commit().map_err(|e| statement("COMMIT", e))
}

/// The migrations that this database has not seen yet, in order.
fn pending<'m>(
    connection: &Connection,
    path: &Path,
    migrations: &'m [Migration],
) -> Result<Vec<&'m Migration>> {
    let sql = "SELECT component, version FROM schema";
    let mut prepared = connection.prepare(sql).map_err(|e| statement(sql, e))?;
    let rows = prepared.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)));
    let have = rows.and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>).map_err(|e| statement(sql, e))?;
    let version_of =
        |component: &str| have.iter().find(|(name, _)| name == component).map_or(0, |(_, version)| *version);
    for m in migrations {
        let known =
            migrations.iter().filter(|o| o.component == m.component).map(|o| o.version).max().unwrap_or(0);
        let found = version_of(m.component);
        if found > known {
            return Err(Error::Newer { path: path.to_path_buf(), component: m.component, found, known });
        }
    }
    Ok(migrations.iter().filter(|m| m.version > version_of(m.component)).collect())
}

/// SQLite would make the file by the process's umask; its log and index get the mode of the file (`findCreateFileMode`
/// of os_unix.c). The file is not opened for this: closing it would drop the locks of another connection of this
/// process (fcntl(2), "Advisory record locking"). What is no regular file is SQLite's to refuse.
fn keep_private(path: &Path) -> Result<()> {
    let private = Mode::RUSR | Mode::WUSR;
    let changed = match rustix::fs::lstat(path) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
            let others = Mode::from_raw_mode(stat.st_mode).intersects(Mode::RWXG | Mode::RWXO);
            if others { rustix::fs::chmod(path, private) } else { Ok(()) }
        }
        Err(Errno::NOENT) => match rustix::fs::mknodat(CWD, path, FileType::RegularFile, private, 0) {
            // Another process was first. A missing folder is the open's error to tell.
            Err(Errno::EXIST | Errno::NOENT) => Ok(()),
            other => other,
        },
        _ => Ok(()),
    };
    changed.map_err(|source| Error::Mode { path: path.to_path_buf(), source })
}

fn refuse_nfs(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    match rustix::fs::statfs(folder) {
        Ok(stat) if stat.f_type == NFS_SUPER_MAGIC => Err(Error::Nfs { path: path.to_path_buf() }),
        // A missing folder is the open's error to tell.
        _ => Ok(()),
    }
}

fn statement(sql: &str, source: rusqlite::Error) -> Error {
    Error::Statement { sql: sql.chars().take(120).collect(), source }
}

#[cfg(test)]
mod tests;
