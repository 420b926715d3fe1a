//! Rows of `images`.

use std::rc::Rc;

use api::image::ImageSummary;
use oci::Reference;

use super::short_id;
use crate::listing::containers::View;
use crate::template::{Object, Value, plain};
use crate::time::go_string;
use crate::units::{human_duration, human_size};

/// The header's cells.
pub const HEADERS: &[(&str, &str)] = &[
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("VirtualSize", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
];

/// The format that options stand for.
pub fn format(given: &str, quiet: bool, digests: bool) -> String {
    let digest = if digests { "digest: {{.Digest}}\n" } else { "" };
    let column = if digests { "\t{{.Digest}}" } else { "" };
    match given {
        "table" if quiet => "{{.ID}}".to_owned(),
        "table" => format!(
            "table {{{{.Repository}}}}\t{{{{.Tag}}}}{column}\t{{{{.ID}}}}\t\
             {{{{if .CreatedSince }}}}{{{{.CreatedSince}}}}{{{{else}}}}N/A{{{{end}}}}\t{{{{.Size}}}}"
        ),
        "raw" if quiet => "image_id: {{.ID}}".to_owned(),
        "raw" => format!(
            "repository: {{{{ .Repository }}}}\ntag: {{{{.Tag}}}}\n{digest}image_id: {{{{.ID}}}}\n\
             created_at: {{{{.CreatedAt}}}}\nvirtual_size: {{{{.Size}}}}\n"
        ),
        given if given.starts_with("table") && digests && !given.contains("{{.Digest}}") => {
            format!("{given}{column}")
        }
        given => given.to_owned(),
    }
}

/// The rows of images: one for each tag, or for each name without one.
pub fn rows(images: &[ImageSummary], format: &str, digests: bool, view: &View) -> Vec<Value> {
    let mut out = Vec::new();
    for image in images {
        let mut add = |repository: &str, tag: &str, digest: &str| {
            out.push(Value::Object(Rc::new(Row {
                image: image.clone(),
                repository: repository.to_owned(),
                tag: tag.to_owned(),
                digest: digest.to_owned(),
                view: view.clone(),
            })));
        };
        if is_dangling(image) {
            add(NONE, NONE, NONE);
            continue;
        }
        let with_digest = digests || format.contains("{{.Digest}}");
        let tags = by_name(&image.repo_tags, |r| r.tag().map(str::to_owned));
        let mut names = by_name(&image.repo_digests, |r| r.digest().map(ToString::to_string));
        for (name, tags) in tags {
            let own = names.iter().position(|(n, _)| *n == name).map(|at| names.remove(at).1);
            let own = own.filter(|_| with_digest).unwrap_or_default();
            for tag in tags {
                if own.is_empty() {
                    add(&name, &tag, NONE);
                }
                own.iter().for_each(|digest| add(&name, &tag, digest));
            }
        }
        for (name, found) in names {
            if digests {
                found.iter().for_each(|digest| add(&name, NONE, digest));
            } else {
                add(&name, NONE, "");
            }
        }
    }
    out
}

const NONE: &str = "<none>";

fn is_dangling(image: &ImageSummary) -> bool {
    let tags = image.repo_tags.as_deref().unwrap_or(&[]);
    let digests = image.repo_digests.as_deref().unwrap_or(&[]);
    (tags.is_empty() && digests.is_empty()) || (tags == ["<none>:<none>"] && digests == ["<none>@<none>"])
}

/// What references say beside their names, by familiar name, in order.
fn by_name(
    references: &Option<Vec<String>>,
    part: impl Fn(&Reference) -> Option<String>,
) -> Vec<(String, Vec<String>)> {
    let mut out: Vec<(String, Vec<String>)> = Vec::new();
    for text in references.iter().flatten() {
        let Ok(reference) = Reference::parse(text) else { continue };
        let Some(part) = part(&reference) else { continue };
        let name = reference.familiar_name();
        match out.iter_mut().find(|(n, _)| *n == name) {
            Some((_, parts)) => parts.push(part),
            None => out.push((name, vec![part])),
        }
    }
    out
}

struct Row {
    image: ImageSummary,
    repository: String,
    tag: String,
    digest: String,
    view: View,
}

impl Row {
    fn text(&self, name: &str) -> Option<String> {
        let image = &self.image;
        let unknown = || "N/A".to_owned();
        Some(match name {
            "ID" if self.view.truncate => short_id(&image.id),
            "ID" => image.id.clone(),
            "Repository" => self.repository.clone(),
            "Tag" => self.tag.clone(),
            "Digest" => self.digest.clone(),
            "CreatedSince" => format!("{} ago", human_duration(self.view.now - image.created as f64)),
            "CreatedAt" => go_string(image.created, &self.view.zone),
            "Size" => human_size(image.size, 3),
            "VirtualSize" => human_size(image.size, 4),
            "Containers" if image.containers == -1 => unknown(),
            "Containers" => image.containers.to_string(),
            "SharedSize" if image.shared_size == -1 => unknown(),
            "SharedSize" => human_size(image.shared_size, 4),
            "UniqueSize" if image.size == -1 || image.shared_size == -1 => unknown(),
            "UniqueSize" => human_size(image.size - image.shared_size, 4),
            _ => return None,
        })
    }
}

impl Object for Row {
    fn type_name(&self) -> &'static str {
        "*formatter.imageContext"
    }
    fn get(&self, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
        plain(name, self.text(name)?, args)
    }
    fn names(&self) -> &'static [&'static str] {
        &[
            "Containers",
            "CreatedAt",
            "CreatedSince",
            "Digest",
            "ID",
            "Repository",
            "SharedSize",
            "Size",
            "Tag",
            "UniqueSize",
            "VirtualSize",
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::print;
    use crate::time::Zone;

    fn shown(given: &str, quiet: bool, digests: bool, truncate: bool) -> String {
        let digest = "b".repeat(64);
        let json = format!(
            r#"[{{"Id":"sha256:0123456789abcdef","RepoTags":["nginx:1.22","nginx:latest"],"RepoDigests":["nginx@sha256:{digest}"],"Created":1700000000,"Size":142000000,"SharedSize":-1,"Containers":-1}},
            {{"Id":"sha256:ffff","RepoTags":[],"RepoDigests":[],"Created":1700000000,"Size":5}}]"#
        );
        let images: Vec<ImageSummary> = api::go::decode(json.as_bytes()).unwrap();
        let view = View { truncate, now: 1_700_000_000.0 + 7200.0, zone: Zone::default() };
        let format = format(given, quiet, digests);
        print(&format, HEADERS, &rows(&images, &format, digests, &view)).unwrap()
    }

    #[test]
    fn tables() {
        assert_eq!(
            shown("table", false, false, true),
            "REPOSITORY   TAG       IMAGE ID       CREATED       SIZE\n\
             nginx        1.22      0123456789ab   2 hours ago   142MB\n\
             nginx        latest    0123456789ab   2 hours ago   142MB\n\
             <none>       <none>    ffff           2 hours ago   5B\n"
        );
        assert_eq!(shown("table", true, false, true), "0123456789ab\n0123456789ab\nffff\n");
        assert_eq!(
            shown("{{.Repository}}:{{.Tag}} {{.SharedSize}} {{.Containers}}", false, false, true),
            "nginx:1.22 N/A N/A\nnginx:latest N/A N/A\n<none>:<none> 0B 0\n"
        );
        let digests = shown("table", false, true, false);
        assert!(digests.contains(&format!(
            "nginx        1.22      sha256:{}   sha256:0123456789abcdef",
            "b".repeat(64)
        )));
    }
}
