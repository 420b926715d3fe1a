//! The tables of the store in both databases.

use db::Migration;

/// For `tare.db`: image names, committed snapshots, and active snapshots that outlive a boot.
///
/// `images.name` is a full reference, or `dangling@<digest>` for an image that lost its last name.
/// AUTOINCREMENT because a snapshot's id is its directory: a number must not come back while an
/// older directory of that name may still wait for its deletion.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        component: "store",
        version: 1,
        sql: "CREATE TABLE images (
            name TEXT PRIMARY KEY,
            digest TEXT NOT NULL,
            media_type TEXT NOT NULL,
            size INTEGER NOT NULL,
            labels TEXT NOT NULL,
            created_ns INTEGER NOT NULL,
            updated_ns INTEGER NOT NULL
          ) STRICT;
          CREATE INDEX images_digest ON images (digest);
          CREATE TABLE snapshots (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            chain TEXT NOT NULL UNIQUE,
            parent INTEGER REFERENCES snapshots (id),
            size INTEGER NOT NULL,
            inodes INTEGER NOT NULL,
            created_ns INTEGER NOT NULL
          ) STRICT;
          CREATE INDEX snapshots_parent ON snapshots (parent);
          CREATE TABLE active_snapshots (
            key TEXT PRIMARY KEY,
            parent TEXT,
            volatile INTEGER NOT NULL,
            created_ns INTEGER NOT NULL
          ) STRICT;",
    },
    // Where blobs were pulled from and pushed to: see sources.rs.
    Migration {
        component: "store",
        version: 2,
        sql: "CREATE TABLE blob_sources (
                digest TEXT NOT NULL,
                host TEXT NOT NULL,
                repository TEXT NOT NULL,
                PRIMARY KEY (digest, host, repository)
              ) STRICT, WITHOUT ROWID;",
    },
];

/// For `run.db`: active snapshots that die with the boot, so that making one syncs nothing.
pub const RUN_MIGRATIONS: &[Migration] = &[Migration {
    component: "store",
    version: 1,
    sql: "CREATE TABLE active_snapshots (
            key TEXT PRIMARY KEY,
            parent TEXT,
            volatile INTEGER NOT NULL,
            created_ns INTEGER NOT NULL
          ) STRICT;",
}];
