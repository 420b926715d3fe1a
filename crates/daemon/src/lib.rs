//! Docker's Engine API in front of the engine: the router, and the daemon that listens.
//!
//! [`Router`] serves one connection at a time, whatever it comes over: a unix socket of [`main`](main()), or a
//! pipe in memory ([`in_process`]), by which the CLI works without a daemon. A request goes through `route` (which
//! endpoint), `server` (version, limits, panics), `endpoints` (one function each) and `convert` (Docker's words ⇄
//! the engine's types). `reply` has the only table from the engine's errors to HTTP.
//!
//! This crate does not know what a container is made of, and decides nothing that the engine could.

mod call;
mod convert;
mod descriptor;
mod detach;
mod endpoints;
pub mod flags;
mod hangup;
mod listen;
mod log;
mod reply;
mod route;
mod server;
mod service;
mod trace;
mod wire;

pub use listen::{Door, Error, bind, doors, main, run};
pub use server::{Blocking, Router};

/// A way to an engine in this process, for [`api::Client`]. Calls on it need a tokio runtime.
pub fn in_process(engine: engine::Engine) -> api::Transport {
    let router = Router::new(engine, Blocking::Inline);
    api::Transport::InProcess(std::sync::Arc::new(move |pipe| {
        let router = router.clone();
        tokio::spawn(async move { router.serve(pipe).await });
    }))
}
