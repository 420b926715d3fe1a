//! Commands, output, hints.
