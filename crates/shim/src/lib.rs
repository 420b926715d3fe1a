//! One process per container: streams, log, exit.
