//! The calls of the Engine API that this version's commands use, one method each.
//!
//! Names of containers and images are put into paths escaped, slashes of image names excepted. What a call means
//! is in the Engine API's reference; its options are named as there.

use http::Method;
use tokio::io::AsyncRead;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;

use crate::client::{Call, Client};
use crate::container::{
    ContainerCreateRequest, ContainerInspect, ContainerSummary, CreateResponse, ExecCreateRequest,
    ExecInspect, ExecStartRequest, IdResponse, TopResponse, WaitResponse,
};
use crate::filters::Filters;
use crate::go::{decode, encode};
use crate::image::{ImageDelete, ImageInspect, ImageSummary, Platform};
use crate::json::Json;
use crate::network::Network;
use crate::query::{Query, escape_path};
use crate::stream::{ByteStream, Hijacked, Messages};
use crate::system::{AuthConfig, Info, Version};
use crate::{Error, client};

/// Which containers [`Client::container_list`] gives.
#[derive(Debug, Clone, Default)]
pub struct ContainerListOptions {
    /// Also those that do not run.
    pub all: bool,
    /// The newest so many; 0 for no limit.
    pub limit: u64,
    /// With the sizes of their files.
    pub size: bool,
    /// Only those that match.
    pub filters: Filters,
}

/// How [`Client::container_stop`] stops.
#[derive(Debug, Clone, Default)]
pub struct StopOptions {
    /// The signal, if not the container's own.
    pub signal: String,
    /// Seconds until SIGKILL, if not the container's own; below zero is never.
    pub timeout_s: Option<i64>,
}

/// How [`Client::container_remove`] removes.
#[derive(Debug, Clone, Copy, Default)]
pub struct RemoveOptions {
    /// Kill it if it runs.
    pub force: bool,
    /// Its anonymous volumes too.
    pub volumes: bool,
    /// Only the link of this name.
    pub link: bool,
}

/// What [`Client::container_attach`] attaches.
#[derive(Debug, Clone, Default)]
pub struct AttachOptions {
    /// What comes from now on.
    pub stream: bool,
    /// What came before.
    pub logs: bool,
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// The keys that detach; empty for the engine's own.
    pub detach_keys: String,
}

/// Which lines [`Client::container_logs`] gives. Times are Unix seconds, with a fraction if wanted.
#[derive(Debug, Clone, Default)]
pub struct LogsOptions {
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// From this time on.
    pub since: String,
    /// Until this time.
    pub until: String,
    /// A time before each line.
    pub timestamps: bool,
    /// The log's extra attributes before each line.
    pub details: bool,
    /// Go on until the container stops.
    pub follow: bool,
    /// A number of lines, or `all`.
    pub tail: String,
}

/// Until when [`Client::container_wait`] waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WaitCondition {
    /// Until it does not run; at once if that is so.
    #[default]
    NotRunning,
    /// Until it exits the next time.
    NextExit,
    /// Until it is removed.
    Removed,
}

impl WaitCondition {
    /// The word in the API; Docker's client leaves the default one out.
    pub fn as_str(self) -> &'static str {
        match self {
            WaitCondition::NotRunning => "",
            WaitCondition::NextExit => "next-exit",
            WaitCondition::Removed => "removed",
        }
    }
}

/// A wait that the engine has begun: what happens from now on is not missed.
#[derive(Debug)]
pub struct Waiting {
    stream: ByteStream,
    body: Vec<u8>,
}

impl Waiting {
    /// The end of the wait. May be dropped and called again, as a loop over several events does: what has come
    /// is kept.
    pub async fn exit(&mut self) -> Result<WaitResponse, Error> {
        while let Some(chunk) = self.stream.next().await? {
            if self.body.len() + chunk.len() > client::MAX_ANSWER_LEN {
                return Err(Error::TooLarge { path: "wait".to_owned(), limit: client::MAX_ANSWER_LEN });
            }
            self.body.extend_from_slice(&chunk);
        }
        decode(&self.body)
    }
}

/// Which image [`Client::image_pull`] pulls.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// The repository with its domain.
    pub from_image: String,
    /// The tag, or the digest.
    pub tag: String,
    /// `os/arch/variant`; empty for the engine's own.
    pub platform: String,
    /// Credentials.
    pub auth: Option<AuthConfig>,
}

/// What [`Client::image_import`] makes of a tar archive.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// `-` for the request's body, else a URL that the engine reads.
    pub from_src: String,
    /// The reference to give it.
    pub repo: String,
    /// The commit message.
    pub message: String,
    /// Dockerfile instructions to apply.
    pub changes: Vec<String>,
    /// `os/arch/variant`.
    pub platform: String,
}

/// Which images [`Client::image_list`] gives.
#[derive(Debug, Clone, Default)]
pub struct ImageListOptions {
    /// Also intermediate ones.
    pub all: bool,
    /// With the size they share.
    pub shared_size: bool,
    /// With their manifests.
    pub manifests: bool,
    /// Only those that match.
    pub filters: Filters,
}

/// How [`Client::image_remove`] removes.
#[derive(Debug, Clone, Default)]
pub struct ImageRemoveOptions {
    /// Even with several names or in use by stopped containers.
    pub force: bool,
    /// Keep untagged parents.
    pub no_prune: bool,
    /// Only these platforms.
    pub platforms: Vec<Platform>,
}

/// System.
impl Client {
    /// `GET /version`
    pub async fn version(&self) -> Result<Version, Error> {
        self.fetch(Call::get("/version")).await
    }

    /// `GET /info`
    pub async fn info(&self) -> Result<Info, Error> {
        self.fetch(Call::get("/info")).await
    }

    /// `GET /tare/trace/{id}`: the kernel steps recorded under a trace id, one JSON record a line. With `follow`
    /// it goes on until it is dropped.
    pub async fn trace(&self, id: &str, follow: bool) -> Result<ByteStream, Error> {
        let path = format!("/tare/trace/{}", escape_path(id));
        self.send(Call::get(&path).query(Query::new().set_flag("follow", follow))).await
    }
}

/// Containers.
impl Client {
    /// `POST /containers/create`; an empty name lets the engine choose one, an empty platform the image's.
    pub async fn container_create(
        &self,
        name: &str,
        platform: &str,
        request: &ContainerCreateRequest,
    ) -> Result<CreateResponse, Error> {
        let query = Query::new().set_text("platform", platform).set_text("name", name);
        self.fetch(Call::post("/containers/create").query(query).json(request)).await
    }

    /// `GET /containers/json`
    pub async fn container_list(
        &self,
        options: &ContainerListOptions,
    ) -> Result<Vec<ContainerSummary>, Error> {
        let limit = if options.limit > 0 { options.limit.to_string() } else { String::new() };
        let query = Query::new()
            .set_flag("all", options.all)
            .set_text("filters", &options.filters.to_param())
            .set_text("limit", &limit)
            .set_flag("size", options.size);
        self.fetch(Call::get("/containers/json").query(query)).await
    }

    /// `GET /containers/{id}/json`: decoded, and as it came.
    pub async fn container_inspect(&self, id: &str, size: bool) -> Result<(ContainerInspect, Json), Error> {
        let path = container(id, "/json");
        let raw = self.fetch_raw(Call::get(&path).query(Query::new().set_flag("size", size))).await?;
        Ok((decode(&raw)?, Json::parse(&raw)?))
    }

    /// `POST /containers/{id}/start`; an [`Error::is_not_modified`] when it runs already.
    pub async fn container_start(&self, id: &str, detach_keys: &str) -> Result<(), Error> {
        let path = container(id, "/start");
        self.order(Call::post(&path).query(Query::new().set_text("detachKeys", detach_keys))).await
    }

    /// `POST /containers/{id}/stop`; an [`Error::is_not_modified`] when it does not run.
    pub async fn container_stop(&self, id: &str, options: &StopOptions) -> Result<(), Error> {
        let path = container(id, "/stop");
        let timeout = options.timeout_s.map(|seconds| seconds.to_string()).unwrap_or_default();
        let query = Query::new().set_text("signal", &options.signal).set_text("t", &timeout);
        self.order(Call::post(&path).query(query)).await
    }

    /// `POST /containers/{id}/restart`
    pub async fn container_restart(&self, id: &str, options: &StopOptions) -> Result<(), Error> {
        let path = container(id, "/restart");
        let timeout = options.timeout_s.map(|seconds| seconds.to_string()).unwrap_or_default();
        let query = Query::new().set_text("signal", &options.signal).set_text("t", &timeout);
        self.order(Call::post(&path).query(query)).await
    }

    /// `POST /containers/{id}/pause`, or with `false` `/unpause`.
    pub async fn container_pause(&self, id: &str, pause: bool) -> Result<(), Error> {
        let path = container(id, if pause { "/pause" } else { "/unpause" });
        self.order(Call::post(&path)).await
    }

    /// `POST /containers/{id}/rename`
    pub async fn container_rename(&self, id: &str, name: &str) -> Result<(), Error> {
        let path = container(id, "/rename");
        self.order(Call::post(&path).query(Query::new().set_text("name", name))).await
    }

    /// `GET /containers/{id}/top`: `options` are those of ps.
    pub async fn container_top(&self, id: &str, options: &str) -> Result<TopResponse, Error> {
        let path = container(id, "/top");
        self.fetch(Call::get(&path).query(Query::new().set_text("ps_args", options))).await
    }

    /// `POST /containers/{id}/kill`; an empty signal is SIGKILL.
    pub async fn container_kill(&self, id: &str, signal: &str) -> Result<(), Error> {
        let path = container(id, "/kill");
        self.order(Call::post(&path).query(Query::new().set_text("signal", signal))).await
    }

    /// `POST /containers/{id}/wait`: returns as soon as the engine waits.
    pub async fn container_wait(&self, id: &str, condition: WaitCondition) -> Result<Waiting, Error> {
        let path = container(id, "/wait");
        let query = Query::new().set_text("condition", condition.as_str());
        Ok(Waiting { stream: self.send(Call::post(&path).query(query)).await?, body: Vec::new() })
    }

    /// `DELETE /containers/{id}`
    pub async fn container_remove(&self, id: &str, options: RemoveOptions) -> Result<(), Error> {
        let path = container(id, "");
        let query = Query::new()
            .set_flag("force", options.force)
            .set_flag("link", options.link)
            .set_flag("v", options.volumes);
        self.order(Call::delete(&path).query(query)).await
    }

    /// `POST /containers/{id}/attach`
    pub async fn container_attach(&self, id: &str, options: &AttachOptions) -> Result<Hijacked, Error> {
        let path = container(id, "/attach");
        let query = Query::new()
            .set_text("detachKeys", &options.detach_keys)
            .set_flag("logs", options.logs)
            .set_flag("stderr", options.stderr)
            .set_flag("stdin", options.stdin)
            .set_flag("stdout", options.stdout)
            .set_flag("stream", options.stream);
        self.hijack(Call::post(&path).query(query).header("content-type", "text/plain")?).await
    }

    /// `GET /containers/{id}/logs`
    pub async fn container_logs(&self, id: &str, options: &LogsOptions) -> Result<ByteStream, Error> {
        let path = container(id, "/logs");
        let query = Query::new()
            .set_flag("details", options.details)
            .set_flag("follow", options.follow)
            .set_text("since", &options.since)
            .set_flag("stderr", options.stderr)
            .set_flag("stdout", options.stdout)
            .set_text("tail", &options.tail)
            .set_flag("timestamps", options.timestamps)
            .set_text("until", &options.until);
        self.send(Call::get(&path).query(query)).await
    }

    /// `POST /containers/{id}/resize`
    pub async fn container_resize(&self, id: &str, height: u16, width: u16) -> Result<(), Error> {
        let path = container(id, "/resize");
        self.order(Call::post(&path).query(size(height, width))).await
    }

    /// `POST /containers/{id}/exec`: the id of the exec.
    pub async fn exec_create(&self, id: &str, request: &ExecCreateRequest) -> Result<String, Error> {
        let path = container(id, "/exec");
        let response: IdResponse = self.fetch(Call::post(&path).json(request)).await?;
        Ok(response.id)
    }

    /// `POST /exec/{id}/start`, detached.
    pub async fn exec_start(&self, id: &str, request: &ExecStartRequest) -> Result<(), Error> {
        let path = exec(id, "/start");
        self.order(Call::post(&path).json(request)).await
    }

    /// `POST /exec/{id}/start`, attached.
    pub async fn exec_attach(&self, id: &str, request: &ExecStartRequest) -> Result<Hijacked, Error> {
        let path = exec(id, "/start");
        self.hijack(Call::post(&path).json(request)).await
    }

    /// `POST /exec/{id}/resize`
    pub async fn exec_resize(&self, id: &str, height: u16, width: u16) -> Result<(), Error> {
        let path = exec(id, "/resize");
        self.order(Call::post(&path).query(size(height, width))).await
    }

    /// `GET /exec/{id}/json`
    pub async fn exec_inspect(&self, id: &str) -> Result<ExecInspect, Error> {
        let path = exec(id, "/json");
        self.fetch(Call::get(&path)).await
    }
}

/// Images.
impl Client {
    /// `GET /images/json`
    pub async fn image_list(&self, options: &ImageListOptions) -> Result<Vec<ImageSummary>, Error> {
        let query = Query::new()
            .set_flag("all", options.all)
            .set_text("filters", &options.filters.to_param())
            .set_flag("manifests", options.manifests)
            .set_flag("shared-size", options.shared_size);
        self.fetch(Call::get("/images/json").query(query)).await
    }

    /// `GET /images/{name}/json`: decoded, and as it came.
    pub async fn image_inspect(
        &self,
        name: &str,
        platform: Option<&Platform>,
    ) -> Result<(ImageInspect, Json), Error> {
        let path = image(name, "/json");
        let platform = platform.map(encode).unwrap_or_default();
        let query = Query::new().set_text("platform", &platform);
        let raw = self.fetch_raw(Call::get(&path).query(query)).await?;
        Ok((decode(&raw)?, Json::parse(&raw)?))
    }

    /// `DELETE /images/{name}`
    pub async fn image_remove(
        &self,
        name: &str,
        options: &ImageRemoveOptions,
    ) -> Result<Vec<ImageDelete>, Error> {
        let path = image(name, "");
        let mut query = Query::new().set_flag("force", options.force).set_flag("noprune", options.no_prune);
        for platform in &options.platforms {
            query = query.set("platforms", encode(platform));
        }
        self.fetch(Call::delete(&path).query(query)).await
    }

    /// `POST /images/create?fromImage=`: pulls, with progress. An error in the stream is a message with
    /// `error_detail`.
    pub async fn image_pull(&self, options: &PullOptions) -> Result<Messages, Error> {
        let query = Query::new()
            .set("fromImage", options.from_image.clone())
            .set_text("platform", &options.platform)
            .set_text("tag", &options.tag);
        let mut call = Call::post("/images/create").query(query);
        if let Some(auth) = &options.auth {
            call = call.header("x-registry-auth", &URL_SAFE.encode(encode(auth)))?;
        }
        Ok(Messages::new(self.send(call).await?))
    }

    /// `POST /images/create?fromSrc=`: makes an image of a tar archive of a root file system. `archive` is the
    /// body; it is read only if `from_src` is `-`.
    pub async fn image_import(
        &self,
        options: &ImportOptions,
        archive: impl AsyncRead + Send + Unpin + 'static,
    ) -> Result<Messages, Error> {
        let mut query = Query::new();
        for change in &options.changes {
            query = query.set("changes", change.clone());
        }
        let query = query
            .set("fromSrc", options.from_src.clone())
            .set_text("message", &options.message)
            .set_text("platform", &options.platform)
            .set_text("repo", &options.repo);
        let call = Call::post("/images/create").query(query);
        let call = if options.from_src == "-" { call.reader(archive) } else { call };
        Ok(Messages::new(self.send(call).await?))
    }

    /// `POST /images/load`: reads an archive of images.
    pub async fn image_load(
        &self,
        archive: impl AsyncRead + Send + Unpin + 'static,
        quiet: bool,
        platforms: &[Platform],
    ) -> Result<Messages, Error> {
        let mut query = Query::new();
        for platform in platforms {
            query = query.set("platform", encode(platform));
        }
        let query = query.set("quiet", if quiet { "1" } else { "0" });
        let call = Call::new(Method::POST, "/images/load").query(query).reader(archive);
        Ok(Messages::new(self.send(call).await?))
    }
}

/// Networks.
impl Client {
    /// `GET /networks`
    pub async fn network_list(&self, filters: &Filters) -> Result<Vec<Network>, Error> {
        let query = Query::new().set_text("filters", &filters.to_param());
        self.fetch(Call::get("/networks").query(query)).await
    }

    /// `GET /networks/{id}`: decoded, and as it came.
    pub async fn network_inspect(&self, id: &str, verbose: bool) -> Result<(Network, Json), Error> {
        let path = format!("/networks/{}", escape_path(id));
        let query = if verbose { Query::new().set("verbose", "true") } else { Query::new() };
        let raw = self.fetch_raw(Call::get(&path).query(query)).await?;
        Ok((decode(&raw)?, Json::parse(&raw)?))
    }
}

fn container(id: &str, rest: &str) -> String {
    format!("/containers/{}{rest}", escape_path(id))
}

fn exec(id: &str, rest: &str) -> String {
    format!("/exec/{}{rest}", escape_path(id))
}

fn image(name: &str, rest: &str) -> String {
    format!("/images/{}{rest}", escape_path(name))
}

fn size(height: u16, width: u16) -> Query {
    Query::new().set("h", height.to_string()).set("w", width.to_string())
}
