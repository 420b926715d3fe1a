//! Rows of `system df`: one for each kind of thing.

use std::rc::Rc;

use api::usage::DiskUsage;

use crate::template::{Object, Value, plain};
use crate::units::human_size;

/// The header's cells.
pub const HEADERS: &[(&str, &str)] = &[
    ("Type", "TYPE"),
    ("TotalCount", "TOTAL"),
    ("Active", "ACTIVE"),
    ("Size", "SIZE"),
    ("Reclaimable", "RECLAIMABLE"),
];

/// The header of builds' caches, of which there are none.
pub const CACHE_HEADERS: &[(&str, &str)] = &[
    ("ID", "CACHE ID"),
    ("CacheType", "CACHE TYPE"),
    ("Size", "SIZE"),
    ("CreatedSince", "CREATED"),
    ("LastUsedSince", "LAST USED"),
    ("UsageCount", "USAGE"),
    ("Shared", "SHARED"),
];

/// The format that options stand for.
pub fn format(given: &str) -> String {
    match given {
        "" | "table" => {
            "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}".to_owned()
        }
        "raw" => "type: {{.Type}}\ntotal: {{.TotalCount}}\nactive: {{.Active}}\nsize: {{.Size}}\nreclaimable: {{.Reclaimable}}\n".to_owned(),
        given => given.to_owned(),
    }
}

/// The four rows.
pub fn rows(usage: &DiskUsage) -> Vec<Value> {
    [images(usage), containers(usage), volumes(usage), caches(usage)]
        .into_iter()
        .map(|row| Value::Object(Rc::new(row)))
        .collect()
}

struct Row {
    kind: &'static str,
    total: usize,
    active: usize,
    size: i64,
    reclaimable: i64,
}

fn images(usage: &DiskUsage) -> Row {
    let images = usage.images.as_deref().unwrap_or_default();
    let used: i64 = images
        .iter()
        .filter(|image| image.containers != 0 && image.size != -1 && image.shared_size != -1)
        .map(|image| image.size - image.shared_size)
        .sum();
    Row {
        kind: "Images",
        total: images.len(),
        active: images.iter().filter(|image| image.containers > 0).count(),
        size: usage.layers_size,
        reclaimable: usage.layers_size - used,
    }
}

fn containers(usage: &DiskUsage) -> Row {
    let containers = usage.containers.as_deref().unwrap_or_default();
    let active = |state: &str| ["running", "paused", "restarting"].iter().any(|word| state.contains(word));
    let sum = |idle: bool| containers.iter().filter(|c| !idle || !active(&c.state)).map(|c| c.size_rw).sum();
    Row {
        kind: "Containers",
        total: containers.len(),
        active: containers.iter().filter(|c| active(&c.state)).count(),
        size: sum(false),
        reclaimable: sum(true),
    }
}

fn volumes(usage: &DiskUsage) -> Row {
    let volumes = usage.volumes.as_deref().unwrap_or_default();
    let usages = || volumes.iter().filter_map(|volume| volume.usage_data.as_ref());
    let sum =
        |idle: bool| usages().filter(|u| u.size != -1 && (!idle || u.ref_count == 0)).map(|u| u.size).sum();
    Row {
        kind: "Local Volumes",
        total: volumes.len(),
        active: usages().filter(|u| u.ref_count > 0).count(),
        size: sum(false),
        reclaimable: sum(true),
    }
}

fn caches(usage: &DiskUsage) -> Row {
    let total = usage.build_cache.as_ref().map_or(0, Vec::len);
    Row { kind: "Build Cache", total, active: 0, size: 0, reclaimable: 0 }
}

impl Row {
    fn text(&self, name: &str) -> Option<String> {
        Some(match name {
            "Type" => self.kind.to_owned(),
            "TotalCount" => self.total.to_string(),
            "Active" => self.active.to_string(),
            "Size" => human_size(self.size, 4),
            "Reclaimable" => {
                let size = human_size(self.reclaimable, 4);
                match self.size {
                    whole if whole > 0 => format!("{size} ({}%)", self.reclaimable * 100 / whole),
                    _ => size,
                }
            }
            _ => return None,
        })
    }
}

impl Object for Row {
    fn type_name(&self) -> &'static str {
        match self.kind {
            "Images" => "*formatter.diskUsageImagesContext",
            "Containers" => "*formatter.diskUsageContainersContext",
            "Local Volumes" => "*formatter.diskUsageVolumesContext",
            _ => "*formatter.diskUsageBuilderContext",
        }
    }
    fn get(&self, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
        plain(name, self.text(name)?, args)
    }
    fn names(&self) -> &'static [&'static str] {
        &["Active", "Reclaimable", "Size", "TotalCount", "Type"]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::print;

    #[test]
    fn figures_are_dockers() {
        let text = r#"{"LayersSize":3085037,
            "Images":[{"Containers":0,"Size":3051647,"SharedSize":1990656},{"Containers":3,"Size":3051442,"SharedSize":1990656}],
            "Containers":[{"State":"created"},{"State":"running","SizeRw":12288},{"State":"exited","SizeRw":4096}],
            "Volumes":[{"Name":"a","UsageData":{"RefCount":1,"Size":10}},{"Name":"b","UsageData":{"RefCount":0,"Size":5}}],
            "BuildCache":[]}"#;
        let usage: DiskUsage = api::go::decode(text.as_bytes()).unwrap();
        for (given, expected) in [
            (
                "",
                "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE\n\
                 Images          2         1         3.085MB   2.024MB (65%)\n\
                 Containers      3         1         16.38kB   4.096kB (25%)\n\
                 Local Volumes   2         1         15B       5B (33%)\n\
                 Build Cache     0         0         0B        0B\n",
            ),
            (
                "{{.Type}}:{{.Size}}",
                "Images:3.085MB\nContainers:16.38kB\nLocal Volumes:15B\nBuild Cache:0B\n",
            ),
        ] {
            assert_eq!(print(&format(given), HEADERS, &rows(&usage)).unwrap(), expected);
        }
    }
}
