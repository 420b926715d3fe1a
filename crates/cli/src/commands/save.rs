//! `save`: the engine's archive into a file or to standard output.

use std::io::Write;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::platform;
use crate::error::{Error, io_text};
use crate::grammar::Parsed;
use crate::session::Session;
use crate::stdio::AsyncOut;

/// `save`
pub async fn save(session: &Session<'_>, parsed: &Parsed) -> Result<(), Error> {
    let platform = platform(parsed)?;
    let output = parsed.text("output");
    if output.is_empty() && session.out.is_terminal() {
        return Err(Error::failed("cowardly refusing to save to a terminal. Use the -o flag or redirect"));
    }
    if !output.is_empty() {
        check(Path::new(output)).map_err(|text| Error::failed(format!("failed to save image: {text}")))?;
    }
    let mut archive = session.client().await?.image_save(&parsed.args, platform.as_ref()).await?;
    if output.is_empty() {
        let out = AsyncOut::new(session.out);
        while let Some(chunk) = archive.next().await? {
            out.write(&chunk).await?;
        }
        return Ok(());
    }
    let mut file = Target::begin(Path::new(output))?;
    while let Some(chunk) = archive.next().await? {
        file.write(&chunk)?;
    }
    file.finish()
}

/// Docker's checks of an output's path.
pub(super) fn check(path: &Path) -> Result<(), String> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Err(error) = std::fs::metadata(folder) {
        return Err(format!("invalid output path: stat {}: {}", folder.display(), io_text(&error)));
    }
    let Ok(metadata) = std::fs::metadata(path) else { return Ok(()) };
    let kind = metadata.file_type();
    let what = if kind.is_dir() {
        "a directory"
    } else if kind.is_char_device() {
        "a character device file"
    } else if kind.is_block_device() {
        "a block device file"
    } else {
        return Ok(());
    };
    Err(format!("cannot write to {what}"))
}

/// A file that gets its name when it is complete.
pub(super) struct Target {
    path: PathBuf,
    temporary: PathBuf,
    file: Option<std::fs::File>,
}

impl Target {
    pub(super) fn begin(path: &Path) -> Result<Target, Error> {
        let name = format!(".docker_temp_{}", std::process::id());
        let temporary = path.with_file_name(name);
        let file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(|e| Error::io(format!("open {}", temporary.display()), e))?;
        Ok(Target { path: path.to_owned(), temporary, file: Some(file) })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.write_all(bytes).map_err(|e| Error::io(format!("write {}", self.temporary.display()), e))
    }

    pub(super) fn finish(mut self) -> Result<(), Error> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let named = file.sync_all().and_then(|()| std::fs::rename(&self.temporary, &self.path));
        named.map_err(|e| {
            let _ = std::fs::remove_file(&self.temporary);
            Error::io(format!("write {}", self.path.display()), e)
        })
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}
