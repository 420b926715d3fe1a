//! Image, distribution and runtime spec types.
