//! The benchmark: Tare beside the kernel floor, docker, podman, crun and runc, in one run.
//!
//! All programs run in one test host and take turns (A B A B …), so that a ratio of two of them means something on a
//! busy machine too; an absolute time does not. Nothing here asserts: a benchmark is not a test.

pub mod contest;
pub mod cpu;
pub mod inside;
pub mod report;
pub mod series;
pub mod streams;
pub mod weigh;
