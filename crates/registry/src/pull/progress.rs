//! Turns what happens into Docker's messages, in an order that makes sense for each layer.
//!
//! dockerd looks every 100 ms and says what it sees, so that short downloads show no progress; so do
//! we. A layer may be unpacked before its blob is synced and named; it is not said to be complete before
//! its download is.

use super::unpack::Event;
use crate::blob::Arrived;
use crate::{LayerState, Progress};
use oci::{Descriptor, Digest};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// dockerd's interval.
pub(super) const INTERVAL: Duration = Duration::from_millis(100);
const TICKS_PER_SECOND: u64 = 10;

pub(super) struct Reporter {
    layers: Vec<LayerProgress>,
}

struct LayerProgress {
    id: String,
    /// Its blob was here before the pull: dockerd says nothing about it.
    silent: bool,
    digest: Digest,
    total: u64,
    written: Arc<AtomicU64>,
    arrived: bool,
    unpacking: bool,
    unpacked: bool,
    /// How often it was seen being unpacked.
    ticks: u64,
}

impl Reporter {
    /// `present` are the blobs that are here already.
    pub(super) fn new(layers: &[Descriptor], present: &HashSet<Digest>) -> Self {
        let layers = layers.iter().map(|layer| LayerProgress {
            id: short(&layer.digest),
            silent: present.contains(&layer.digest),
            digest: layer.digest.clone(),
            total: layer.size,
            written: Arc::default(),
            arrived: false,
            unpacking: false,
            unpacked: false,
            ticks: 0,
        });
        Reporter { layers: layers.collect() }
    }

    /// One line per layer.
    pub(super) fn begin(&self, tell: &mut impl FnMut(Progress)) {
        for layer in &self.layers {
            layer.tell(LayerState::PullingFsLayer, tell);
        }
    }

    /// The counter of a layer's bytes.
    pub(super) fn written(&self, index: usize) -> Arc<AtomicU64> {
        self.layers[index].written.clone()
    }

    pub(super) fn event(&mut self, event: Event, tell: &mut impl FnMut(Progress)) {
        match event {
            Event::Arrived(index, how) => {
                let digest = self.layers[index].digest.clone();
                let state = match how {
                    Arrived::Downloaded => LayerState::DownloadComplete,
                    Arrived::Existed => LayerState::AlreadyExists,
                };
                self.layers[index].tell(state, tell);
                // The same blob may be several layers.
                for layer in self.layers.iter_mut().filter(|l| l.digest == digest) {
                    layer.arrived = true;
                    layer.tell_complete(tell);
                }
            }
            Event::Unpacking(index) => self.layers[index].unpacking = true,
            Event::Unpacked(index) => {
                self.layers[index].unpacked = true;
                self.layers[index].tell_complete(tell);
            }
        }
    }

    pub(super) fn tick(&mut self, tell: &mut impl FnMut(Progress)) {
        for layer in &mut self.layers {
            let written = layer.written.load(Ordering::Relaxed);
            let state = if !layer.arrived && written > 0 {
                LayerState::Downloading { current: written, total: layer.total }
            } else if layer.arrived && layer.unpacking && !layer.unpacked {
                layer.ticks += 1;
                LayerState::Extracting { seconds: 1 + (layer.ticks - 1) / TICKS_PER_SECOND }
            } else {
                continue;
            };
            layer.tell(state, tell);
        }
    }
}

impl LayerProgress {
    fn tell_complete(&self, tell: &mut impl FnMut(Progress)) {
        if self.arrived && self.unpacked {
            self.tell(LayerState::PullComplete, tell);
        }
    }

    fn tell(&self, state: LayerState, tell: &mut impl FnMut(Progress)) {
        if !self.silent {
            tell(Progress::Layer { id: self.id.clone(), state });
        }
    }
}

/// Docker's short id of a blob.
fn short(digest: &Digest) -> String {
    digest.hex().chars().take(12).collect()
}
