//! Turns what happens into Docker's messages, in an order that makes sense for each layer.
//!
//! dockerd looks every 100 ms and says what it sees, so that short downloads show no progress; so do
//! we. A layer may be unpacked before its blob is synced and named; it is not said to be complete before
//! its download is.

use super::unpack::Event;
use crate::blob::Arrived;
use crate::{LayerState, Progress};
use oci::{Descriptor, Digest};
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
    pub(super) fn new(layers: &[Descriptor]) -> Self {
        let layers = layers.iter().map(|layer| LayerProgress {
            id: short(&layer.digest),
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
                tell(Progress::Layer { id: self.layers[index].id.clone(), state });
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
            tell(Progress::Layer { id: layer.id.clone(), state });
        }
    }
}

impl LayerProgress {
    fn tell_complete(&self, tell: &mut impl FnMut(Progress)) {
        if self.arrived && self.unpacked {
            tell(Progress::Layer { id: self.id.clone(), state: LayerState::PullComplete });
        }
    }
}

/// Docker's short id of a blob.
pub(super) fn short(digest: &Digest) -> String {
    digest.hex().chars().take(12).collect()
}
