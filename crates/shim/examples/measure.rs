//! What a shim costs: microseconds of each step, memory when idle, output speed and CPU. Run as root with
//! the programs of the `runtime` profile: `measure [ROUNDS | hold]`. Prints figures, asserts nothing.

#[path = "../tests/real/place.rs"]
#[allow(dead_code, reason = "the tests look at more")]
mod place;

use place::{Place, Wanted};
use shim::client::Connection;
use shim::protocol::{ExecStdio, Request, Response};
use std::io::Read;
use std::time::{Duration, Instant};

const LIMIT: Option<Duration> = Some(Duration::from_secs(60));
/// Idle containers whose memory is looked at together: their program's pages are shared.
const IDLE: usize = 20;

fn main() {
    if std::env::args().nth(1).as_deref() == Some("hold") {
        return hold();
    }
    let rounds = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(50);
    lifecycle(rounds);
    execs(rounds);
    idle();
    for attached in [false, true] {
        output(attached);
    }
}

/// One idle container to look at.
fn hold() {
    let place = Place::new();
    let mut c = place.launch(&Wanted::args(&["sleep", "600"]));
    place.start(&mut c);
    println!("{}", place.shim_pid());
    std::thread::sleep(Duration::from_secs(20));
}

fn call(c: &mut Connection, request: &Request) -> Response {
    c.call(request, &[], LIMIT).expect("the shim answers").0
}

fn print(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let (min, median) = (times[0].as_micros(), times[times.len() / 2].as_micros());
    println!("{name:<28} min {min:>6} µs  median {median:>6} µs");
}

fn lifecycle(rounds: usize) {
    let mut times: [Vec<Duration>; 5] = Default::default();
    for _ in 0..rounds {
        let place = Place::new();
        let begin = Instant::now();
        let mut c = place.launch(&Wanted { volatile: true, ..Wanted::args(&["exit", "0"]) });
        let launched = begin.elapsed();
        call(&mut c, &Request::Supervise);
        let now = Instant::now();
        call(&mut c, &Request::Create);
        times[1].push(now.elapsed());
        let wait = c.send(&Request::Wait, &[]).expect("sent");
        let now = Instant::now();
        call(&mut c, &Request::Start);
        times[2].push(now.elapsed());
        let now = Instant::now();
        while !matches!(c.recv(LIMIT), Ok(shim::client::Incoming::Response { id, .. }) if id == wait) {}
        times[3].push(now.elapsed());
        times[4].push(begin.elapsed());
        times[0].push(launched);
        call(&mut c, &Request::Release { again_after_ms: None });
    }
    for (name, times) in ["launch", "create", "start", "exit told", "all of it"].into_iter().zip(times) {
        print(name, times);
    }
}

fn execs(rounds: usize) {
    let place = Place::new();
    let mut c = place.launch(&Wanted::args(&["sleep", "600"]));
    place.start(&mut c);
    let (mut started, mut ended) = (Vec::new(), Vec::new());
    for n in 0..rounds {
        let exec_id = n.to_string();
        let process = place.process(&["exit", "0"], false);
        let now = Instant::now();
        call(
            &mut c,
            &Request::Exec { exec_id: exec_id.clone(), process, stdio: ExecStdio::default(), trace: false },
        );
        started.push(now.elapsed());
        call(&mut c, &Request::ExecWait { exec_id });
        ended.push(now.elapsed());
    }
    print("exec started", started);
    print("exec ended", ended);
    std::thread::sleep(Duration::from_millis(1500));
    println!("{:<28} {} kB PSS", "after them, idle again", memory(place.shim_pid()).0);
}

fn idle() {
    let places: Vec<(Place, Connection)> = (0..IDLE)
        .map(|_| {
            let place = Place::new();
            let mut c = place.launch(&Wanted::args(&["sleep", "600"]));
            place.start(&mut c);
            (place, c)
        })
        .collect();
    std::thread::sleep(Duration::from_millis(1500));
    let all: Vec<(u64, u64)> = places.iter().map(|(p, _)| memory(p.shim_pid())).collect();
    let (pss, private) = all.iter().fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
    println!(
        "{:<28} {} kB PSS, {} kB private dirty each, of {IDLE}",
        "idle",
        pss / IDLE as u64,
        private / IDLE as u64
    );
    let one = places.into_iter().next().expect("there are some");
    std::thread::sleep(Duration::from_millis(200));
    let (pss, private) = memory(one.0.shim_pid());
    println!("{:<28} {pss} kB PSS, {private} kB private dirty", "idle, alone");
}

fn output(attached: bool) {
    const MEGABYTES: usize = 200;
    let place = Place::new();
    let mut c = place.launch(&Wanted::args(&["spew", &MEGABYTES.to_string()]));
    call(&mut c, &Request::Supervise);
    call(&mut c, &Request::Create);
    let reader = attached.then(|| {
        let mut stream = place.attach(&mut c);
        std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 20];
            while stream.read(&mut buffer).is_ok_and(|n| n > 0) {}
        })
    });
    let shim = place.shim_pid();
    let wait = c.send(&Request::Wait, &[]).expect("sent");
    let now = Instant::now();
    call(&mut c, &Request::Start);
    while !matches!(c.recv(LIMIT), Ok(shim::client::Incoming::Response { id, .. }) if id == wait) {}
    let seconds = now.elapsed().as_secs_f64();
    let cpu = cpu_ms(shim);
    call(&mut c, &Request::Release { again_after_ms: None });
    if let Some(reader) = reader {
        reader.join().expect("the reader ends");
    }
    let (user, system) = cpu;
    let name = if attached { "output, logged + attached" } else { "output, logged" };
    let per = |ms: u64| ms as f64 / MEGABYTES as f64;
    let speed = MEGABYTES as f64 / seconds;
    println!(
        "{name:<28} {speed:.0} MB/s, {:.2} ms user + {:.2} ms system of shim CPU per MB",
        per(user),
        per(system)
    );
}

/// PSS and private dirty memory in kB.
fn memory(pid: i32) -> (u64, u64) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("smaps_rollup");
    let value = |key: &str| {
        text.lines().find_map(|l| l.strip_prefix(key)?.trim().split(' ').next()?.parse().ok()).unwrap_or(0)
    };
    (value("Pss:"), value("Private_Dirty:"))
}

/// User and system time in milliseconds (clock ticks of 10 ms).
fn cpu_ms(pid: i32) -> (u64, u64) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
    let fields: Vec<&str> = text.rsplit(") ").next().unwrap_or("").split(' ').collect();
    let ticks = |n: usize| fields[n].parse::<u64>().unwrap_or(0) * 10;
    (ticks(11), ticks(12))
}
