//! The unpacking side of a pull: one blocking thread that takes the layers in order.

use crate::blob::Arrived;
use crate::error::{Error, Result};
use oci::{Descriptor, DiffId};
use store::{Follow, Layer, Store};
use tokio::sync::{mpsc, oneshot};

/// What the parts of a pull tell its reporter. There are at most three for each layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// The blob of this layer is here.
    Arrived(usize, Arrived),
    /// This layer is being unpacked.
    Unpacking(usize),
    /// This layer is unpacked, or was.
    Unpacked(usize),
}

pub(super) struct Unpack {
    pub(super) store: Store,
    /// Lowest first.
    pub(super) layers: Vec<(Descriptor, DiffId)>,
    /// Each layer's blob, as soon as its download began.
    pub(super) sources: Vec<oneshot::Receiver<Follow>>,
    pub(super) events: mpsc::UnboundedSender<Event>,
}

impl Unpack {
    /// Unpacks all layers and commits them; after a failure, those below it.
    pub(super) fn run(self) -> Result<()> {
        let mut unpacking = self.store.unpacking()?;
        let mut failure = None;
        for (index, ((layer, diff), source)) in self.layers.iter().zip(self.sources).enumerate() {
            let done = (|| {
                let Layer::Absent(slot) = unpacking.next(diff)? else { return Ok(()) };
                // The sender goes away when the download fails before it began.
                let follow = source.blocking_recv().map_err(|_| store::Error::Unfinished)?;
                let _ = self.events.send(Event::Unpacking(index));
                slot.unpack(follow).map(drop)
            })();
            match done {
                Ok(()) => drop(self.events.send(Event::Unpacked(index))),
                Err(e) => {
                    failure = Some(explain(layer, e));
                    break;
                }
            }
        }
        match failure {
            None => Ok(unpacking.commit()?),
            Some(e) => {
                if !e.is_disk_full() {
                    // The layers below are sound; the next try need not unpack them again. The first
                    // error counts.
                    let _ = unpacking.commit();
                }
                Err(e)
            }
        }
    }
}

fn explain(layer: &Descriptor, e: store::Error) -> Error {
    match e {
        store::Error::DiffIdMismatch { actual, .. } => Error::DiffId(actual),
        e => Error::Extract {
            media_type: layer.media_type.clone(),
            digest: layer.digest.clone(),
            source: Box::new(e),
        },
    }
}
