//! The real shim with real containers. Needs root and cgroups; everything lives in a temporary folder, in
//! namespaces of the containers' own and below a cgroup of the test's own.

mod place;
mod rotation;

use place::{Place, Wanted};
use shim::client::{Connection, Incoming};
use shim::exit::ExitRecord;
use shim::protocol::{Event, ExecStdio, FailureKind, Request, Response};
use std::io::{Read, Write};
use std::time::Duration;

pub(crate) const LIMIT: Option<Duration> = Some(Duration::from_secs(30));

/// How the container ended, as the engine learns it: told by the shim, or read when that is gone already.
pub(crate) fn exited(place: &Place, connection: &mut Connection) -> ExitRecord {
    match connection.call(&Request::Wait, &[], LIMIT) {
        Ok((Response::Exited(record), _)) => record,
        Err(shim::Error::Closed) => place.exit_json().unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn exit_codes_signals_and_the_log() {
    for (args, code, signal, log) in [
        (&["exit", "0"][..], 0, None, ""),
        (&["exit", "7"], 7, None, ""),
        (&["say", "out\n", "err\n"], 0, None, "out\n|err\n"),
        (&["say", "no end", ""], 0, None, "no end"),
        // In the host's pid namespace: pid 1 of its own ignores what it does not handle, whoever sends it.
        (&["sleep", "600"], 143, Some(15), ""),
        (&["sleep", "600"], 137, Some(9), ""),
    ] {
        let place = Place::new();
        let mut c = place.launch(&Wanted { host_pid: signal == Some(15), ..Wanted::args(args) });
        place.start(&mut c);
        if let Some(signal) = signal {
            c.call(&Request::Kill { signal, all: false, exec_id: None }, &[], LIMIT).unwrap();
        }
        let record = exited(&place, &mut c);
        assert_eq!((record.exit_code, record.signal, record.error.as_str()), (code, signal, ""), "{args:?}");
        assert!(!record.oom_killed && record.finished_at_ns >= record.started_at_ns);
        assert_eq!(place.exit_json(), Some(record));
        let mut lines = place.log_texts();
        lines.sort_by_key(|l| l.starts_with("err"));
        assert_eq!(lines.join("|"), log, "{args:?}");
        drop(c);
        place.is_clean();
    }
}

#[test]
fn a_failure_leaves_nothing() {
    for (args, kind, text) in [
        (&["/nothing"][..], FailureKind::NoSuchFile, "no such file or directory"),
        (&["nothing"], FailureKind::NotFound, "executable file not found in $PATH"),
        (&["/proc"], FailureKind::IsDirectory, "is a directory"),
    ] {
        let place = Place::new();
        let mut c = place.launch(&Wanted { program: Some(args), ..Wanted::default() });
        let failed = c.call(&Request::Create, &[], LIMIT).and_then(|_| c.call(&Request::Start, &[], LIMIT));
        match failed {
            Err(shim::Error::Refused(failure)) => {
                assert!(failure.message.contains(text), "{args:?}: {failure:?}");
                assert_eq!(failure.kind, kind, "{failure:?}");
            }
            other => panic!("{args:?}: {other:?}"),
        }
        assert!(matches!(c.recv(LIMIT), Err(shim::Error::Closed)));
        assert_eq!(place.exit_json(), None);
        place.is_clean();
    }
}

#[test]
fn attached_input_and_output() {
    let place = Place::new();
    let mut c = place.launch(&Wanted { open_stdin: true, stdin_once: true, ..Wanted::args(&["cat"]) });
    c.call(&Request::Create, &[], LIMIT).unwrap();
    let mut stream = place.attach(&mut c);
    c.call(&Request::Start, &[], LIMIT).unwrap();
    let big = vec![b'y'; 300_000];
    let mut writer = stream.try_clone().unwrap();
    let to_write = big.clone();
    let thread = std::thread::spawn(move || {
        writer.write_all(&to_write).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    thread.join().unwrap();
    let (out, err) = place::unframe(&bytes);
    assert!(out == big && err.is_empty(), "{} bytes came back", out.len());
    assert_eq!(exited(&place, &mut c).exit_code, 0);
    place.is_clean();
}

#[test]
fn stdin_stays_open_unless_once() {
    let place = Place::new();
    let mut c = place.launch(&Wanted { open_stdin: true, ..Wanted::args(&["cat"]) });
    c.call(&Request::Create, &[], LIMIT).unwrap();
    c.call(&Request::Start, &[], LIMIT).unwrap();
    for text in ["one\n", "two\n"] {
        let mut stream = place.attach(&mut c);
        stream.write_all(text.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut frame = vec![0; 8 + text.len()];
        stream.read_exact(&mut frame).unwrap();
        assert_eq!(place::unframe(&frame).0, text.as_bytes());
    }
    c.call(&Request::Kill { signal: 9, all: true, exec_id: None }, &[], LIMIT).unwrap();
    assert_eq!(exited(&place, &mut c).exit_code, 137);
    assert_eq!(place.log_texts().concat(), "one\ntwo\n");
}

#[test]
fn a_terminal() {
    let place = Place::new();
    let mut c =
        place.launch(&Wanted { tty: true, open_stdin: true, host_pid: true, ..Wanted::args(&["terminal"]) });
    c.call(&Request::Create, &[], LIMIT).unwrap();
    c.call(&Request::Resize { exec_id: None, width: 91, height: 33 }, &[], LIMIT).unwrap();
    let mut stream = place.attach(&mut c);
    c.call(&Request::Start, &[], LIMIT).unwrap();
    let mut bytes = [0; 15];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes[..14]), "Some((91, 33))");
    // ^C reaches the foreground process of the terminal.
    stream.write_all(&[3]).unwrap();
    assert_eq!(exited(&place, &mut c).signal, Some(2));
    assert_eq!(place.log_texts().first().map(String::as_str), Some("Some((91, 33))\r\n"));
    place.is_clean();
}

#[test]
fn an_orphan_does_not_hold_the_exit() {
    for own_pid_namespace in [true, false] {
        let place = Place::new();
        let mut c = place.launch(&Wanted { host_pid: !own_pid_namespace, ..Wanted::args(&["orphan"]) });
        place.start(&mut c);
        assert_eq!(exited(&place, &mut c).exit_code, 0);
        assert_eq!(place.log_texts().concat(), "left\n");
        drop(c);
        place.is_clean();
    }
}

/// Who cleans up may ask to be called again, by its exit code or with the release: the shim keeps the time and
/// holds nothing of the container's meanwhile.
#[test]
fn the_time_until_a_restart() {
    // The first call asks for 200 ms and leaves "1"; the second one leaves "2".
    const TWICE: &str = "if [ -e 1 ]; then touch 2; else touch 1; exit 101; fi";
    for supervised in [false, true] {
        let place = Place::new();
        let mut c = place.launch(&Wanted { helper: Some(TWICE), ..Wanted::args(&["exit", "3"]) });
        c.call(&Request::Create, &[], LIMIT).unwrap();
        if supervised {
            c.call(&Request::Supervise, &[], LIMIT).unwrap();
        }
        c.call(&Request::Start, &[], LIMIT).unwrap();
        let began = std::time::Instant::now();
        if supervised {
            while !matches!(c.recv(LIMIT), Ok(Incoming::Event(Event::Exited(_)))) {}
            std::fs::write(place.data("1"), "").unwrap();
            c.call(&Request::Release { again_after_ms: Some(200) }, &[], LIMIT).unwrap();
        }
        drop(c);
        place.wait_until(|| place.data("1").exists() && !shim::client::is_alive(&place.run_dir()).unwrap());
        place.wait_until(|| place.data("2").exists());
        assert!(began.elapsed() >= Duration::from_millis(200));
        place.is_clean();
        place.wait_until(|| place.is_gone());
    }
    // One that asks for nothing is not called again.
    let place = Place::new();
    let mut c = place.launch(&Wanted { helper: Some("echo >>calls"), ..Wanted::args(&["exit", "3"]) });
    place.start(&mut c);
    exited(&place, &mut c);
    drop(c);
    place.wait_until(|| place.is_gone());
    assert_eq!(std::fs::read_to_string(place.data("calls")).unwrap(), "\n");
}

#[test]
fn a_reader_that_stops_is_cut_off() {
    let place = Place::new();
    let mut c = place.launch(&Wanted::args(&["spew", "20"]));
    c.call(&Request::Create, &[], LIMIT).unwrap();
    let mut stopped = place.attach(&mut c);
    let mut reads = place.attach(&mut c);
    c.call(&Request::Start, &[], LIMIT).unwrap();
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        reads.read_to_end(&mut bytes).unwrap();
        place::unframe(&bytes).0.len()
    });
    assert_eq!(exited(&place, &mut c).exit_code, 0);
    assert_eq!(reader.join().unwrap(), 20_000_000);
    assert_eq!(place.log_texts().iter().map(String::len).sum::<usize>(), 20_000_000);
    let mut bytes = Vec::new();
    stopped.read_to_end(&mut bytes).unwrap();
    let (out, _) = place::unframe(&bytes);
    assert!(out.len() < 2_000_000);
    assert!(String::from_utf8_lossy(&bytes).ends_with("see the container's log\n"));
}

#[test]
fn a_slow_reader_gets_everything() {
    let place = Place::new();
    let mut c = place.launch(&Wanted::args(&["spew", "1"]));
    c.call(&Request::Create, &[], LIMIT).unwrap();
    let mut stream = place.attach(&mut c);
    c.call(&Request::Start, &[], LIMIT).unwrap();
    // Nobody else holds the shim: it stays for the reader alone, beyond the end of the container.
    drop(c);
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 50_000];
    loop {
        std::thread::sleep(Duration::from_millis(20));
        match stream.read(&mut buffer).unwrap() {
            0 => break,
            n => bytes.extend_from_slice(&buffer[..n]),
        }
    }
    assert_eq!(place::unframe(&bytes).0.len(), 1_000_000);
}

#[test]
fn the_same_folder_again_and_again() {
    let place = Place::new();
    for code in [3, 4, 5] {
        let mut c = place.launch(&Wanted::args(&["exit", &code.to_string()]));
        assert_eq!(place.exit_json(), None);
        c.call(&Request::Supervise, &[], LIMIT).unwrap();
        place.start(&mut c);
        assert_eq!(exited(&place, &mut c).exit_code, code);
        // The lock is free although this shim still waits for its supervisor.
    }
}

#[test]
fn the_story_is_told() {
    let place = Place::new();
    let path = place.run_dir().join("trace");
    let sink = std::fs::OpenOptions::new().create(true).append(true).open(&path).unwrap();
    let mut c = place.launch(&Wanted { trace: Some(sink.into()), ..Wanted::args(&["exit", "0"]) });
    place.start(&mut c);
    exited(&place, &mut c);
    let story = std::fs::read_to_string(path).unwrap();
    for step in ["shim cgroup", "shim mount namespace", "cgroup", "process", "exit record"] {
        assert!(story.contains(&format!("\"step\":\"{step}\"")), "{step}: {story}");
    }
    assert!(story.lines().all(|l| serde_json::from_str::<serde_json::Value>(l).is_ok()));
}

#[test]
fn execs() {
    let place = Place::new();
    let mut c = place.launch(&Wanted::args(&["sleep", "600"]));
    place.start(&mut c);
    for n in 0..40 {
        let process = place.process(&["exit", &n.to_string()], false);
        let request =
            Request::Exec { exec_id: format!("e{n}"), process, stdio: ExecStdio::default(), trace: false };
        assert!(matches!(c.call(&request, &[], LIMIT).unwrap().0, Response::ExecStarted { .. }));
    }
    for n in 0..40 {
        let (response, _) = c.call(&Request::ExecWait { exec_id: format!("e{n}") }, &[], LIMIT).unwrap();
        assert_eq!(response, Response::ExecExited { exit_code: n });
    }
    // Bytes go straight to the caller.
    let all = ExecStdio { stdin: true, stdout: true, stderr: true };
    let request = Request::Exec {
        exec_id: "cat".into(),
        process: place.process(&["cat"], false),
        stdio: all,
        trace: false,
    };
    let (_, fds) = c.call(&request, &[], LIMIT).unwrap();
    let mut files: Vec<std::fs::File> = fds.into_iter().map(Into::into).collect();
    assert_eq!(files.len(), 3);
    let mut stdin = files.remove(0);
    stdin.write_all(b"through").unwrap();
    drop(stdin);
    let mut text = String::new();
    files[0].read_to_string(&mut text).unwrap();
    assert_eq!(text, "through");
    // What cannot be executed.
    let request = Request::Exec {
        exec_id: "bad".into(),
        process: Box::new(oci::runtime::Process {
            args: vec!["nothing".into()],
            ..*place.process(&[], false)
        }),
        stdio: ExecStdio::default(),
        trace: false,
    };
    match c.call(&request, &[], LIMIT) {
        Err(shim::Error::Refused(failure)) => assert_eq!(failure.kind, FailureKind::NotFound, "{failure:?}"),
        other => panic!("{other:?}"),
    }
    // A terminal, its size, a signal.
    let request = Request::Exec {
        exec_id: "tty".into(),
        process: place.process(&["terminal"], true),
        stdio: ExecStdio::default(),
        trace: false,
    };
    let (_, fds) = c.call(&request, &[], LIMIT).unwrap();
    assert_eq!(fds.len(), 1);
    c.call(&Request::Resize { exec_id: Some("tty".into()), width: 10, height: 20 }, &[], LIMIT).unwrap();
    c.call(&Request::Kill { signal: 15, all: false, exec_id: Some("tty".into()) }, &[], LIMIT).unwrap();
    let (response, _) = c.call(&Request::ExecWait { exec_id: "tty".into() }, &[], LIMIT).unwrap();
    assert_eq!(response, Response::ExecExited { exit_code: 143 });
    // The container's end ends its execs.
    let request = Request::Exec {
        exec_id: "long".into(),
        process: place.process(&["sleep", "600"], false),
        stdio: ExecStdio::default(),
        trace: false,
    };
    c.call(&request, &[], LIMIT).unwrap();
    let waiting = c.send(&Request::ExecWait { exec_id: "long".into() }, &[]).unwrap();
    c.call(&Request::Kill { signal: 9, all: false, exec_id: None }, &[], LIMIT).unwrap();
    assert_eq!(exited(&place, &mut c).exit_code, 137);
    match c.recv(LIMIT).unwrap() {
        Incoming::Response { id, response, .. } => {
            assert_eq!((id, response), (waiting, Response::ExecExited { exit_code: 137 }));
        }
        other => panic!("{other:?}"),
    }
    place.is_clean();
}

#[test]
fn out_of_memory_is_told() {
    let place = Place::new();
    let mut c = place.launch(&Wanted { memory: Some(16 << 20), ..Wanted::args(&["eat", "64"]) });
    c.call(&Request::Supervise, &[], LIMIT).unwrap();
    place.start(&mut c);
    let record = exited(&place, &mut c);
    assert!(record.oom_killed && record.exit_code == 137, "{record:?}");
    let mut exited = false;
    while !exited {
        match c.recv(LIMIT).unwrap() {
            Incoming::Event(Event::Exited(told)) => {
                assert_eq!(told, record);
                exited = true;
            }
            Incoming::Event(Event::Oom) => {}
            other => panic!("{other:?}"),
        }
    }
    c.call(&Request::Release { again_after_ms: None }, &[], LIMIT).unwrap();
    assert!(matches!(c.recv(LIMIT), Err(shim::Error::Closed)));
    assert!(!place.exit_command_ran());
    place.is_clean();
}

#[test]
fn somebody_runs_exited() {
    // (supervised, the supervisor leaves without a word) → the exit command runs.
    for (supervise, runs) in [(false, true), (true, true)] {
        let place = Place::new();
        let mut c = place.launch(&Wanted { exit_command: true, ..Wanted::args(&["sleep", "600"]) });
        place.start(&mut c);
        if supervise {
            c.call(&Request::Supervise, &[], LIMIT).unwrap();
        }
        let mut other = Connection::connect(&place.run_dir()).unwrap();
        drop(c);
        let kill = Request::Kill { signal: 9, all: false, exec_id: None };
        other.call(&kill, &[], LIMIT).unwrap();
        assert_eq!(exited(&place, &mut other).exit_code, 137);
        place.wait_until(|| place.exit_command_ran() == runs);
        place.is_clean();
    }
}

#[test]
fn a_lost_shim_is_found_by_its_lock() {
    let place = Place::new();
    let mut c = place.launch(&Wanted::args(&["sleep", "600"]));
    let pid = place.start(&mut c);
    assert!(shim::client::is_alive(&place.run_dir()).unwrap());
    place.kill_shim();
    assert!(matches!(c.recv(LIMIT), Err(shim::Error::Closed)));
    place.wait_until(|| !shim::client::is_alive(&place.run_dir()).unwrap());
    assert!(matches!(Connection::connect(&place.run_dir()), Err(shim::Error::NoShim(_))));
    assert_eq!(place.exit_json(), None);
    // PDEATHSIG is a hint; here the program leaves it alone.
    place.wait_until(|| !std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn the_world_of_a_shim() {
    let place = Place::new();
    let mut c = place.launch(&Wanted::args(&["sleep", "600"]));
    let pid = place.start(&mut c);
    let shim = place.shim_pid();
    let read = |name: &str| std::fs::read(format!("/proc/{shim}/{name}")).unwrap();
    assert!(read("environ").is_empty());
    assert_eq!(String::from_utf8_lossy(&read("comm")).trim(), "tare-shim");
    assert_eq!(std::fs::read_link(format!("/proc/{shim}/cwd")).unwrap(), std::path::Path::new("/"));
    let cgroups = String::from_utf8(read("cgroup")).unwrap();
    assert!(cgroups.lines().all(|l| l.ends_with("/shim")), "{cgroups}");
    let own = std::fs::read_link("/proc/self/ns/mnt").unwrap();
    assert_ne!(std::fs::read_link(format!("/proc/{shim}/ns/mnt")).unwrap(), own);
    let score = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    assert_eq!(score.trim(), "0");
    let mode =
        std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(place.run_dir().join("shim.sock")).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    // The container has nothing of the shim's descriptors.
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    assert_eq!(fds, 3);
    // A second shim is refused, and says so.
    match place.try_launch(&Wanted::args(&["exit", "0"])) {
        Err(shim::Error::Refused(failure)) => {
            assert!(failure.message.contains("already running"), "{failure:?}")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_shim_that_nobody_talks_to_sleeps() {
    let place = Place::new();
    let mut c = place.launch(&Wanted { tty: true, open_stdin: true, ..Wanted::args(&["sleep", "600"]) });
    place.start(&mut c);
    drop(place.attach(&mut c));
    drop(c);
    // Let it see the ends of both, then count: a loop that turns would switch and burn.
    let shim = place.shim_pid();
    let switches = || -> u64 {
        std::fs::read_to_string(format!("/proc/{shim}/status"))
            .unwrap()
            .lines()
            .filter_map(|l| l.split_once("voluntary_ctxt_switches:")?.1.trim().parse::<u64>().ok())
            .sum()
    };
    let ticks = || -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{shim}/stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let resident = || -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{shim}/statm")).unwrap();
        text.split(' ').nth(1).unwrap().parse().unwrap()
    };
    // What it needed to start goes back to the kernel.
    let at_start = resident();
    place.wait_until(|| resident() < at_start / 2);
    let before = (switches(), ticks());
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!((switches(), ticks()), before);
}

#[test]
fn nobody_wanted_it() {
    for create in [false, true] {
        let place = Place::new();
        let mut c = place.launch(&Wanted::args(&["exit", "0"]));
        if create {
            c.call(&Request::Create, &[], LIMIT).unwrap();
            c.call(&Request::Abort, &[], LIMIT).unwrap();
        }
        drop(c);
        place.is_clean();
    }
}

#[test]
fn ipv6_is_spliced_to_the_container() {
    let place = Place::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let std::net::SocketAddr::V4(target) = listener.local_addr().unwrap() else { panic!() };
    let echo = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        stream.write_all(&bytes).unwrap();
    });
    let (socket, address) = place::bound_v6();
    let mut c = place.launch(&Wanted { port: Some((socket, target)), ..Wanted::args(&["sleep", "600"]) });
    assert!(std::net::TcpStream::connect(address).is_err(), "listens before the start");
    place.start(&mut c);
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let data: Vec<u8> = (0..5_000_000u32).map(|n| n as u8).collect();
    let mut writer = stream.try_clone().unwrap();
    let to_write = data.clone();
    let thread = std::thread::spawn(move || {
        writer.write_all(&to_write).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    thread.join().unwrap();
    echo.join().unwrap();
    assert!(back == data);
    c.call(&Request::Kill { signal: 9, all: false, exec_id: None }, &[], LIMIT).unwrap();
    exited(&place, &mut c);
    assert!(std::net::TcpStream::connect(address).is_err(), "listens after the exit");
}

/// Published ports lead elsewhere while the container runs: TCP and datagrams, held only, and served again.
#[test]
fn ports_lead_elsewhere() {
    use shim::config::{Port, Proto};
    use std::net::{SocketAddr, UdpSocket};
    use std::os::fd::AsFd;
    let place = Place::new();
    let echo = |name: &'static str| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                let _ = socket.send_to(format!("{name} {text}").as_bytes(), from);
            }
        });
        address
    };
    let (one, two) = (echo("one"), echo("two"));
    let mut c = place.launch(&Wanted::args(&["sleep", "600"]));
    place.start(&mut c);
    let held = UdpSocket::bind("[::1]:0").unwrap();
    let address = held.local_addr().unwrap();
    let port = |splice_to: Option<SocketAddr>| Request::Publish {
        ports: vec![Port { proto: Proto::Udp, splice_to }],
    };
    assert!(
        c.call(&Request::Publish { ports: Vec::new() }, &[held.as_fd()], LIMIT).is_err(),
        "one is missing"
    );
    c.call(&port(Some(one)), &[held.as_fd()], LIMIT).unwrap();
    drop(held);
    let clients: Vec<UdpSocket> = (0..3).map(|_| UdpSocket::bind("[::1]:0").unwrap()).collect();
    let ask = |client: &UdpSocket, word: &str| {
        client.connect(address).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        client.send(word.as_bytes()).unwrap();
        let mut buffer = [0; 64];
        let length = client.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    for (n, client) in clients.iter().enumerate() {
        assert_eq!(ask(client, &n.to_string()), format!("one {n}"));
    }
    c.call(&port(Some(two)), &[], LIMIT).unwrap();
    assert_eq!(ask(&clients[0], "again"), "two again");
    c.call(&port(None), &[], LIMIT).unwrap();
    assert!(UdpSocket::bind(address).is_err(), "still held");
    c.call(&port(Some(one)), &[], LIMIT).unwrap();
    assert_eq!(ask(&clients[1], "back"), "one back");
    c.call(&Request::Kill { signal: 9, all: false, exec_id: None }, &[], LIMIT).unwrap();
    exited(&place, &mut c);
    UdpSocket::bind(address).unwrap();
}

/// A starter that is killed before the program ran takes the container with it; one that is killed later does not.
#[test]
fn a_starter_that_dies_before_the_program_ran() {
    let place = Place::new();
    let mut c = place.launch(&Wanted::args(&["cat"]));
    // Not waited for: it dies while init sets itself up.
    c.send(&Request::Create, &[]).unwrap();
    drop(c);
    place.is_clean();
    let place = Place::new();
    let mut c = place.launch(&Wanted::args(&["cat"]));
    c.call(&Request::Create, &[], LIMIT).unwrap();
    // Somebody else who looks does not keep it.
    let mut other = Connection::connect(&place.run_dir()).unwrap();
    assert!(matches!(other.call(&Request::State, &[], LIMIT), Ok((Response::State { .. }, _))));
    drop(c);
    assert!(matches!(other.recv(LIMIT), Err(shim::Error::Closed)));
    place.is_clean();
    assert_eq!(place.exit_json(), None);
    let place = Place::new();
    let mut c = place.launch(&Wanted { open_stdin: true, ..Wanted::args(&["cat"]) });
    c.call(&Request::Create, &[], LIMIT).unwrap();
    c.send(&Request::Start, &[]).unwrap();
    drop(c);
    std::thread::sleep(Duration::from_millis(300));
    let mut other = Connection::connect(&place.run_dir()).unwrap();
    let (state, _) = other.call(&Request::State, &[], LIMIT).unwrap();
    assert!(
        matches!(state, Response::State { status: shim::protocol::TaskStatus::Running, .. }),
        "{state:?}"
    );
    other.call(&Request::Kill { signal: 9, all: true, exec_id: None }, &[], LIMIT).unwrap();
    assert_eq!(exited(&place, &mut other).exit_code, 137);
}
