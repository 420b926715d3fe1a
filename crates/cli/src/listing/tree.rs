//! `images --tree`: names, and below them the variant of each platform, as Docker's CLI draws them.
//!
//! Without a terminal the output counts as 80 columns wide and has no colours, except for the header, as Docker has it.

use api::image::{ImageSummary, ManifestSummary};
use oci::Reference;

use super::short_id;
use crate::table::{ellipsis, width};
use crate::units::human_size;

const GAP: &str = "   ";
/// The columns right of the names: title, width, and whether numbers stand at its right side.
const COLUMNS: [(&str, usize, bool); 4] =
    [("ID", 12, false), ("DISK USAGE", 10, true), ("CONTENT SIZE", 12, true), ("EXTRA", 5, false)];
/// Fewer columns than that for the names, and the last column beside them gives way.
const MIN_NAMES: usize = 20;
/// What an output without a terminal counts as.
const USUAL_WIDTH: usize = 80;
const BOLD_BLUE: &str = "\u{1b}[34m\u{1b}[1m";
const PLAIN: &str = "\u{1b}[39m";
const CHIP: &str = "\u{1b}[38;5;0m\u{1b}[48;5;14m";
const END: &str = "\u{1b}[0m";

/// One block: all names of an image, the last with its figures, and its variants.
struct Block {
    names: Vec<String>,
    cells: Cells,
    variants: Vec<(String, Cells)>,
}

struct Cells {
    id: String,
    disk: String,
    content: String,
    in_use: bool,
}

/// The tree; `columns` is the terminal's width, if it is one.
pub fn draw(images: &[ImageSummary], all: bool, columns: Option<usize>) -> String {
    let blocks: Vec<Block> = images.iter().filter_map(|image| block(image, all)).collect();
    let page = Page::new(&blocks, columns);
    let mut out = page.legend();
    out.push_str(&page.header());
    for block in &blocks {
        page.block(block, &mut out);
    }
    out
}

/// The line above it.
pub fn warning(terminal: bool) -> String {
    let text =
        "WARNING: This is an experimental feature. The output may change and shouldn't be depended on.";
    if terminal { format!("\u{1b}[93m{text}{END}") } else { text.to_owned() }
}

fn block(image: &ImageSummary, all: bool) -> Option<Block> {
    let familiar = |text: &String| Reference::parse(text).map_or_else(|_| text.clone(), |r| r.familiar());
    let mut names: Vec<String> = image.repo_tags.iter().flatten().map(familiar).collect();
    if names.is_empty() {
        if !all {
            return None;
        }
        names.push("<untagged>".to_owned());
    }
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    let manifests = image.manifests.as_deref().unwrap_or_default();
    let variants: Vec<(String, Cells)> = manifests.iter().filter_map(variant).collect();
    let content = manifests.iter().map(|m| m.size.content).sum();
    let cells = Cells {
        id: short_id(&image.id),
        disk: human_size(image.size, 3),
        content: human_size(content, 3),
        in_use: image.containers > 0,
    };
    Some(Block { names, cells, variants })
}

fn variant(manifest: &ManifestSummary) -> Option<(String, Cells)> {
    let data = manifest.image_data.as_ref()?;
    let platform = [&data.platform.os, &data.platform.architecture, &data.platform.variant];
    let words: Vec<&str> = platform.into_iter().map(String::as_str).filter(|w| !w.is_empty()).collect();
    let cells = Cells {
        id: short_id(&manifest.id),
        disk: human_size(manifest.size.total, 3),
        content: human_size(manifest.size.content, 3),
        in_use: data.containers.as_ref().is_some_and(|list| !list.is_empty()),
    };
    Some((words.join("/"), cells))
}

struct Page {
    terminal: bool,
    width: usize,
    names: usize,
    shown: usize,
}

impl Page {
    fn new(blocks: &[Block], columns: Option<usize>) -> Page {
        let width = columns.unwrap_or(USUAL_WIDTH);
        let room = |shown: usize| {
            let taken: usize = COLUMNS[..shown].iter().map(|(_, width, _)| width + GAP.len()).sum();
            // The space before the first of them belongs to the names.
            (width + GAP.len()).saturating_sub(taken)
        };
        let shown = (0..=COLUMNS.len()).rev().find(|shown| room(*shown) >= MIN_NAMES).unwrap_or(0);
        // Docker counts the bytes of the branches, not their columns.
        let longest = blocks.iter().flat_map(|block| {
            let variants = block.variants.iter().map(|(name, _)| "└─ ".len() + name.len());
            block.names.iter().map(String::len).chain(variants)
        });
        let wanted = longest.max().unwrap_or(0).max("IMAGE".len()) + GAP.len();
        let names = if columns.is_some() { room(shown) } else { wanted.min(room(shown)) };
        Page { terminal: columns.is_some(), width, names, shown }
    }

    fn legend(&self) -> String {
        match self.terminal {
            true => {
                let space = " ".repeat(self.width.saturating_sub(21));
                format!(
                    "{space}\u{1b}[1m\u{1b}[106m\u{1b}[30mi{END}{END} \u{1b}[96mInfo → {END}{END} {CHIP} U {END} In Use \n\n"
                )
            }
            false => format!("{}Info ->  U In Use \n\n", " ".repeat(self.width.saturating_sub(18))),
        }
    }

    fn header(&self) -> String {
        let title = |text: &str| format!("{PLAIN}\u{1b}[1m{text}{END}");
        let mut line = title("IMAGE");
        let mut before = self.names.saturating_sub("IMAGE".len());
        for (text, width, _) in &COLUMNS[..self.shown] {
            line.push_str(&" ".repeat(before));
            line.push_str(&title(text));
            before = width - text.len() + GAP.len();
        }
        line.push('\n');
        line
    }

    fn block(&self, block: &Block, out: &mut String) {
        for (at, name) in block.names.iter().enumerate() {
            let cells = (at + 1 == block.names.len()).then_some(&block.cells);
            self.line(name, BOLD_BLUE, cells, out);
        }
        for (at, (name, cells)) in block.variants.iter().enumerate() {
            let branch = if at + 1 == block.variants.len() { "└─" } else { "├─" };
            self.line(&format!("{branch} {name}"), PLAIN, Some(cells), out);
        }
        out.push('\n');
    }

    fn line(&self, name: &str, colour: &str, cells: Option<&Cells>, out: &mut String) {
        let paint = |text: &str, colour: &str| match self.terminal && !text.is_empty() {
            true => format!("{colour}{text}{END}"),
            false => text.to_owned(),
        };
        let room = if cells.is_some() { self.names.saturating_sub(1) } else { self.width };
        let name = if self.terminal { ellipsis(name, room) } else { name.to_owned() };
        out.push_str(&paint(&name, colour));
        let Some(cells) = cells else { return out.push('\n') };
        out.push_str(&" ".repeat(self.names.saturating_sub(width(&name))));
        let chip = match (cells.in_use, self.terminal) {
            (true, true) => format!("{CHIP} U {END}  "),
            (true, false) => "U    ".to_owned(),
            (false, _) => " ".repeat(5),
        };
        let texts = [cells.id.as_str(), &cells.disk, &cells.content];
        for (at, (_, width, right)) in COLUMNS[..self.shown].iter().enumerate() {
            if at > 0 {
                out.push_str(GAP);
            }
            let Some(text) = texts.get(at) else {
                out.push_str(&chip);
                continue;
            };
            let space = " ".repeat(width.saturating_sub(text.len()));
            let text = paint(text, PLAIN);
            out.push_str(&if *right { format!("{space}{text}") } else { format!("{text}{space}") });
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::image::{ImageProperties, ManifestSize, Platform};

    fn manifest(arch: &str, used: bool) -> ManifestSummary {
        ManifestSummary {
            id: format!("sha256:{}", "0123456789abcdef".repeat(4)),
            size: ManifestSize { content: 1_082_642, total: 3_073_298 },
            image_data: Some(ImageProperties {
                platform: Platform { os: "linux".into(), architecture: arch.into(), ..Platform::default() },
                containers: used.then(|| vec!["c".into()]),
                ..ImageProperties::default()
            }),
            ..ManifestSummary::default()
        }
    }

    /// As Docker's CLI 28.5.2 draws it into a pipe.
    #[test]
    fn a_tree_is_dockers() {
        let image = ImageSummary {
            id: format!("sha256:{}", "41430258624b".repeat(5)),
            repo_tags: Some(vec!["multi:1".into()]),
            size: 6_146_598,
            containers: 1,
            manifests: Some(vec![manifest("arm64", false), manifest("amd64", true)]),
            ..ImageSummary::default()
        };
        let expected = "                                                              Info ->  U In Use \n\n\
            \u{1b}[39m\u{1b}[1mIMAGE\u{1b}[0m                \u{1b}[39m\u{1b}[1mID\u{1b}[0m             \u{1b}[39m\u{1b}[1mDISK USAGE\u{1b}[0m   \u{1b}[39m\u{1b}[1mCONTENT SIZE\u{1b}[0m   \u{1b}[39m\u{1b}[1mEXTRA\u{1b}[0m\n\
            multi:1              41430258624b       6.15MB         2.17MB   U    \n\
            ├─ linux/arm64       0123456789ab       3.07MB         1.08MB        \n\
            └─ linux/amd64       0123456789ab       3.07MB         1.08MB   U    \n\n";
        assert_eq!(draw(std::slice::from_ref(&image), false, None), expected);
        let narrow = draw(&[image], false, Some(60));
        assert!(
            !narrow.contains("EXTRA") && narrow.contains("multi:1\u{1b}[0m             \u{1b}[39m4143"),
            "{narrow}"
        );
        let empty = draw(&[ImageSummary::default()], false, None);
        assert_eq!(empty.lines().count(), 3);
        assert!(draw(&[ImageSummary::default()], true, None).contains("<untagged>"));
    }
}
