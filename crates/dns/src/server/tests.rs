//! Queries, answers and the time, without a socket.

use super::*;
use crate::names::Place;
use crate::wire::tests::query;
use crate::wire::{PLAIN_UDP, TYPE_A, TYPE_AAAA, TYPE_PTR};
use proptest::prelude::*;
use std::sync::atomic::{AtomicU32, Ordering};

fn random() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(77);
    let number = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b1);
    (number ^ (number >> 15)).wrapping_mul(0x85eb_ca6b) >> 7
}

const MS: u64 = 1_000_000;
const CLIENT: Client = Client::Udp(SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4000));

fn upstream(last: u8) -> Upstream {
    Upstream { address: ([192, 0, 2, last], 53).into(), side: Side::Host }
}

struct Bench {
    server: Server,
    view: View,
    tables: Vec<Names>,
    upstreams: Vec<Upstream>,
}

/// (attempt, upstream, id, message)
type Asked = Vec<(u32, Upstream, u16, Vec<u8>)>;

impl Bench {
    fn new(upstreams: &[u8]) -> Self {
        let view =
            View { networks: vec![Place { file: "aa".into(), name: "net".into() }], ..View::default() };
        let table = b"web 10.0.0.2\nsix fd00::2\nmany 10.0.0.2 10.0.0.3 10.0.0.4 fd00::2\n";
        Self {
            server: Server::new(random),
            view,
            tables: vec![Names::parse(table)],
            upstreams: upstreams.iter().copied().map(upstream).collect(),
        }
    }

    fn query(&mut self, now: u64, client: Client, message: &[u8]) {
        let world = World { view: &self.view, tables: &self.tables, upstreams: &self.upstreams };
        self.server.on_query(now, client, message, &world);
    }

    /// Answers to the client and questions to upstreams.
    fn outputs(&mut self) -> (Vec<Vec<u8>>, Asked) {
        let (mut answers, mut asked) = (Vec::new(), Vec::new());
        for output in self.server.outputs() {
            match output {
                Output::Answer { message, .. } => answers.push(message),
                Output::Ask { attempt, upstream, message, .. } => {
                    asked.push((attempt, upstream, u16::from_be_bytes([message[0], message[1]]), message));
                }
                Output::Forget { .. } => {}
            }
        }
        (answers, asked)
    }

    fn ask_local(&mut self, name: &str, kind: u16) -> Vec<u8> {
        self.query(0, CLIENT, &query(7, name, kind, None));
        let (mut answers, asked) = self.outputs();
        assert!(asked.is_empty(), "{name} was forwarded");
        answers.pop().unwrap()
    }
}

/// An answer of an upstream: its code and one byte that tells it from others.
fn answer(id: u16, name: &str, code: u8, mark: u8) -> Vec<u8> {
    let message = query(id, name, TYPE_A, None);
    let q = Query::parse(&message).unwrap();
    match code {
        wire::NOERROR => q.with_addresses(&message, &[IpAddr::from([9, 9, 9, mark])], PLAIN_UDP),
        code => q.with_code(&message, code),
    }
}

fn count(message: &[u8]) -> u16 {
    u16::from_be_bytes([message[6], message[7]])
}

#[test]
fn names_are_answered_here() {
    let mut bench = Bench::new(&[1]);
    for (name, kind, records) in [
        ("web", TYPE_A, 1),
        ("WEB", TYPE_A, 1),
        ("web.net", TYPE_A, 1),
        ("web", TYPE_AAAA, 0),
        ("six", TYPE_A, 0),
        ("six", TYPE_AAAA, 1),
        ("many", wire::TYPE_ANY, 4),
        ("web", 15, 0),
        ("2.0.0.10.in-addr.arpa", TYPE_PTR, 1),
    ] {
        let answer = bench.ask_local(name, kind);
        assert_eq!((wire::code(&answer), count(&answer)), (wire::NOERROR, records), "{name} {kind}");
    }
    let firsts: std::collections::BTreeSet<u8> = (0..100)
        .map(|_| {
            let answer = bench.ask_local("many", TYPE_A);
            // Header, question, then 12 bytes before the address.
            answer[12 + 10 + 12 + 3]
        })
        .collect();
    assert_eq!(firsts.len(), 3, "each address is the first one sometimes");
}

#[test]
fn everything_else_is_forwarded_with_an_id_of_its_own() {
    let mut bench = Bench::new(&[1, 2]);
    for name in ["nobody", "example.org", "9.9.9.9.in-addr.arpa"] {
        bench.query(0, CLIENT, &query(7, name, TYPE_A, None));
        let (answers, asked) = bench.outputs();
        assert!(answers.is_empty());
        assert_eq!(asked.iter().map(|a| a.1).collect::<Vec<_>>(), [upstream(1), upstream(2)], "{name}");
        assert!(asked.iter().all(|a| a.3[2..] == query(7, name, TYPE_A, None)[2..]));
        // The same query again is not asked again.
        bench.query(MS, CLIENT, &query(7, name, TYPE_A, None));
        assert_eq!(bench.outputs(), (vec![], vec![]));
        // Another id, another question: not taken.
        bench.server.on_answer(MS, asked[0].0, &answer(asked[0].2 ^ 1, name, 0, 1));
        bench.server.on_answer(MS, asked[0].0, &answer(asked[0].2, "evil", 0, 1));
        assert!(bench.outputs().0.is_empty());
        bench.server.on_answer(MS, asked[0].0, &answer(asked[0].2, name, 0, 1));
        assert_eq!(bench.outputs().0, [answer(7, name, 0, 1)]);
        assert!(bench.server.is_idle());
    }
}

#[test]
fn the_order_of_upstreams_counts() {
    let mut bench = Bench::new(&[1, 2]);
    let ask = |bench: &mut Bench, now| {
        bench.query(now, CLIENT, &query(7, "x.example", TYPE_A, None));
        bench.outputs().1
    };
    // The second is faster: it waits for the first, which knows better.
    let asked = ask(&mut bench, 0);
    bench.server.on_answer(MS, asked[1].0, &answer(asked[1].2, "x.example", wire::NXDOMAIN, 2));
    assert!(bench.outputs().0.is_empty());
    bench.server.on_answer(2 * MS, asked[0].0, &answer(asked[0].2, "x.example", 0, 1));
    assert_eq!(bench.outputs().0, [answer(7, "x.example", 0, 1)]);
    // The first fails: the second's is taken at once.
    for fail in [wire::SERVFAIL, 5, wire::NOTIMP] {
        let asked = ask(&mut bench, 0);
        bench.server.on_answer(MS, asked[1].0, &answer(asked[1].2, "x.example", 0, 2));
        bench.server.on_answer(MS, asked[0].0, &answer(asked[0].2, "x.example", fail, 1));
        assert_eq!(bench.outputs().0, [answer(7, "x.example", 0, 2)]);
    }
    // The first is silent: its grace ends, and next time it is not waited for.
    let asked = ask(&mut bench, 0);
    bench.server.on_answer(MS, asked[1].0, &answer(asked[1].2, "x.example", 0, 2));
    assert_eq!(bench.server.deadline_ns(), Some(GRACE_NS));
    bench.server.on_time(GRACE_NS);
    assert_eq!(bench.outputs().0, [answer(7, "x.example", 0, 2)]);
    let asked = ask(&mut bench, GRACE_NS + 1);
    bench.server.on_answer(GRACE_NS + 2, asked[1].0, &answer(asked[1].2, "x.example", 0, 2));
    assert_eq!(bench.outputs().0, [answer(7, "x.example", 0, 2)]);
}

#[test]
fn failures_and_silence_end_in_time() {
    let mut bench = Bench::new(&[1, 2]);
    bench.query(0, CLIENT, &query(7, "x.example", TYPE_A, None));
    let (_, asked) = bench.outputs();
    bench.server.on_failed(MS, asked[0].0);
    bench.server.on_failed(MS, asked[1].0);
    assert_eq!(wire::code(&bench.outputs().0[0]), wire::SERVFAIL);
    bench.query(0, CLIENT, &query(7, "x.example", TYPE_A, None));
    let mut asked = bench.outputs().1.len();
    let mut now = 0;
    let answer = loop {
        now = bench.server.deadline_ns().unwrap().max(now);
        assert!(now <= LIMIT_NS);
        bench.server.on_time(now);
        let (mut answers, more) = bench.outputs();
        asked += more.len();
        if let Some(answer) = answers.pop() {
            break answer;
        }
    };
    assert_eq!((wire::code(&answer), now, asked), (wire::SERVFAIL, LIMIT_NS, 6));
}

#[test]
fn what_an_internal_network_does_not_know_stays_there() {
    let mut bench = Bench::new(&[]);
    for name in ["nobody", "example.org"] {
        assert_eq!(wire::code(&bench.ask_local(name, TYPE_A)), wire::SERVFAIL);
    }
    let mut bench = Bench::new(&[1]);
    bench.view.local_single_labels = true;
    let answer = bench.ask_local("nobody", TYPE_A);
    assert_eq!((wire::code(&answer), count(&answer)), (wire::NOERROR, 0));
    bench.query(0, CLIENT, &query(7, "no.body", TYPE_A, None));
    assert_eq!(bench.outputs().1.len(), 1);
}

#[test]
fn queries_are_bounded() {
    let mut bench = Bench::new(&[1]);
    for n in 0..MAX_QUERIES as u16 + 1 {
        bench.query(0, CLIENT, &query(n, "x.example", TYPE_A, None));
    }
    let (answers, asked) = bench.outputs();
    assert_eq!((answers.len(), asked.len()), (1, MAX_QUERIES));
    assert_eq!(wire::code(&answers[0]), wire::SERVFAIL);
    bench.server.on_gone(CLIENT);
    assert!(bench.server.is_idle());
}

#[test]
fn a_connection_gets_all_of_it_and_asks_by_one() {
    let mut bench = Bench::new(&[1]);
    bench.query(0, Client::Tcp(3), &query(7, "x.example", TYPE_A, None));
    let outputs = bench.server.outputs();
    let Output::Ask { attempt, transport, message, .. } = &outputs[0] else { panic!("{outputs:?}") };
    assert_eq!(*transport, Transport::Tcp);
    let q = Query::parse(message).unwrap();
    let many: Vec<IpAddr> = (0..200).map(|n| IpAddr::from([10, 0, 1, n])).collect();
    let large = q.with_addresses(message, &many, 65535);
    bench.server.on_answer(1, *attempt, &large);
    assert_eq!(bench.outputs().0[0].len(), large.len());
    // The same over UDP does not fit.
    bench.query(0, CLIENT, &query(7, "x.example", TYPE_A, None));
    let (_, asked) = bench.outputs();
    let mut large = large;
    wire::set_id(&mut large, asked[0].2);
    bench.server.on_answer(1, asked[0].0, &large);
    let answer = bench.outputs().0.remove(0);
    assert!(answer.len() <= PLAIN_UDP && answer[2] & 2 != 0);
}

proptest! {
    /// Whatever happens, each query that is understood has exactly one answer when its time is over.
    #[test]
    fn one_answer_each(
        events in proptest::collection::vec((0u8..5, any::<u16>(), proptest::collection::vec(any::<u8>(), 0..40)), 0..60),
    ) {
        let mut bench = Bench::new(&[1, 2, 3]);
        let (mut now, mut open, mut sent, mut answered) = (0, Vec::new(), 0, 0);
        for (what, number, bytes) in events {
            now += u64::from(number) * 10_000;
            match what {
                0 => {
                    sent += 1;
                    let client = Client::Tcp(sent);
                    bench.query(now, client, &query(number, "x.example", TYPE_A, None));
                }
                1 => bench.query(now, CLIENT, &[&[0, 1, 0x80][..], &bytes].concat()),
                2 if !open.is_empty() => {
                    let (attempt, _, id, _): &(u32, Upstream, u16, Vec<u8>) = &open[usize::from(number) % open.len()];
                    bench.server.on_answer(now, *attempt, &answer(*id, "x.example", number as u8 % 6, 1));
                }
                3 if !open.is_empty() => {
                    bench.server.on_answer(now, open[usize::from(number) % open.len()].0, &bytes);
                }
                _ => bench.server.on_time(now),
            }
            let (answers, asked) = bench.outputs();
            answered += answers.len();
            open.extend(asked);
        }
        bench.server.on_time(now + LIMIT_NS);
        answered += bench.outputs().0.len();
        prop_assert_eq!(answered, sent as usize);
        prop_assert!(bench.server.is_idle());
    }
}
