//! The pull: from a reference to a named, unpacked image.
//!
//! Order of events, as dockerd's: the manifest ("Pulling from"), one line per layer, then each layer's
//! download and unpacking, then digest and status. Nothing is said about layers whose blobs were here
//! before. An image is named last, so that whatever fails leaves no name; what was downloaded stays for
//! the next try when the way to the registry failed, and is collected otherwise.

mod progress;
mod unpack;

use crate::blob::{Download, Shared, blocking};
use crate::error::{Error, Result};
use crate::resolve::{Repository, Resolved};
use crate::{Client, Progress};
use oci::{Descriptor, Digest, Document, ImageConfig, Manifest, Matcher, Platform, Reference, media_type};
use progress::Reporter;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use store::{Labels, Lease, Store};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use unpack::{Event, Unpack};

/// An index that points to an index that points …
const MAX_INDEX_DEPTH: usize = 4;

/// What a pull brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The manifest or index that the name stands for now; its digest is the image id.
    pub target: Descriptor,
    /// Whether the name stood for something else, or nothing, before.
    pub newer: bool,
}

/// The image of one platform.
struct Image {
    manifest: Manifest,
    config: ImageConfig,
}

pub(crate) async fn pull(
    client: &Client,
    reference: &Reference,
    platform: &Platform,
    store: &Store,
    mut tell: impl FnMut(Progress) + Send,
) -> Result<Pulled> {
    let reference = reference.clone().or_latest();
    let lease = take_lease(store).await?;
    let (repository, resolved) = resolve(client, &reference).await?;
    let shared = Arc::new(Shared {
        store: store.clone(),
        repository,
        cancelled: watch::channel(false).0,
        discard: AtomicBool::new(false),
        fetched: Mutex::default(),
    });
    let pulled = run(&shared, &reference, platform, resolved, &mut tell).await;
    drop(lease);
    let collect = match &pulled {
        // What an earlier pull left that was not continued.
        Ok(pulled) => pulled.newer,
        // What was downloaded is kept only when another try can go on from it.
        Err(e) => !e.is_transient(),
    };
    if collect {
        let store = store.clone();
        let _ = blocking("collector", move || store.gc().and_then(|_| store.snapshots().empty_trash())).await;
    }
    pulled
}

/// The first place that knows the reference.
async fn resolve(client: &Client, reference: &Reference) -> Result<(Repository, Resolved)> {
    let fail = |e| Error::Resolve { reference: reference.to_string(), source: Box::new(e) };
    let mut sources = client.sources(reference).map_err(fail)?;
    let own = sources.pop().ok_or(Error::Worker("the list of places"))?;
    for mirror in sources {
        if let Ok(resolved) = mirror.resolve(reference).await {
            return Ok((mirror, resolved));
        }
    }
    let resolved = own.resolve(reference).await.map_err(fail)?;
    Ok((own, resolved))
}

async fn run(
    shared: &Arc<Shared>,
    reference: &Reference,
    platform: &Platform,
    resolved: Resolved,
    tell: &mut (impl FnMut(Progress) + Send),
) -> Result<Pulled> {
    let (target, manifest) = documents(shared, resolved, platform).await?;
    let tag = reference.tag().map_or_else(|| reference.to_string(), str::to_owned);
    tell(Progress::PullingFrom { tag, repository: reference.path().to_owned() });
    let image = configuration(shared, manifest).await?;
    if !is_complete(shared, &image).await? {
        layers(shared, &image, tell).await?;
    }
    let (store, name, named) = (shared.store.clone(), reference.clone(), target.clone());
    let fetched = std::mem::take(&mut *shared.fetched.lock().unwrap_or_else(PoisonError::into_inner));
    let put = blocking("image store", move || {
        if !fetched.is_empty() {
            store.add_source(&fetched, host_of(&name), name.path())?;
        }
        store.name_image(Some(&name), &named, &Labels::new())
    })
    .await??;
    tell(Progress::Digest(target.digest.clone()));
    let familiar = reference.familiar();
    tell(Progress::Status(if put.unchanged {
        format!("Image is up to date for {familiar}")
    } else {
        format!("Downloaded newer image for {familiar}")
    }));
    Ok(Pulled { target, newer: !put.unchanged })
}

/// The domain without its port, as containerd's labels have it.
pub(crate) fn host_of(reference: &Reference) -> &str {
    let domain = reference.domain();
    match domain.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host.trim_start_matches('[').trim_end_matches(']'),
        _ => domain,
    }
}

/// Fetches the target and, if it is an index, the manifest for the platform.
async fn documents(
    shared: &Arc<Shared>,
    resolved: Resolved,
    platform: &Platform,
) -> Result<(Descriptor, Manifest)> {
    let matcher = Matcher::only(platform);
    let mut target: Option<Descriptor> = None;
    let mut descriptor = resolved.descriptor;
    let mut known = resolved.bytes;
    for _ in 0..MAX_INDEX_DEPTH {
        if media_type::kind(&descriptor.media_type) == media_type::Kind::Schema1 {
            return Err(Error::Schema1(descriptor.media_type));
        }
        let bytes = fetch_document(shared, &descriptor, known.take()).await?;
        let document = Document::decode(&descriptor.media_type, &bytes)?;
        // A server may not have told the type; the size is what came.
        descriptor.media_type = document.media_type().to_owned();
        descriptor.size = bytes.len() as u64;
        let target = target.get_or_insert_with(|| descriptor.clone());
        match document {
            Document::Manifest(manifest) => return Ok((target.clone(), manifest)),
            Document::Index(index) => {
                let best = matcher.best(&index.manifests).cloned();
                descriptor = best.ok_or_else(|| Error::NoPlatform(platform.to_string()))?;
            }
        }
    }
    Err(Error::TooLarge { what: "nesting of image indexes".into(), limit: MAX_INDEX_DEPTH as u64 })
}

async fn configuration(shared: &Arc<Shared>, manifest: Manifest) -> Result<Image> {
    if media_type::kind(&manifest.config.media_type) != media_type::Kind::Config {
        let found = manifest.config.media_type.clone();
        return Err(oci::Error::Unsupported { what: "image configuration", found }.into());
    }
    let bytes = fetch_document(shared, &manifest.config, None).await?;
    let config: ImageConfig = oci::from_slice("image configuration", &bytes)?;
    let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
    if layers != diff_ids {
        return Err(store::Error::LayerCount { layers, diff_ids }.into());
    }
    Ok(Image { manifest, config })
}

/// A document from the store, or from the registry into the store.
async fn fetch_document(
    shared: &Arc<Shared>,
    descriptor: &Descriptor,
    known: Option<Vec<u8>>,
) -> Result<Vec<u8>> {
    let (store, digest) = (shared.store.clone(), descriptor.digest.clone());
    let local = blocking("content", move || match store.content().size(&digest)? {
        Some(_) => store.content().document(&digest).map(Some),
        None => Ok(None),
    });
    if let Some(bytes) = local.await?.map_err(Error::Store)? {
        return Ok(bytes);
    }
    let bytes = match known {
        Some(bytes) => bytes,
        None => shared.repository.document(descriptor).await?,
    };
    let (store, digest) = (shared.store.clone(), descriptor.digest.clone());
    let stored = blocking("content", move || store.content().put_verified(&digest, &bytes).map(|()| bytes));
    let bytes = stored.await??;
    shared.fetched.lock().unwrap_or_else(PoisonError::into_inner).push(descriptor.digest.clone());
    Ok(bytes)
}

/// Those of the layers whose blobs are here.
async fn present(shared: &Arc<Shared>, layers: &[Descriptor]) -> Result<HashSet<Digest>> {
    let store = shared.store.clone();
    let digests: Vec<Digest> = layers.iter().map(|layer| layer.digest.clone()).collect();
    let look = move || -> store::Result<HashSet<Digest>> {
        let mut found = HashSet::new();
        for digest in digests {
            if store.content().size(&digest)?.is_some() {
                found.insert(digest);
            }
        }
        Ok(found)
    };
    Ok(blocking("content", look).await??)
}

/// Whether all blobs are here and unpacked.
async fn is_complete(shared: &Arc<Shared>, image: &Image) -> Result<bool> {
    let store = shared.store.clone();
    let chain = image.config.chain();
    let digests: Vec<Digest> = image.manifest.layers.iter().map(|l| l.digest.clone()).collect();
    let check = move || -> store::Result<bool> {
        for digest in digests {
            if store.content().size(&digest)?.is_none() {
                return Ok(false);
            }
        }
        store.snapshots().contains_all(&chain)
    };
    Ok(blocking("content", check).await??)
}

/// Downloads and unpacks all layers.
async fn layers(shared: &Arc<Shared>, image: &Image, tell: &mut (impl FnMut(Progress) + Send)) -> Result<()> {
    let layers = &image.manifest.layers;
    let mut reporter = Reporter::new(layers, &present(shared, layers).await?);
    reporter.begin(tell);
    let (events_in, mut events) = mpsc::unbounded_channel();
    let (mut downloads, sources) = start_downloads(shared, layers, &reporter, &events_in);
    let unpack = Unpack {
        store: shared.store.clone(),
        layers: layers.iter().cloned().zip(image.config.rootfs.diff_ids.iter().cloned()).collect(),
        sources,
        events: events_in,
    };
    let mut unpacked = tokio::task::spawn_blocking(move || unpack.run());
    let mut ticker = tokio::time::interval(progress::INTERVAL);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticker.tick().await;
    let mut failure: Option<Error> = None;
    let mut unpacking = true;
    while unpacking || !downloads.is_empty() {
        tokio::select! {
            biased;
            Some(event) = events.recv() => reporter.event(event, tell),
            Some(done) = downloads.join_next() => {
                let done = done.map_err(|_| Error::Worker("download")).and_then(|d| d);
                if let Err(e) = done { fail(shared, &mut failure, e) }
            }
            done = &mut unpacked, if unpacking => {
                unpacking = false;
                let done = done.map_err(|_| Error::Worker("unpacking")).and_then(|d| d);
                if let Err(e) = done { fail(shared, &mut failure, e) }
            }
            _ = ticker.tick() => reporter.tick(tell),
        }
    }
    while let Ok(event) = events.try_recv() {
        reporter.event(event, tell);
    }
    match failure {
        Some(e) => Err(e),
        None => Ok(()),
    }
}

/// Keeps the error that explains the others, and stops every part.
fn fail(shared: &Shared, failure: &mut Option<Error>, e: Error) {
    // What stops because something else failed says so; it never comes first, except from a reader
    // whose download is about to report.
    let is_consequence = |e: &Error| match e {
        Error::Cancelled => true,
        Error::Extract { source, .. } => matches!(**source, store::Error::Unfinished),
        _ => false,
    };
    if !is_consequence(&e) && !e.is_transient() {
        shared.discard.store(true, Ordering::Relaxed);
    }
    shared.cancelled.send_replace(true);
    if failure.as_ref().is_none_or(|first| is_consequence(first) && !is_consequence(&e)) {
        *failure = Some(e);
    }
}

/// Starts one download per blob (a blob may be several layers), a few at a time, in order.
fn start_downloads(
    shared: &Arc<Shared>,
    layers: &[Descriptor],
    reporter: &Reporter,
    events: &mpsc::UnboundedSender<Event>,
) -> (JoinSet<Result<()>>, Vec<oneshot::Receiver<store::Follow>>) {
    let permits = Arc::new(Semaphore::new(shared.repository.settings().concurrent_downloads));
    let mut unique: Vec<(usize, Download)> = Vec::new();
    let mut by_digest: HashMap<&Digest, usize> = HashMap::new();
    let mut sources = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        let (give, source) = oneshot::channel();
        sources.push(source);
        let at = *by_digest.entry(&layer.digest).or_insert_with(|| {
            let written = reporter.written(index);
            unique.push((index, Download { descriptor: layer.clone(), written, readers: Vec::new() }));
            unique.len() - 1
        });
        unique[at].1.readers.push(give);
    }
    let mut tasks = JoinSet::new();
    for (index, download) in unique {
        let (shared, permits, events) = (shared.clone(), permits.clone(), events.clone());
        tasks.spawn(async move {
            // The semaphore is fair: downloads begin in the order of the layers.
            let _permit = permits.acquire_owned().await.map_err(|_| Error::Worker("download queue"))?;
            let arrived = download.run(shared).await?;
            // Nobody listens when the pull was dropped.
            let _ = events.send(Event::Arrived(index, arrived));
            Ok(())
        });
    }
    (tasks, sources)
}

async fn take_lease(store: &Store) -> Result<Lease> {
    let store = store.clone();
    Ok(blocking("lease", move || store.lease()).await??)
}
