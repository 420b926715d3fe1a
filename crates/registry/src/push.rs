//! The push: a manifest or index and all that it leads to goes to a registry.
//!
//! Layers and configurations first, several at once; then manifests, each after what it names; the tag last, so
//! that it never stands for something incomplete. Where everything is now is remembered.

use crate::blob::blocking;
use crate::error::{Error, Result};
use crate::pull::host_of;
use crate::resolve::Repository;
use crate::upload::{Outcome, Upload, put_manifest};
use crate::{Client, Progress, UploadState};
use oci::{Descriptor, Digest, Document, Reference, media_type};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use store::Store;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

/// dockerd looks so often and says what it sees.
const INTERVAL: Duration = Duration::from_millis(100);
const MAX_DEPTH: usize = 4;

/// What a push wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The manifest or index that the tag stands for there.
    pub target: Descriptor,
}

/// What a target leads to.
#[derive(Debug, Default)]
struct Content {
    blobs: Vec<Descriptor>,
    /// What is named before what names it.
    documents: Vec<Descriptor>,
    seen: HashSet<Digest>,
}

impl Client {
    /// Pushes `target` and gives it the tag of `reference` there. Fails with the store's `ContentNotFound` before
    /// anything is sent when a part of it is not here.
    pub async fn push(
        &self,
        reference: &Reference,
        target: &Descriptor,
        store: &Store,
        mut tell: impl FnMut(Progress) + Send,
    ) -> Result<Pushed> {
        let (reading, wanted) = (store.clone(), target.clone());
        let (content, lease) = blocking("content", move || {
            let lease = reading.lease()?;
            let mut content = Content::default();
            content.collect(&reading, &wanted, 0)?;
            Ok::<_, Error>((content, lease))
        })
        .await??;
        let repository = self.repository(reference)?.writing();
        upload(&repository, reference, &content.blobs, store, &mut tell).await?;
        for document in &content.documents {
            let object = if document.digest == target.digest {
                reference.tag().unwrap_or(document.digest.as_str()).to_owned()
            } else {
                document.digest.to_string()
            };
            let (store, digest) = (store.clone(), document.digest.clone());
            let bytes = blocking("content", move || store.content().document(&digest)).await??;
            put_manifest(&repository, &object, document, bytes).await?;
        }
        let digests: Vec<Digest> = content.seen.into_iter().collect();
        let (store, name) = (store.clone(), reference.clone());
        blocking("content", move || store.add_source(&digests, host_of(&name), name.path())).await??;
        drop(lease);
        if let Some(tag) = reference.tag() {
            let (tag, digest, size) = (tag.to_owned(), target.digest.clone(), target.size);
            tell(Progress::Pushed { tag, digest, size });
        }
        Ok(Pushed { target: target.clone() })
    }
}

impl Content {
    fn collect(&mut self, store: &Store, descriptor: &Descriptor, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            let what = "nesting of image indexes".into();
            return Err(Error::TooLarge { what, limit: MAX_DEPTH as u64 });
        }
        if !self.seen.insert(descriptor.digest.clone()) {
            return Ok(());
        }
        let bytes = store.content().document(&descriptor.digest)?;
        match Document::decode(&descriptor.media_type, &bytes)? {
            Document::Manifest(manifest) => {
                let layers = manifest.layers.into_iter().filter(is_distributable);
                for blob in layers.chain([manifest.config]) {
                    if !self.seen.insert(blob.digest.clone()) {
                        continue;
                    }
                    if store.content().size(&blob.digest)?.is_none() {
                        return Err(store::Error::ContentNotFound(blob.digest).into());
                    }
                    self.blobs.push(blob);
                }
            }
            Document::Index(index) => {
                for child in &index.manifests {
                    self.collect(store, child, depth + 1)?;
                }
            }
        }
        self.documents.push(descriptor.clone());
        Ok(())
    }
}

/// Layers that their licence keeps out of registries.
fn is_distributable(layer: &Descriptor) -> bool {
    !layer.media_type.contains("nondistributable") && !layer.media_type.contains(".foreign.")
}

async fn upload(
    repository: &Repository,
    reference: &Reference,
    blobs: &[Descriptor],
    store: &Store,
    tell: &mut (impl FnMut(Progress) + Send),
) -> Result<()> {
    let (events, mut done) = mpsc::unbounded_channel();
    let permits = Arc::new(Semaphore::new(repository.settings().concurrent_uploads));
    let mut tasks = JoinSet::new();
    let mut shown: Vec<Shown> = Vec::new();
    for (index, blob) in blobs.iter().enumerate() {
        let sent = Arc::new(AtomicU64::new(0));
        let (store, digest) = (store.clone(), blob.digest.clone());
        let upload = Upload {
            descriptor: blob.clone(),
            file: store.content().path(&digest),
            sources: store.sources(&digest)?.remove(host_of(reference)).unwrap_or_default(),
            sent: sent.clone(),
        };
        shown.push(Shown::new(blob, sent));
        let (repository, permits, events) = (repository.clone(), permits.clone(), events.clone());
        tasks.spawn(async move {
            let _permit = permits.acquire_owned().await.map_err(|_| Error::Worker("upload queue"))?;
            let outcome = upload.run(&repository).await?;
            // Nobody listens when the push was dropped.
            let _ = events.send((index, outcome));
            Ok(())
        });
    }
    let mut ticker = tokio::time::interval(INTERVAL);
    ticker.tick().await;
    let mut failure: Option<Error> = None;
    while !tasks.is_empty() {
        tokio::select! {
            biased;
            Some((index, outcome)) = done.recv() => shown[index].end(outcome, tell),
            Some(ended) = tasks.join_next() => {
                let ended = ended.map_err(|_| Error::Worker("upload")).and_then(|e| e);
                if let Err(e) = ended {
                    // The first error counts; what else is under way stops.
                    failure = Some(e);
                    break;
                }
            }
            _ = ticker.tick() => shown.iter_mut().for_each(|one| one.look(tell)),
        }
    }
    while let Ok((index, outcome)) = done.try_recv() {
        shown[index].end(outcome, tell);
    }
    match failure {
        Some(e) => {
            shown.iter_mut().for_each(|one| one.look(tell));
            Err(e)
        }
        None => Ok(()),
    }
}

/// What was said of one layer.
struct Shown {
    id: Option<String>,
    total: u64,
    sent: Arc<AtomicU64>,
    last: Option<UploadState>,
    ended: bool,
}

impl Shown {
    /// dockerd shows layers, not configurations.
    fn new(blob: &Descriptor, sent: Arc<AtomicU64>) -> Shown {
        let layer = media_type::kind(&blob.media_type) != media_type::Kind::Config;
        let id = layer.then(|| blob.digest.hex().chars().take(12).collect());
        Shown { id, total: blob.size, sent, last: None, ended: false }
    }

    fn look(&mut self, tell: &mut impl FnMut(Progress)) {
        let current = self.sent.load(Ordering::Relaxed).min(self.total);
        let state = if current == 0 {
            UploadState::Waiting
        } else {
            UploadState::Pushing { current, total: self.total }
        };
        if !self.ended && self.last.as_ref() != Some(&state) {
            self.say(state, tell);
        }
    }

    fn end(&mut self, outcome: Outcome, tell: &mut impl FnMut(Progress)) {
        self.ended = true;
        let state = match outcome {
            Outcome::Exists => UploadState::Exists,
            Outcome::Mounted(from) => UploadState::Mounted(from),
            Outcome::Uploaded => UploadState::Pushed,
        };
        self.say(state, tell);
    }

    fn say(&mut self, state: UploadState, tell: &mut impl FnMut(Progress)) {
        if let Some(id) = &self.id {
            tell(Progress::Upload { id: id.clone(), state: state.clone() });
        }
        self.last = Some(state);
    }
}
