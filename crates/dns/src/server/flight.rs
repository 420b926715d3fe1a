//! One query that others are asked for.
//!
//! It does not know names, nor other queries.

use super::{Client, GRACE_NS, LIMIT_NS, Output, Transport, Upstream};
use crate::wire::{self, Query};

/// When a datagram that was not answered is sent again, after the query.
const AGAIN_NS: [u64; 2] = [1_000_000_000, 2_500_000_000];

/// A query under way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) client: Client,
    pub(super) query: Query,
    pub(super) message: Vec<u8>,
    since_ns: u64,
    /// How often datagrams were sent again.
    again: usize,
    /// In the order of the upstreams.
    pub(super) attempts: Vec<Attempt>,
}

/// An upstream, asked for it.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) number: u32,
    id: u16,
    upstream: Upstream,
    state: State,
}

#[derive(Debug)]
enum State {
    Waiting,
    Failed,
    Answered(Vec<u8>),
}

/// Whether a query ends.
#[derive(Debug)]
pub(super) enum Decision {
    Wait,
    Answer(Vec<u8>),
    Fail,
}

impl Flight {
    /// Begins; `next` gives the numbers and ids of attempts.
    pub(super) fn new(
        now: u64,
        client: Client,
        query: Query,
        message: &[u8],
        upstreams: &[Upstream],
        mut next: impl FnMut() -> (u32, u16),
    ) -> Self {
        let attempt = |upstream: &Upstream| {
            let (number, id) = next();
            Attempt { number, id, upstream: *upstream, state: State::Waiting }
        };
        let attempts = upstreams.iter().map(attempt).collect();
        Self { client, query, message: message.to_vec(), since_ns: now, again: 0, attempts }
    }

    /// Asks everybody who has not said anything yet.
    pub(super) fn ask(&self, outputs: &mut Vec<Output>) {
        let transport = match self.client {
            Client::Udp(_) => Transport::Udp,
            Client::Tcp(_) => Transport::Tcp,
        };
        for attempt in self.attempts.iter().filter(|a| matches!(a.state, State::Waiting)) {
            let mut message = self.message.clone();
            wire::set_id(&mut message, attempt.id);
            let (upstream, attempt) = (attempt.upstream, attempt.number);
            outputs.push(Output::Ask { attempt, upstream, transport, message });
        }
    }

    /// Datagrams are lost.
    pub(super) fn ask_again(&mut self, now: u64, outputs: &mut Vec<Output>) {
        if self.again_at_ns().is_some_and(|at| now >= at) {
            self.again += 1;
            self.ask(outputs);
        }
    }

    /// An upstream's message; whether it is one for this attempt.
    pub(super) fn take(&mut self, number: u32, message: &[u8]) -> bool {
        let Self { attempts, query, .. } = self;
        let Some(attempt) = attempts.iter_mut().find(|a| a.number == number) else { return false };
        if !query.is_answered_by(attempt.id, message) {
            return false;
        }
        attempt.state = match wire::code(message) {
            wire::NOERROR | wire::NXDOMAIN => State::Answered(message.to_vec()),
            // It cannot or does not want to: another may.
            _ => State::Failed,
        };
        true
    }

    pub(super) fn fail(&mut self, number: u32) {
        if let Some(attempt) = self.attempts.iter_mut().find(|a| a.number == number)
            && matches!(attempt.state, State::Waiting)
        {
            attempt.state = State::Failed;
        }
    }

    /// What is the answer now.
    pub(super) fn decide(&self, now: u64, is_slow: impl Fn(&Upstream) -> bool) -> Decision {
        let graceful = now < self.since_ns + GRACE_NS;
        let mut waiting = false;
        for attempt in &self.attempts {
            match &attempt.state {
                State::Answered(answer) => return Decision::Answer(self.for_client(answer)),
                State::Failed => {}
                State::Waiting if graceful && !is_slow(&attempt.upstream) => return Decision::Wait,
                State::Waiting => waiting = true,
            }
        }
        if waiting && now < self.since_ns + LIMIT_NS { Decision::Wait } else { Decision::Fail }
    }

    /// When something is due.
    pub(super) fn deadline_ns(&self) -> u64 {
        let limit = self.since_ns + LIMIT_NS;
        let answered = self.attempts.iter().any(|a| matches!(a.state, State::Answered(_)));
        // What has come and was not taken waits for the end of the grace.
        let grace = answered.then_some(self.since_ns + GRACE_NS);
        [grace, self.again_at_ns()].into_iter().flatten().fold(limit, u64::min)
    }

    /// Upstreams that had their time and said nothing.
    pub(super) fn laggards(&self, now: u64) -> impl Iterator<Item = Upstream> {
        let late = now >= self.since_ns + GRACE_NS;
        let waiting = self.attempts.iter().filter(move |a| late && matches!(a.state, State::Waiting));
        waiting.map(|a| a.upstream)
    }

    pub(super) fn has_answered(&self, upstream: &Upstream) -> bool {
        self.attempts.iter().any(|a| a.upstream == *upstream && matches!(a.state, State::Answered(_)))
    }

    fn for_client(&self, answer: &[u8]) -> Vec<u8> {
        let mut answer = answer.to_vec();
        wire::set_id(&mut answer, self.query.id);
        match self.client {
            Client::Udp(_) => self.query.cut(answer, self.query.udp_limit()),
            Client::Tcp(_) => answer,
        }
    }

    fn again_at_ns(&self) -> Option<u64> {
        let datagrams = matches!(self.client, Client::Udp(_));
        let after = AGAIN_NS.get(self.again).filter(|_| datagrams)?;
        Some(self.since_ns + after)
    }
}
