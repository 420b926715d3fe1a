//! Docker's HTTP types and the client for them.
