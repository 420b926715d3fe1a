//! The OCI runtime as a library that never waits.
