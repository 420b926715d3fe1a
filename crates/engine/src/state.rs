//! The records: containers (durable, or volatile for `--rm`), running tasks, addresses.
//!
//! Containers that are removed at their end live in `run.db`, so that `run --rm` syncs nothing;
//! the others in `tare.db`. A name is unique over both: whoever makes a container takes the write
//! lock of `tare.db` first and looks into both. Lock order is always `tare.db`, then `run.db`.

use crate::config::{ContainerConfig, HostConfig};
use crate::error::{Error, Kind, Result};
use crate::mounts::MountPoint;
use crate::paths::Paths;
use db::{Database, Durability, Migration, Value};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};
use sys::clock::Time;

const CONTAINERS: &str = "CREATE TABLE containers (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created INTEGER NOT NULL, record TEXT NOT NULL) STRICT;";

const DURABLE: &[Migration] = &[Migration { component: "engine", version: 1, sql: CONTAINERS }];

const VOLATILE: &[Migration] = &[
    Migration { component: "engine", version: 1, sql: CONTAINERS },
    Migration {
        component: "engine",
        version: 2,
        sql: "CREATE TABLE tasks (id TEXT PRIMARY KEY, task TEXT NOT NULL) STRICT;
              CREATE TABLE addresses (network TEXT NOT NULL, address INTEGER NOT NULL, container TEXT, freed INTEGER,
                  PRIMARY KEY (network, address)) STRICT;
              CREATE TABLE execs (id TEXT PRIMARY KEY, container TEXT NOT NULL, record TEXT NOT NULL) STRICT;
              CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;",
    },
];

/// A container as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Without the slash.
    pub name: String,
    /// When it was made (nanoseconds since the epoch).
    pub created_ns: i64,
    /// Digest of the image's manifest or index.
    pub image_id: String,
    /// Its architecture.
    pub architecture: String,
    /// The manifest that the container was made of.
    #[serde(default)]
    pub image_manifest: Option<oci::Descriptor>,
    /// The chain id of its image's top layer; `None` for an image without layers.
    pub chain: Option<String>,
    /// The configuration with the image's merged in.
    pub config: ContainerConfig,
    /// What the host gives.
    pub host: HostConfig,
    /// What is mounted into it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<MountPoint>,
    /// How the last run went.
    #[serde(default)]
    pub last: LastRun,
    /// Its networks by name; `None`: the one of its mode, of which it wants nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub networks: Option<std::collections::BTreeMap<String, crate::networks::Membership>>,
}

impl Record {
    /// The program and its arguments: entry point, then command.
    pub fn argv(&self) -> Vec<String> {
        let parts = [&self.config.entrypoint, &self.config.cmd];
        parts.into_iter().flatten().flatten().cloned().collect()
    }
}

/// The last run that ended (all zero: none yet).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LastRun {
    /// Nanoseconds since the epoch; 0 = never started.
    pub started_ns: i64,
    /// Nanoseconds since the epoch; 0 = never ended.
    pub finished_ns: i64,
    /// Docker's exit code.
    pub exit_code: i32,
    /// The kernel's OOM killer ended a process of it.
    pub oom_killed: bool,
    /// Why it could not be started.
    pub error: String,
    /// How often its restart policy has started it since somebody else did.
    pub restarts: i64,
    /// Somebody has stopped or killed it since it was started.
    pub stopped_by_hand: bool,
    /// What its health checks have found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<shim::health::Health>,
}

/// A task: what is true of a container only while it runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// The process that starts it, until it runs: pid and start time.
    pub owner: Option<(i32, u64)>,
    /// Pid of the container's init on the host; 0 until it runs.
    pub pid: i32,
    /// Start time of that pid, so that it is never mistaken.
    pub pid_start: u64,
    /// Nanoseconds since the epoch.
    pub started_ns: i64,
    /// Its places in networks.
    #[serde(default)]
    pub endpoints: Vec<TaskEndpoint>,
    /// The sockets of published ports that its shim holds, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<PublishedPort>,
    /// Its cgroup, below each hierarchy's root.
    pub cgroup: String,
    /// It does not run: it is due to run again at that time (nanoseconds since boot).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_ns: Option<u64>,
    /// The delay before this run, when a restart policy started it (milliseconds).
    #[serde(default)]
    pub delay_ms: u64,
    /// Its policy shall not start it again.
    #[serde(default)]
    pub cancelled: bool,
    /// Somebody has stopped or killed it.
    #[serde(default)]
    pub stopped_by_hand: bool,
    /// Its processes are frozen.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// They are frozen only while this process (pid and start time) reads their files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen_by: Option<(i32, u64)>,
    /// It is stopped to be started again: `--rm` waits for another end.
    #[serde(default)]
    pub kept: bool,
    /// Volumes that are mounted on the host for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounted: Vec<String>,
    /// The container whose network it is in, when that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined: Option<String>,
    /// The links that it was started with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<crate::config::Link>,
}

impl Task {
    /// The endpoint that the default route goes by, to which ports are published; else the first.
    pub(crate) fn primary(&self) -> Option<&TaskEndpoint> {
        let routed = |e: &&TaskEndpoint| e.default_route || e.default_route6;
        self.endpoints.iter().find(routed).or(self.endpoints.first())
    }
}

/// A container's place in a bridge network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskEndpoint {
    /// The network's id.
    pub network: String,
    /// The network's name.
    pub network_name: String,
    /// The interface's name inside.
    pub link: String,
    /// Whether the default route goes by it.
    pub default_route: bool,
    /// Nothing goes out of its network.
    pub internal: bool,
    /// The highest one's gateway is the container's.
    pub priority: i64,
    /// Address, where the network has IPv4.
    pub address: Option<std::net::Ipv4Addr>,
    /// Prefix length.
    pub prefix: u8,
    /// Gateway.
    pub gateway: Option<std::net::Ipv4Addr>,
    /// Address, where the network has IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address6: Option<std::net::Ipv6Addr>,
    /// Its prefix length.
    #[serde(default)]
    pub prefix6: u8,
    /// Gateway of IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway6: Option<std::net::Ipv6Addr>,
    /// Whether the default route of IPv6 goes by it.
    #[serde(default)]
    pub default_route6: bool,
    /// Hardware address.
    pub mac: String,
    /// The host's end of the pair.
    pub host_link: String,
    /// Docker's endpoint id.
    pub endpoint_id: String,
    /// What is published.
    pub ports: Vec<PublishedPort>,
}

impl TaskEndpoint {
    /// Its addresses, IPv4's first.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = std::net::IpAddr> {
        self.address.map(Into::into).into_iter().chain(self.address6.map(Into::into))
    }
}

/// One published port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    /// Host address.
    pub host: std::net::SocketAddr,
    /// Container port.
    pub container_port: u16,
    /// `tcp` or `udp`.
    pub protocol: String,
}

/// Both databases.
#[derive(Debug)]
pub struct State {
    durable: Arc<Database>,
    run: OnceLock<Arc<Database>>,
    run_path: std::path::PathBuf,
}

impl State {
    pub(crate) fn open(paths: &Paths) -> Result<Self> {
        let others = store::MIGRATIONS
            .iter()
            .chain([&crate::volumes::MIGRATION, &crate::networks::records::MIGRATION]);
        let migrations: Vec<Migration> = DURABLE.iter().chain(others).copied().collect();
        let durable = Database::open(&paths.data.join("tare.db"), Durability::Durable, &migrations)?;
        Ok(Self { durable: Arc::new(durable), run: OnceLock::new(), run_path: paths.run.join("run.db") })
    }

    pub(crate) fn durable(&self) -> &Arc<Database> {
        &self.durable
    }

    pub(crate) fn run(&self) -> Result<&Arc<Database>> {
        if let Some(run) = self.run.get() {
            return Ok(run);
        }
        let own = VOLATILE.iter().chain([&crate::networks::records::RUN_MIGRATION]);
        let migrations: Vec<Migration> = own.chain(store::RUN_MIGRATIONS).copied().collect();
        let opened = Database::open(&self.run_path, Durability::Volatile, &migrations)?;
        Ok(self.run.get_or_init(|| Arc::new(opened)))
    }

    /// Keeps a new container; [`Kind::Conflict`] with Docker's text when the name is in use.
    pub(crate) fn insert(&self, record: &Record) -> Result<()> {
        let text = encode(record)?;
        let values: [Value<'_>; 4] =
            [(&record.id).into(), (&record.name).into(), record.created_ns.into(), (&text).into()];
        let insert = "INSERT INTO containers VALUES (?1, ?2, ?3, ?4)";
        self.with_free_name(record, |target| {
            target.execute(insert, &values)?;
            // A `--rm` container's volumes go with it.
            if record.host.auto_remove { Ok(()) } else { crate::volumes::keep(target, &record.id) }
        })
    }

    /// Keeps a container's new name; conflicts as with [`State::insert`].
    pub(crate) fn rename(&self, record: &Record) -> Result<()> {
        let text = encode(record)?;
        let sql = "UPDATE containers SET name = ?2, record = ?3 WHERE id = ?1";
        let values: [Value<'_>; 3] = [(&record.id).into(), (&record.name).into(), (&text).into()];
        self.with_free_name(record, |target| target.execute(sql, &values).map(drop))
    }

    /// Works on the container's database while nobody else can take its name, in either of them.
    fn with_free_name(
        &self,
        record: &Record,
        work: impl FnOnce(&db::Transaction<'_>) -> db::Result<()>,
    ) -> Result<()> {
        let select = "SELECT id FROM containers WHERE name = ?1";
        let run = self.run()?;
        self.durable.write(|durable| {
            run.write(|volatile| {
                let name = [Value::from(&record.name)];
                for transaction in [durable, volatile] {
                    if let Some(id) =
                        transaction.query_one(select, &name, |row| row.text(0).map_err(Error::from))?
                    {
                        return Err(name_in_use(&record.name, &id));
                    }
                }
                work(if record.host.auto_remove { volatile } else { durable })?;
                Ok(())
            })
        })
    }

    /// Replaces a container's record; nothing happens when it is gone.
    pub(crate) fn update(&self, record: &Record) -> Result<()> {
        let text = encode(record)?;
        let sql = "UPDATE containers SET name = ?2, record = ?3 WHERE id = ?1";
        self.of(record)?.write(|t| {
            t.execute(sql, &[(&record.id).into(), (&record.name).into(), (&text).into()])?;
            Ok(())
        })
    }

    /// Forgets a container; these volumes go with it, which is then the caller's work.
    pub(crate) fn delete(&self, record: &Record, volumes: &[String]) -> Result<()> {
        if record.host.auto_remove && !volumes.is_empty() {
            self.doom_volumes(&record.id, volumes)?;
        }
        self.of(record)?.write(|t| {
            if !record.host.auto_remove {
                crate::volumes::doom(t, &record.id, volumes)?;
            }
            t.execute("DELETE FROM containers WHERE id = ?1", &[(&record.id).into()])?;
            Ok(())
        })
    }

    fn of(&self, record: &Record) -> Result<&Arc<Database>> {
        if record.host.auto_remove { self.run() } else { Ok(&self.durable) }
    }

    /// All containers, newest first.
    pub(crate) fn containers(&self) -> Result<Vec<Record>> {
        let mut all = Vec::new();
        self.each_container(|record| {
            all.push(record);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(all)
    }

    /// Shows `visit` each container, newest first, until it breaks off. A record is large: one is decoded at a time.
    pub(crate) fn each_container(
        &self,
        mut visit: impl FnMut(Record) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let mut rows: Vec<(i64, String)> = Vec::new();
        for database in [self.durable(), self.run()?] {
            let sql = "SELECT created, record FROM containers";
            let row = |row: &db::Row<'_>| Ok::<_, Error>((row.int(0)?, row.text(1)?));
            rows.append(&mut database.read(|t| t.query(sql, &[], row))?);
        }
        rows.sort_by_key(|(created_ns, _)| std::cmp::Reverse(*created_ns));
        for (_, text) in rows {
            if visit(decode(&text)?)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The containers that have links to others.
    pub(crate) fn linking(&self) -> Result<Vec<Record>> {
        // A row says nothing of links when it has none; in a label's text the quotes would be escaped.
        let sql = r#"SELECT record FROM containers WHERE instr(record, '"links":[{') > 0"#;
        let mut all = Vec::new();
        for database in [self.durable(), self.run()?] {
            let row = |row: &db::Row<'_>| decode::<Record>(&row.text(0)?);
            all.append(&mut database.read(|t| t.query(sql, &[], row))?);
        }
        Ok(all)
    }

    /// Finds a container by full id, name (with or without slash) or unambiguous id prefix, in
    /// this order, as Docker does.
    pub(crate) fn find(&self, word: &str) -> Result<Record> {
        let name = word.strip_prefix('/').unwrap_or(word);
        let exact = "SELECT record FROM containers WHERE id = ?1 OR name = ?2";
        let mut by_prefix = Vec::new();
        for database in [self.durable(), self.run()?] {
            let found = database
                .read(|t| t.query_one(exact, &[word.into(), name.into()], |row| decode(&row.text(0)?)))?;
            if let Some(record) = found {
                return Ok(record);
            }
            if word.len() < 64 && !word.is_empty() && word.bytes().all(|b| b.is_ascii_hexdigit()) {
                // Hexadecimal digits only, so that nothing in it is a wildcard.
                let like = format!("{word}%");
                let sql = "SELECT record FROM containers WHERE id LIKE ?1 LIMIT 2";
                by_prefix.extend(
                    database
                        .read(|t| t.query(sql, &[(&like).into()], |row| decode::<Record>(&row.text(0)?)))?,
                );
            }
        }
        match by_prefix.len() {
            1 => Ok(by_prefix.swap_remove(0)),
            0 => match name.split_once('/') {
                Some((parent, alias)) => self.find_linked(word, parent, alias),
                None => Err(Error::not_found(format!("No such container: {word}"))),
            },
            _ => Err(Error::invalid(format!("Multiple IDs found with provided prefix: {word}"))),
        }
    }

    /// By the name of a link, `PARENT/ALIAS`.
    fn find_linked(&self, word: &str, parent: &str, alias: &str) -> Result<Record> {
        let gone = || Error::not_found(format!("No such container: {word}"));
        let parent = if parent.contains('/') { Err(gone()) } else { self.find(parent).map_err(|_| gone()) }?;
        let link = parent.host.links.iter().find(|link| link.alias == alias).ok_or_else(gone)?;
        self.find(&link.container).map_err(|_| gone())
    }

    /// Those that run with a link to a container, which their tasks name.
    pub(crate) fn tasks_linked_to(&self, id: &str) -> Result<Vec<String>> {
        let sql = "SELECT id FROM tasks WHERE id <> ?1 AND instr(task, ?2) > 0";
        let mark = format!("\"container\":\"{id}\"");
        self.run()?.read(|t| t.query(sql, &[id.into(), (&mark).into()], |row| Ok(row.text(0)?)))
    }

    /// Whether somebody runs in a container's network.
    pub(crate) fn is_joined(&self, id: &str) -> Result<bool> {
        let sql = "SELECT 1 FROM tasks WHERE id <> ?1 AND instr(task, ?2) > 0 LIMIT 1";
        let mark = format!("\"joined\":\"{id}\"");
        let found = self.run()?.read(|t| {
            t.query_one(sql, &[id.into(), (&mark).into()], |row| row.int(0).map_err(Error::from))
        })?;
        Ok(found.is_some())
    }

    pub(crate) fn task(&self, id: &str) -> Result<Option<Task>> {
        let sql = "SELECT task FROM tasks WHERE id = ?1";
        self.run()?.read(|t| t.query_one(sql, &[id.into()], |row| decode(&row.text(0)?)))
    }

    pub(crate) fn tasks(&self) -> Result<Vec<(String, Task)>> {
        self.run()?.read(|t| {
            t.query("SELECT id, task FROM tasks", &[], |row| Ok((row.text(0)?, decode(&row.text(1)?)?)))
        })
    }

    pub(crate) fn put_task(&self, id: &str, task: &Task) -> Result<()> {
        let text = encode(task)?;
        let sql = "INSERT INTO tasks VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET task = ?2";
        self.run()?.write(|t| {
            t.execute(sql, &[id.into(), (&text).into()])?;
            Ok(())
        })
    }

    pub(crate) fn setting(&self, key: &str) -> Result<Option<String>> {
        let sql = "SELECT value FROM settings WHERE key = ?1";
        self.run()?.read(|t| t.query_one(sql, &[key.into()], |row| Ok(row.text(0)?)))
    }

    pub(crate) fn set_setting(&self, key: &str, value: &str) -> Result<()> {
        self.run()?.write(|t| {
            t.execute("INSERT OR REPLACE INTO settings VALUES (?1, ?2)", &[key.into(), value.into()])?;
            Ok(())
        })
    }

    pub(crate) fn put_exec(&self, id: &str, container: &str, record: &str) -> Result<()> {
        let sql = "INSERT INTO execs VALUES (?1, ?2, ?3) ON CONFLICT (id) DO UPDATE SET record = ?3";
        self.run()?.write(|t| {
            t.execute(sql, &[id.into(), container.into(), record.into()])?;
            Ok(())
        })
    }

    pub(crate) fn exec<T: for<'de> Deserialize<'de>>(&self, id: &str) -> Result<Option<T>> {
        let sql = "SELECT record FROM execs WHERE id = ?1";
        self.run()?.read(|t| t.query_one(sql, &[id.into()], |row| decode(&row.text(0)?)))
    }

    /// Changes an exec's record by `change`, with nobody else between reading and writing; `false` when it is gone.
    pub(crate) fn change_exec<T: Serialize + for<'de> Deserialize<'de>>(
        &self,
        id: &str,
        mut change: impl FnMut(&mut T),
    ) -> Result<bool> {
        let sql = "SELECT record FROM execs WHERE id = ?1";
        self.run()?.write(|t| -> Result<bool> {
            let found: Result<Option<T>> = t.query_one(sql, &[id.into()], |row| decode(&row.text(0)?));
            let Some(mut record) = found? else { return Ok(false) };
            change(&mut record);
            let text = encode(&record)?;
            t.execute("UPDATE execs SET record = ?2 WHERE id = ?1", &[id.into(), (&text).into()])?;
            Ok(true)
        })
    }

    /// Forgets those execs of a container of which `is_old` says so.
    pub(crate) fn forget_execs<T: for<'de> Deserialize<'de>>(
        &self,
        container: &str,
        is_old: impl Fn(&T) -> bool,
    ) -> Result<()> {
        let sql = "SELECT id, record FROM execs WHERE container = ?1";
        let all: Vec<(String, T)> = self.run()?.read(|t| {
            t.query(sql, &[container.into()], |row| -> Result<_> {
                Ok((row.text(0)?, decode(&row.text(1)?)?))
            })
        })?;
        let old: Vec<String> = all.into_iter().filter(|(_, r)| is_old(r)).map(|(id, _)| id).collect();
        if old.is_empty() {
            return Ok(());
        }
        self.run()?.write(|t| -> Result<()> {
            for id in &old {
                t.execute("DELETE FROM execs WHERE id = ?1", &[id.into()])?;
            }
            Ok(())
        })
    }

    pub(crate) fn exec_ids(&self, container: &str) -> Result<Vec<String>> {
        let sql = "SELECT id FROM execs WHERE container = ?1";
        self.run()?.read(|t| t.query(sql, &[container.into()], |row| Ok(row.text(0)?)))
    }

    /// Forgets a task with its execs, and frees its addresses; `next` takes its place.
    pub(crate) fn end_task(&self, id: &str, next: Option<&Task>) -> Result<()> {
        let freed = i64::try_from(sys::clock::monotonic_ns()).unwrap_or(i64::MAX);
        let next = next.map(encode).transpose()?;
        self.run()?.write(|t| {
            let free = "UPDATE addresses SET container = NULL, freed = ?2 WHERE container = ?1";
            t.execute(free, &[id.into(), freed.into()])?;
            t.execute("DELETE FROM execs WHERE container = ?1", &[id.into()])?;
            match &next {
                Some(next) => {
                    t.execute("UPDATE tasks SET task = ?2 WHERE id = ?1", &[id.into(), next.into()])?
                }
                None => t.execute("DELETE FROM tasks WHERE id = ?1", &[id.into()])?,
            };
            Ok(())
        })
    }

    /// Forgets everything in `run.db`: it is of another boot.
    pub(crate) fn forget_boot(&self) -> Result<()> {
        self.run()?.write(|t| {
            for table in ["containers", "tasks", "addresses", "execs", "settings"] {
                t.execute(&format!("DELETE FROM {table}"), &[])?;
            }
            Ok(())
        })
    }
}

/// Docker's text; the id is the holder's.
fn name_in_use(name: &str, id: &str) -> Error {
    Error::conflict(format!(
        "Conflict. The container name \"/{name}\" is already in use by container \"{id}\". You have to remove (or rename) that container to be able to reuse that name."
    ))
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::new(Kind::Internal, format!("encode a record: {e}")))
}

pub(crate) fn decode<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| Error::new(Kind::Internal, format!("decode a record: {e}")))
}

/// A time of a record as Docker prints it; 0 is Go's zero time.
pub fn time_text(ns: i64) -> String {
    if ns == 0 { Time::ZERO_TEXT.to_string() } else { Time(ns).rfc3339() }
}
