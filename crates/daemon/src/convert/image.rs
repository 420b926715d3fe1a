//! Images as lists and inspections show them.

use std::collections::BTreeMap;

use api::ApiVersion;
use api::container::{DriverData, HealthConfig};
use api::filters::Filters;
use api::go::Empty;
use api::image::{
    AttestationProperties, ImageConfig, ImageInspect, ImageMetadata, ImageProperties, ImageSummary,
    ManifestSize, ManifestSummary, RootFs, UnpackedSize,
};
use engine::images::{ImageInfo, Variant};

use super::inspect::DRIVER;
use super::{descriptor, words};
use crate::reply::Refusal;

/// Which images a list shows.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    references: Vec<String>,
    labels: Vec<String>,
    dangling: Option<bool>,
}

impl Filter {
    /// By dockerd's names; what is not there yet is refused by name.
    pub(crate) fn parse(filters: &Filters) -> Result<Filter, Refusal> {
        let mut filter = Filter::default();
        for (name, values) in filters.iter() {
            match name {
                "reference" => filter.references = values.to_vec(),
                "label" => filter.labels = values.to_vec(),
                "dangling" => filter.dangling = Some(boolean(name, values)?),
                "before" | "since" | "until" => {
                    return Err(Refusal::later(&format!("the filter {name}")));
                }
                other => return Err(Refusal::bad_request(format!("invalid filter '{other}'"))),
            }
        }
        Ok(filter)
    }

    /// The image with those of its names that the references ask for.
    pub(crate) fn narrowed(&self, image: &ImageInfo) -> ImageInfo {
        let mut image = image.clone();
        if !self.references.is_empty() {
            image.tags.retain(|tag| self.references.iter().any(|pattern| matches(pattern, tag)));
            let names: Vec<&str> = image.tags.iter().map(|tag| repository(tag)).collect();
            image.digests.retain(|digest| names.contains(&repository(digest)));
        }
        image
    }

    /// Whether an image is shown.
    pub(crate) fn passes(&self, image: &ImageInfo) -> bool {
        let label = |wanted: &String| match wanted.split_once('=') {
            Some((key, value)) => image.labels.get(key).is_some_and(|have| have == value),
            None => image.labels.contains_key(wanted),
        };
        let named = |pattern: &String| image.tags.iter().any(|tag| matches(pattern, tag));
        self.dangling.is_none_or(|wanted| wanted == image.tags.is_empty())
            && self.labels.iter().all(label)
            && (self.references.is_empty() || self.references.iter().any(named))
    }
}

fn boolean(name: &str, values: &[String]) -> Result<bool, Refusal> {
    let any = |words: [&str; 2]| values.iter().any(|value| words.contains(&value.as_str()));
    match (any(["1", "true"]), any(["0", "false"])) {
        (true, false) => Ok(true),
        (false, true) => Ok(false),
        _ => Err(Refusal::bad_request(format!("invalid filter '{name}=[{}]'", values.join(" ")))),
    }
}

/// Go's `path.Match` for `*` and `?` over the whole name, with or without its tag (distribution's FamiliarMatch).
fn matches(pattern: &str, tag: &str) -> bool {
    glob(pattern.as_bytes(), tag.as_bytes()) || glob(pattern.as_bytes(), repository(tag).as_bytes())
}

/// A name without tag and digest.
fn repository(name: &str) -> &str {
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(name, |(name, _)| name)
}

fn glob(pattern: &[u8], text: &[u8]) -> bool {
    // Greedy with one place to come back to: linear in practice, quadratic at worst, never exponential.
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(b'?') if text[t] != b'/' => (p, t) = (p + 1, t + 1),
            Some(byte) if *byte == text[t] => (p, t) = (p + 1, t + 1),
            // A star takes one byte more, but no slash.
            _ => match star {
                Some((at, from)) if text[from] != b'/' => {
                    star = Some((at, from + 1));
                    (p, t) = (at + 1, from + 1);
                }
                _ => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// One manifest of an image in a list.
pub(crate) fn variant(from: &Variant) -> ManifestSummary {
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let subject = || {
        let annotation = from.descriptor.annotations.get("vnd.docker.reference.digest");
        AttestationProperties { subject: annotation.cloned().unwrap_or_default() }
    };
    let attests = from.descriptor.is_attestation();
    let image = || ImageProperties {
        platform: super::platform(&from.platform),
        size: UnpackedSize { unpacked: number(from.unpacked) },
        containers: (!from.containers.is_empty()).then(|| from.containers.clone()),
    };
    ManifestSummary {
        id: from.descriptor.digest.to_string(),
        descriptor: descriptor(&from.descriptor),
        available: from.available,
        size: ManifestSize {
            content: number(from.content),
            total: number(from.content.saturating_add(from.unpacked)),
        },
        kind: if attests { "attestation" } else { "image" }.to_owned(),
        image_data: (!attests).then(image),
        attestation_data: attests.then(subject),
    }
}

/// One line of `GET /images/json`.
pub(crate) fn summary(image: &ImageInfo, version: ApiVersion) -> ImageSummary {
    let old_none = version < ApiVersion::v1(43) && image.tags.is_empty() && image.digests.is_empty();
    let (tags, digests) = if old_none {
        (vec!["<none>:<none>".to_owned()], vec!["<none>@<none>".to_owned()])
    } else {
        // dockerd's list has the digest of the last name only; its inspect has all.
        (image.tags.clone(), image.digests.last().cloned().into_iter().collect())
    };
    let size = i64::try_from(image.size).unwrap_or(i64::MAX);
    ImageSummary {
        // Of an image without any content dockerd counts none.
        containers: if version < ApiVersion::v1(51) || image.size == 0 {
            -1
        } else {
            image.containers as i64
        },
        created: image.created_ns.div_euclid(1_000_000_000),
        id: image.id.clone(),
        labels: (!image.labels.is_empty()).then(|| image.labels.clone()),
        descriptor: (version >= ApiVersion::v1(48)).then(|| descriptor(&image.target)),
        repo_digests: Some(digests),
        repo_tags: Some(tags),
        // Only a request for it computes it.
        shared_size: -1,
        size,
        virtual_size: if version < ApiVersion::v1(44) { size } else { 0 },
        ..ImageSummary::default()
    }
}

/// The whole body of `GET /images/{name}/json`.
pub(crate) fn inspect(image: &ImageInfo, version: ApiVersion) -> ImageInspect {
    let size = i64::try_from(image.content_size).unwrap_or(i64::MAX);
    let config = image.config.as_ref();
    let created = if image.created_ns == 0 && version >= ApiVersion::v1(44) {
        String::new()
    } else {
        words::time(image.created_ns)
    };
    ImageInspect {
        id: image.id.clone(),
        repo_tags: image.tags.clone(),
        repo_digests: image.digests.clone(),
        comment: config.and_then(|c| c.history.last()).map(|h| h.comment.clone()).unwrap_or_default(),
        created,
        docker_version: config.map(|c| c.docker_version.clone()).unwrap_or_default(),
        author: config.map(|c| c.author.clone()).unwrap_or_default(),
        architecture: config.map(|c| c.architecture.clone()).unwrap_or_default(),
        variant: config.map(|c| c.variant.clone()).unwrap_or_default(),
        os: config.map(|c| c.os.clone()).unwrap_or_default(),
        os_version: config.map(|c| c.os_version.clone()).unwrap_or_default(),
        size,
        virtual_size: if version < ApiVersion::v1(44) { size } else { 0 },
        graph_driver: DriverData { data: None, name: DRIVER.to_owned() },
        root_fs: RootFs {
            kind: "layers".to_owned(),
            layers: (!image.layers.is_empty()).then(|| image.layers.clone()),
        },
        metadata: ImageMetadata { last_tag_time: words::time(image.tagged_ns) },
        descriptor: (version >= ApiVersion::v1(48)).then(|| descriptor(&image.target)),
        config: Some(config.map(|c| image_config(&c.config, version)).unwrap_or_default()),
        ..ImageInspect::default()
    }
}

fn image_config(from: &oci::Config, version: ApiVersion) -> ImageConfig {
    let list = |words: &[String]| (!words.is_empty()).then(|| words.to_vec());
    let set = |names: &std::collections::BTreeSet<String>| {
        let map: BTreeMap<String, Empty> = names.iter().map(|name| (name.clone(), Empty)).collect();
        (!map.is_empty()).then_some(map)
    };
    // Fields of a container that images once had: API before 1.50 shows them at zero.
    let legacy = version < ApiVersion::v1(50);
    let no = legacy.then_some(false);
    let nothing = legacy.then(String::new);
    ImageConfig {
        args_escaped: from.args_escaped,
        attach_stderr: no,
        attach_stdin: no,
        attach_stdout: no,
        cmd: list(&from.cmd),
        domainname: nothing.clone(),
        entrypoint: list(&from.entrypoint),
        env: list(&from.env),
        exposed_ports: set(&from.exposed_ports),
        healthcheck: from.healthcheck.as_ref().map(|health| HealthConfig {
            test: list(&health.test),
            interval: health.interval,
            timeout: health.timeout,
            start_period: health.start_period,
            start_interval: health.start_interval,
            retries: health.retries as isize,
        }),
        hostname: nothing.clone(),
        image: nothing,
        labels: (!from.labels.is_empty()).then(|| from.labels.clone()),
        on_build: list(&from.on_build),
        open_stdin: no,
        shell: list(&from.shell),
        stdin_once: no,
        stop_signal: from.stop_signal.clone(),
        tty: no,
        user: from.user.clone(),
        volumes: set(&from.volumes),
        working_dir: from.working_dir.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_match_as_paths_do() {
        for (pattern, tag, expected) in [
            ("busybox", "busybox:latest", true),
            ("busybox:latest", "busybox:latest", true),
            ("busy*", "busybox:latest", true),
            ("*", "a/b:1", false),
            ("*/*", "a/b:1", true),
            ("*:1", "b:1", true),
            ("b?x", "box:2", true),
            ("localhost:5000/*", "localhost:5000/x:1", true),
            ("busybox:1", "busybox:2", false),
            ("busy*", "busybox@sha256:0123", true),
            ("localhost:5000/x", "localhost:5000/x@sha256:0123", true),
            ("", "busybox", false),
            ("a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:1", false),
        ] {
            assert_eq!(matches(pattern, tag), expected, "{pattern} {tag}");
        }
    }
}
