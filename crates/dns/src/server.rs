//! The resolver without its sockets: queries, answers and the time in; answers and questions out.
//!
//! What the networks know is answered at once. Everything else is asked of all upstreams at the same time,
//! but their order still counts, because the first may know names that the others deny: an answer is taken
//! when every upstream before has failed, or has had [`GRACE_NS`] and is known as slow from then on.
//!
//! Invariants. At most [`MAX_QUERIES`] queries are under way; each ends within [`LIMIT_NS`]. An attempt has an id
//! of its own that nobody can guess, and takes only an answer with that id and the same question.
//!
//! It does not know sockets; that an answer came from where the question went is the kernel's work.

mod flight;

use crate::names::{Names, View};
use crate::wire::{self, Bad, Query};
use flight::{Decision, Flight};
use std::net::{IpAddr, SocketAddr};

/// A query ends within that time. Docker's waits for 4 s; resolvers in containers give up after 5.
pub const LIMIT_NS: u64 = 4_000_000_000;
/// Queries under way.
pub const MAX_QUERIES: usize = 256;
/// The largest query that is taken.
pub const MAX_QUERY_BYTES: usize = 4096;
/// The first upstreams of the list may take that long before the answer of a later one is good enough.
const GRACE_NS: u64 = 300_000_000;
/// For how long an upstream that was too slow is not waited for.
const SLOW_NS: u64 = 10_000_000_000;
/// Upstreams that are remembered as slow.
const MAX_SLOW: usize = 16;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// By a datagram from this address.
    Udp(SocketAddr),
    /// On the connection of this number.
    Tcp(u32),
}

/// How an upstream is asked: as the client asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// By a datagram.
    Udp,
    /// On a connection of its own.
    Tcp,
}

/// From which network namespace an upstream is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The host's: servers of its `resolv.conf`, on its loopback too.
    Host,
    /// The container's: servers that were asked for by `--dns`.
    Container,
}

/// A server that is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upstream {
    /// Where it is.
    pub address: SocketAddr,
    /// As seen from here.
    pub side: Side,
}

/// What a query is answered from.
#[derive(Debug, Clone, Copy)]
pub struct World<'a> {
    /// The container's file.
    pub view: &'a View,
    /// Those of its networks, in the same order.
    pub tables: &'a [Names],
    /// Whom to ask else; empty on internal networks.
    pub upstreams: &'a [Upstream],
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this to a client.
    Answer {
        /// To whom.
        client: Client,
        /// The message.
        message: Vec<u8>,
    },
    /// Ask an upstream; for an attempt that is there already, send the same once more.
    Ask {
        /// The attempt's number.
        attempt: u32,
        /// Whom.
        upstream: Upstream,
        /// How.
        transport: Transport,
        /// The message.
        message: Vec<u8>,
    },
    /// Nobody waits for this attempt any more.
    Forget {
        /// Its number.
        attempt: u32,
    },
}

/// The state of a resolver.
#[derive(Debug)]
pub struct Server {
    flights: Vec<Flight>,
    next_attempt: u32,
    slow: Vec<(Upstream, u64)>,
    random: fn() -> u32,
    outputs: Vec<Output>,
}

impl Server {
    /// A resolver that has its random numbers from there.
    pub fn new(random: fn() -> u32) -> Self {
        Self { flights: Vec::new(), next_attempt: 1, slow: Vec::new(), random, outputs: Vec::new() }
    }

    /// A client's message.
    pub fn on_query(&mut self, now: u64, client: Client, message: &[u8], world: &World<'_>) {
        let query = match Query::parse(message) {
            Ok(query) => query,
            Err(Bad::Ignore) => return,
            Err(Bad::Refuse(code)) => return self.answer(client, wire::refusal(message, code)),
        };
        if let Some(answer) = self.local_answer(&query, message, client, world) {
            return self.answer(client, answer);
        }
        if world.view.local_single_labels && query.labels() == 1 {
            return self.answer(client, query.with_code(message, wire::NOERROR));
        }
        // A client that asks again has lost its patience, not the query.
        if self.flights.iter().any(|f| f.client == client && f.query == query) {
            return;
        }
        if world.upstreams.is_empty() || self.flights.len() >= MAX_QUERIES {
            return self.answer(client, query.with_code(message, wire::SERVFAIL));
        }
        let flight = Flight::new(now, client, query, message, world.upstreams, || {
            let attempt = self.next_attempt;
            self.next_attempt = self.next_attempt.wrapping_add(1);
            (attempt, (self.random)() as u16)
        });
        flight.ask(&mut self.outputs);
        self.flights.push(flight);
    }

    /// An upstream's message, received where the attempt's question was sent from.
    pub fn on_answer(&mut self, now: u64, attempt: u32, message: &[u8]) {
        let Some(at) = self.position(attempt) else { return };
        if self.flights[at].take(attempt, message) {
            self.decide(now, at);
        }
    }

    /// An upstream cannot be asked, or refused to be.
    pub fn on_failed(&mut self, now: u64, attempt: u32) {
        let Some(at) = self.position(attempt) else { return };
        self.flights[at].fail(attempt);
        self.decide(now, at);
    }

    /// A client's connection is over.
    pub fn on_gone(&mut self, client: Client) {
        while let Some(at) = self.flights.iter().position(|f| f.client == client) {
            let flight = self.flights.swap_remove(at);
            self.forget(&flight);
        }
    }

    /// Does what is due.
    pub fn on_time(&mut self, now: u64) {
        // From the last to the first: a flight that ends is replaced by the last one.
        for at in (0..self.flights.len()).rev() {
            self.decide(now, at);
        }
        for flight in &mut self.flights {
            flight.ask_again(now, &mut self.outputs);
        }
    }

    /// When [`Server::on_time`] has something to do.
    pub fn deadline_ns(&self) -> Option<u64> {
        self.flights.iter().map(Flight::deadline_ns).min()
    }

    /// What is to be done, in this order.
    pub fn outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// Nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.flights.is_empty()
    }

    /// Gives unused memory back.
    pub fn shrink(&mut self) {
        self.flights.shrink_to_fit();
    }

    /// What the networks know.
    fn local_answer(
        &self,
        query: &Query,
        message: &[u8],
        client: Client,
        world: &World<'_>,
    ) -> Option<Vec<u8>> {
        if query.class != wire::CLASS_IN {
            return None;
        }
        if query.kind == wire::TYPE_PTR
            && let Some(address) = wire::reverse_address(&query.name)
        {
            let name = world.view.name_of(world.tables, address)?;
            return query.with_name(message, &name);
        }
        let mut addresses = world.view.addresses(world.tables, &query.name)?;
        // A name of ours that lacks what is asked for is no name that somebody else knows better.
        addresses.retain(|address| match (query.kind, address) {
            (wire::TYPE_ANY, _) => true,
            (wire::TYPE_A, address) => address.is_ipv4(),
            (wire::TYPE_AAAA, address) => address.is_ipv6(),
            _ => false,
        });
        shuffle(&mut addresses, self.random);
        let limit = match client {
            Client::Udp(_) => query.udp_limit(),
            Client::Tcp(_) => usize::from(u16::MAX),
        };
        Some(query.with_addresses(message, &addresses, limit))
    }

    fn position(&self, attempt: u32) -> Option<usize> {
        self.flights.iter().position(|f| f.attempts.iter().any(|a| a.number == attempt))
    }

    /// Ends a query if it can be.
    fn decide(&mut self, now: u64, at: usize) {
        let slow = &self.slow;
        let is_slow = |u: &Upstream| slow.iter().any(|(s, until)| s == u && now < *until);
        let message = match self.flights[at].decide(now, is_slow) {
            Decision::Wait => return,
            Decision::Answer(message) => message,
            Decision::Fail => {
                let flight = &self.flights[at];
                flight.query.with_code(&flight.message, wire::SERVFAIL)
            }
        };
        let flight = self.flights.swap_remove(at);
        self.remember(now, &flight);
        self.forget(&flight);
        self.answer(flight.client, message);
    }

    /// Notes who was too slow, and who is not any more.
    fn remember(&mut self, now: u64, flight: &Flight) {
        self.slow.retain(|(upstream, until)| now < *until && !flight.has_answered(upstream));
        for upstream in flight.laggards(now) {
            self.slow.retain(|(slow, _)| *slow != upstream);
            if self.slow.len() < MAX_SLOW {
                self.slow.push((upstream, now + SLOW_NS));
            }
        }
    }

    fn forget(&mut self, flight: &Flight) {
        self.outputs.extend(flight.attempts.iter().map(|a| Output::Forget { attempt: a.number }));
    }

    fn answer(&mut self, client: Client, message: Vec<u8>) {
        self.outputs.push(Output::Answer { client, message });
    }
}

/// Another order each time, so that clients which take the first are spread.
fn shuffle(addresses: &mut [IpAddr], random: fn() -> u32) {
    for last in (1..addresses.len()).rev() {
        addresses.swap(last, random() as usize % (last + 1));
    }
}

#[cfg(test)]
mod tests;
