//! The router: Docker's HTTP API in front of the engine.
