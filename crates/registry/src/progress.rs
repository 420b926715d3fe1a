//! What a pull or a push tells while it runs: the messages of Docker's, one for one.

use oci::Digest;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The manifest is here.
    PullingFrom {
        /// The tag, or the whole reference when there is none.
        tag: String,
        /// The repository within its registry.
        repository: String,
    },
    /// A layer's state changed.
    Layer {
        /// The first twelve digits of the blob's digest.
        id: String,
        /// Its state now.
        state: LayerState,
    },
    /// A push begins.
    PushesTo(
        /// The repository with its registry.
        String,
    ),
    /// A layer's way to a registry changed.
    Upload {
        /// The first twelve digits of the blob's digest.
        id: String,
        /// Its state now.
        state: UploadState,
    },
    /// A tag is there.
    Pushed {
        /// The tag.
        tag: String,
        /// What it stands for.
        digest: Digest,
        /// The size of that document.
        size: u64,
    },
    /// What the reference is.
    Digest(Digest),
    /// How it ended.
    Status(String),
}

/// Where a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerState {
    /// It is part of the image.
    PullingFsLayer,
    /// It is being downloaded.
    Downloading {
        /// Bytes here.
        current: u64,
        /// Bytes in all.
        total: u64,
    },
    /// Its blob is here and verified.
    DownloadComplete,
    /// Its blob was here before.
    AlreadyExists,
    /// It is being unpacked.
    Extracting {
        /// For so long, counting from 1.
        seconds: u64,
    },
    /// It is unpacked.
    PullComplete,
}

/// Where a layer is on its way to a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadState {
    /// Nothing of it was sent yet.
    Waiting,
    /// It is being sent.
    Pushing {
        /// Bytes sent.
        current: u64,
        /// Bytes in all.
        total: u64,
    },
    /// It was sent.
    Pushed,
    /// It was there before.
    Exists,
    /// The registry took it from this repository of its own.
    Mounted(String),
}

/// The fields of Docker's JSON message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `id`.
    pub id: Option<String>,
    /// `status`.
    pub status: String,
    /// `progressDetail`: present (if only as `{}`) for layers.
    pub detail: Option<Detail>,
}

/// The fields of `progressDetail`; zero and empty ones are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Detail {
    /// `current`.
    pub current: u64,
    /// `total`.
    pub total: u64,
    /// `units`.
    pub units: &'static str,
    /// `hidecounts`.
    pub hide_counts: bool,
}

impl Progress {
    /// In Docker's words.
    pub fn message(&self) -> Message {
        match self {
            Progress::PullingFrom { tag, repository } => {
                Message { id: Some(tag.clone()), status: format!("Pulling from {repository}"), detail: None }
            }
            Progress::Layer { id, state } => Message {
                id: Some(id.clone()),
                status: state.status().to_owned(),
                detail: Some(state.detail()),
            },
            Progress::PushesTo(repository) => {
                let status = format!("The push refers to repository [{repository}]");
                Message { id: None, status, detail: None }
            }
            Progress::Upload { id, state } => {
                let (status, detail) = state.words();
                Message { id: Some(id.clone()), status, detail: Some(detail) }
            }
            Progress::Pushed { tag, digest, size } => {
                let status = format!("{tag}: digest: {digest} size: {size}");
                Message { id: None, status, detail: None }
            }
            Progress::Digest(digest) => {
                Message { id: None, status: format!("Digest: {digest}"), detail: None }
            }
            Progress::Status(status) => {
                Message { id: None, status: format!("Status: {status}"), detail: None }
            }
        }
    }
}

impl LayerState {
    /// Docker's text.
    pub fn status(self) -> &'static str {
        match self {
            LayerState::PullingFsLayer => "Pulling fs layer",
            LayerState::Downloading { .. } => "Downloading",
            LayerState::DownloadComplete => "Download complete",
            LayerState::AlreadyExists => "Already exists",
            LayerState::Extracting { .. } => "Extracting",
            LayerState::PullComplete => "Pull complete",
        }
    }

    fn detail(self) -> Detail {
        match self {
            LayerState::PullingFsLayer => Detail::default(),
            LayerState::Downloading { current, total } => Detail { current, total, ..Detail::default() },
            LayerState::Extracting { seconds } => {
                Detail { current: seconds, units: "s", ..Detail::default() }
            }
            LayerState::DownloadComplete | LayerState::AlreadyExists | LayerState::PullComplete => {
                Detail { hide_counts: true, ..Detail::default() }
            }
        }
    }
}

impl UploadState {
    fn words(&self) -> (String, Detail) {
        let detail = match self {
            UploadState::Pushing { current, total } => {
                Detail { current: *current, total: *total, ..Detail::default() }
            }
            _ => Detail::default(),
        };
        let status = match self {
            UploadState::Waiting => "Waiting".to_owned(),
            UploadState::Pushing { .. } => "Pushing".to_owned(),
            UploadState::Pushed => "Pushed".to_owned(),
            UploadState::Exists => "Layer already exists".to_owned(),
            UploadState::Mounted(from) => format!("Mounted from {from}"),
        };
        (status, detail)
    }
}
