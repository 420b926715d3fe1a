//! The flags of the commands that act on images.

use super::{FORMAT_INSPECT, FORMAT_LIST};
use crate::grammar::{Flag, Kind};

/// `pull`
pub static PULL: &[Flag] = &[
    Flag::switch("all-tags", "Download all tagged images in the repository").short('a'),
    Flag::switch("disable-content-trust", "Skip image verification").default("true"),
    Flag::text("platform", "Set platform if server is multi-platform capable"),
    Flag::switch("quiet", "Suppress verbose output").short('q'),
];

/// `images`
pub static IMAGES: &[Flag] = &[
    Flag::switch("all", "Show all images (default hides intermediate images)").short('a'),
    Flag::switch("digests", "Show digests"),
    Flag::new("filter", Kind::Filter, "Filter output based on conditions provided").short('f'),
    Flag::text("format", FORMAT_LIST),
    Flag::switch("no-trunc", "Don't truncate output"),
    Flag::switch("quiet", "Only show image IDs").short('q'),
    Flag::switch("tree", "List multi-platform images as a tree (EXPERIMENTAL)"),
];

/// `rmi`
pub static RMI: &[Flag] = &[
    Flag::switch("force", "Force removal of the image").short('f'),
    Flag::switch("no-prune", "Do not delete untagged parents"),
    Flag::new(
        "platform",
        Kind::Word("strings"),
        "Remove only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")",
    ),
];

/// `load`
pub static LOAD: &[Flag] = &[
    Flag::text("input", "Read from tar archive file, instead of STDIN").short('i'),
    Flag::text(
        "platform",
        "Load only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")",
    ),
    Flag::switch("quiet", "Suppress the load output").short('q'),
];

/// `import`
pub static IMPORT: &[Flag] = &[
    Flag::list("change", "Apply Dockerfile instruction to the created image").short('c'),
    Flag::text("message", "Set commit message for imported image").short('m'),
    Flag::text("platform", "Set platform if server is multi-platform capable"),
];

/// `image inspect`
pub static INSPECT: &[Flag] = &[
    Flag::text("format", FORMAT_INSPECT).short('f'),
    Flag::text(
        "platform",
        "Inspect a specific platform of the multi-platform image.\nIf the image or the server is not multi-platform capable, the command will error out if the platform does not match.\n'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)",
    )
    .later(),
];
