//! Services that keep data: redis over a removal, PostgreSQL over the loss of power.

use std::time::Duration;

use tests::{Engine, TestHost, on_each_engine, power, wait};

on_each_engine!(redis_keeps_its_volume, postgres_keeps_what_it_acknowledged);

const REDIS: &str = "127.0.0.1:5000/redis";
const POSTGRES: &str = "127.0.0.1:5000/postgres";
/// A database starts slowly on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const CYCLES: u32 = 2;

fn redis_keeps_its_volume(host: &TestHost, engine: Engine) {
    let run = |more: &[&str]| {
        let args = [&["run", "-d", "--name", "redis", "-v", "data:/data", REDIS], more].concat();
        host.cli(engine, &args).ok();
        let up = || redis(host, engine, "ping").stdout == "PONG\n";
        assert!(wait::until(PATIENCE, up), "{}", host.cli(engine, &["logs", "redis"]));
    };
    run(&[]);
    assert_eq!(redis(host, engine, "mset one 1 two 2").ok(), "OK");
    // Stopped in order, it writes its file first.
    host.cli(engine, &["stop", "-t", "30", "redis"]).ok();
    host.cli(engine, &["rm", "redis"]).ok();
    run(&["redis-server", "--protected-mode", "no", "--appendonly", "yes"]);
    // A server that begins to append takes its data from there from now on.
    assert_eq!(redis(host, engine, "mset one 1 two 2 three 3").ok(), "OK");
    host.cli(engine, &["kill", "redis"]).ok();
    host.cli(engine, &["rm", "-v", "redis"]).ok();
    run(&["redis-server", "--protected-mode", "no", "--appendonly", "yes"]);
    assert_eq!(redis(host, engine, "mget one two three").ok(), "1\n2\n3");
    host.cli(engine, &["rm", "-f", "-v", "redis"]).ok();
    assert_eq!(host.cli(engine, &["volume", "ls", "-q"]).ok(), "data");
    // Without a name its volume goes with it.
    host.cli(engine, &["run", "-d", "--name", "other", REDIS]).ok();
    assert_eq!(host.cli(engine, &["volume", "ls", "-q"]).ok().lines().count(), 2);
    host.cli(engine, &["rm", "-f", "-v", "other"]).ok();
    assert_eq!(host.cli(engine, &["volume", "ls", "-q"]).ok(), "data");
}

fn postgres_keeps_what_it_acknowledged(host: &TestHost, engine: Engine) {
    let mount = "pgdata:/var/lib/postgresql/data";
    let run = ["run", "-d", "--name", "pg", "--restart", "always", "-v", mount, "-p", "5432:5432", POSTGRES];
    host.cli(engine, &run).ok();
    is_ready(host, engine);
    sql(host, engine, "create table t (n int)").ok();
    for cycle in 0..CYCLES {
        let first = cycle * 1_000_000;
        let insert = "psql -U postgres -qc \"insert into t values ($i)\" && echo $i";
        let line = format!("$E exec pg sh -c 'i={first}; while {insert}; do i=$((i+1)); done'");
        let writer = host.spawn_with(engine, &line);
        writer.wait_for(&format!("\n{}\n", first + 20));
        power::lose(host, engine);
        let written = writer.stdout();
        let last = written.rsplit('\n').nth(1).and_then(|n| n.parse::<u32>().ok()).expect("a number");
        power::restore(host, engine);
        is_ready(host, engine);
        let lost = format!(
            "select count(*) from generate_series({first}, {last}) as n where n not in (select n from t)"
        );
        assert_eq!(sql(host, engine, &lost).ok(), "0", "acknowledged up to {last}");
    }
    host.cli(engine, &["rm", "-f", "pg"]).ok();
}

fn redis(host: &TestHost, engine: Engine, command: &str) -> tests::Output {
    host.sh_with(engine, &format!("$E exec redis redis-cli {command}"))
}

fn sql(host: &TestHost, engine: Engine, statement: &str) -> tests::Output {
    host.cli(engine, &["exec", "pg", "psql", "-U", "postgres", "-tAc", statement])
}

#[track_caller]
fn is_ready(host: &TestHost, engine: Engine) {
    let ready = wait::until(PATIENCE, || sql(host, engine, "select 1").stdout == "1\n");
    assert!(ready, "{}\n{}", sql(host, engine, "select 1"), host.cli(engine, &["logs", "pg"]));
}
