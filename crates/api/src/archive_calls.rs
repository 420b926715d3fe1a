//! The calls that move files: archives into and out of containers, exports.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use tokio::io::AsyncRead;

use crate::Error;
use crate::client::{Call, Client};
use crate::container::IdResponse;
use crate::go::{decode, encode};
use crate::query::{Query, escape_path};
use crate::stats::PathStat;
use crate::stream::ByteStream;

/// The header that says what a path is.
pub const PATH_STAT: &str = "x-docker-container-path-stat";

impl PathStat {
    /// As a header.
    pub fn to_header(&self) -> String {
        STANDARD.encode(encode(self))
    }

    fn from_header(text: Option<&str>) -> Result<PathStat, Error> {
        let bytes = STANDARD.decode(text.unwrap_or_default());
        let unreadable = || Error::PathStat;
        decode(&bytes.map_err(|_| unreadable())?).map_err(|_| unreadable())
    }
}

/// How [`Client::archive_put`] unpacks.
#[derive(Debug, Clone, Copy, Default)]
pub struct ArchivePutOptions {
    /// A folder may not replace a file, nor the other way round.
    pub no_overwrite_dir_non_dir: bool,
    /// The files belong to the container's user.
    pub copy_uid_gid: bool,
}

/// What [`Client::commit`] makes an image of, and how.
#[derive(Debug, Clone, Default)]
pub struct CommitOptions {
    /// The container.
    pub container: String,
    /// The image's repository; may be empty.
    pub repo: String,
    /// Its tag.
    pub tag: String,
    /// A remark.
    pub comment: String,
    /// Who makes it.
    pub author: String,
    /// Dockerfile instructions.
    pub changes: Vec<String>,
    /// The container stands still meanwhile.
    pub pause: bool,
}

impl Client {
    /// `HEAD /containers/{id}/archive`
    pub async fn archive_stat(&self, id: &str, path: &str) -> Result<PathStat, Error> {
        let target = archive(id);
        let query = Query::new().set("path", path);
        let answer = self.send(Call::new(Method::HEAD, &target).query(query)).await?;
        PathStat::from_header(answer.header(PATH_STAT))
    }

    /// `GET /containers/{id}/archive`: what the path is, and a tar.
    pub async fn archive_get(&self, id: &str, path: &str) -> Result<(PathStat, ByteStream), Error> {
        let target = archive(id);
        let query = Query::new().set("path", path);
        let answer = self.send(Call::get(&target).query(query)).await?;
        Ok((PathStat::from_header(answer.header(PATH_STAT))?, answer))
    }

    /// `PUT /containers/{id}/archive`: a tar is unpacked in the folder `path`.
    pub async fn archive_put<R>(
        &self,
        id: &str,
        path: &str,
        options: ArchivePutOptions,
        tar: R,
    ) -> Result<(), Error>
    where
        R: AsyncRead + Send + Unpin + 'static,
    {
        let target = archive(id);
        let mut query = Query::new().set("path", path);
        if options.no_overwrite_dir_non_dir {
            query = query.set("noOverwriteDirNonDir", "true");
        }
        if options.copy_uid_gid {
            query = query.set("copyUIDGID", "true");
        }
        self.order(Call::new(Method::PUT, &target).query(query).reader(tar)).await
    }

    /// `POST /commit`: the new image's id.
    pub async fn commit(&self, options: &CommitOptions) -> Result<String, Error> {
        let mut query = Query::new().set_text("author", &options.author);
        for change in &options.changes {
            query = query.set("changes", change.clone());
        }
        query = query.set_text("comment", &options.comment).set("container", options.container.clone());
        if !options.pause {
            query = query.set("pause", "0");
        }
        query = query.set_text("repo", &options.repo).set_text("tag", &options.tag);
        let made: IdResponse = self.fetch(Call::post("/commit").query(query)).await?;
        Ok(made.id)
    }

    /// `GET /containers/{id}/export`: a tar.
    pub async fn container_export(&self, id: &str) -> Result<ByteStream, Error> {
        let path = format!("/containers/{}/export", escape_path(id));
        self.send(Call::get(&path)).await
    }
}

fn archive(id: &str) -> String {
    format!("/containers/{}/archive", escape_path(id))
}
