//! Content, images and snapshots.
