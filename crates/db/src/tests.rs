//! Tests of the module above: what it promises, as cases.

use super::*;

const FIRST: Migration =
    Migration { component: "t", version: 1, sql: "CREATE TABLE t (name TEXT PRIMARY KEY, n INTEGER) STRICT" };
const SECOND: Migration =
    Migration { component: "t", version: 2, sql: "ALTER TABLE t ADD COLUMN extra TEXT" };

fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("tare-db-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir(&path).unwrap();
    path
}

#[test]
fn nobody_else_can_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = folder("mode");
    let path = dir.join("x.db");
    // One from before, by a wide umask.
    std::fs::write(&path, "").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let _open = [path, dir.join("new.db")].map(|path| {
        let db = Database::open(&path, Durability::Durable, &[FIRST]).unwrap();
        db.write(|t| t.execute("INSERT INTO t VALUES ('a', 1)", &[])).unwrap();
        db
    });
    for entry in std::fs::read_dir(&dir).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
    }
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 6, "each with its log and its index");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn rows_migrations_and_names() {
    let dir = folder("rows");
    let path = dir.join("x.db");
    {
        let db = Database::open(&path, Durability::Durable, &[FIRST]).unwrap();
        db.write(|t| t.execute("INSERT INTO t VALUES (?1, ?2)", &["a".into(), 7.into()])).unwrap();
        let e =
            db.write(|t| t.execute("INSERT INTO t VALUES (?1, ?2)", &["a".into(), Value::Null])).unwrap_err();
        assert!(e.is_unique_violation(), "{e}");
    }
    let db = Database::open(&path, Durability::Durable, &[FIRST, SECOND]).unwrap();
    let rows = db
        .read(|t| {
            t.query("SELECT name, n, extra FROM t", &[], |r| {
                Ok::<_, Error>((r.text(0)?, r.int(1)?, r.opt_text(2)?))
            })
        })
        .unwrap();
    assert_eq!(rows, [("a".to_string(), 7, None)]);
    let e = Database::open(&path, Durability::Durable, &[FIRST]).unwrap_err();
    assert!(matches!(e, Error::Newer { found: 2, known: 1, .. }), "{e}");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_failed_transaction_leaves_nothing() {
    let dir = folder("rollback");
    let db = Database::open(&dir.join("x.db"), Durability::Volatile, &[FIRST]).unwrap();
    let failed: std::result::Result<(), Error> = db.write(|t| {
        t.execute("INSERT INTO t VALUES ('x', 1)", &[])?;
        t.execute("INSERT INTO nowhere VALUES (1)", &[])?;
        Ok(())
    });
    assert!(failed.unwrap_err().to_string().contains("nowhere"));
    let count = db.read(|t| t.query_one("SELECT count(*) FROM t", &[], |r| r.int(0))).unwrap();
    assert_eq!(count, Some(0));
    std::fs::remove_dir_all(dir).unwrap();
}

/// Each thread has a connection of its own, as each process has: no increment is lost and none
/// fails, because writers queue at BEGIN IMMEDIATE.
#[test]
fn writers_queue() {
    let dir = folder("writers");
    let path = dir.join("x.db");
    let open = || Database::open(&path, Durability::Volatile, &[FIRST]).unwrap();
    open().write(|t| t.execute("INSERT INTO t VALUES ('n', 0)", &[])).unwrap();
    std::thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                let db = open();
                for _ in 0..50 {
                    db.write(|t| {
                        let n = t.query_one("SELECT n FROM t", &[], |r| r.int(0))?.unwrap();
                        t.execute("UPDATE t SET n = ?1", &[(n + 1).into()])
                    })
                    .unwrap();
                }
            });
        }
    });
    let n = open().read(|t| t.query_one("SELECT n FROM t", &[], |r| r.int(0))).unwrap();
    assert_eq!(n, Some(200));
    std::fs::remove_dir_all(dir).unwrap();
}
