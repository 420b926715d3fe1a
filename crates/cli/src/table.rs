//! Columns as Go's `text/tabwriter` lays them out, which Docker prints its tables with.
//!
//! A cell is text that a tab ends; text after the last tab of a line belongs to no column. A column
//! is a block of lines that follow one another and all have a cell there; its width is that of its
//! widest cell and the padding, and at least the minimum.

/// Columns of at least `min_width`, with `padding` after the widest cell.
pub fn columns(text: &str, min_width: usize, padding: usize) -> String {
    let (body, unfinished) = match text.rsplit_once('\n') {
        Some((body, last)) => (body, Some(last)),
        None => (text, None),
    };
    let mut lines: Vec<Vec<&str>> = Vec::new();
    if unfinished.is_some() {
        lines.extend(body.split('\n').map(|l| l.split('\t').collect()));
    }
    let last = unfinished.unwrap_or(text);
    if !last.is_empty() {
        lines.push(last.split('\t').collect());
    }
    let mut layout = Layout { lines: &lines, min_width, padding, widths: Vec::new(), out: String::new() };
    layout.block(0, lines.len());
    if !last.is_empty() {
        layout.out.pop();
    }
    layout.out
}

/// How many columns of a terminal a text takes.
pub fn width(text: &str) -> usize {
    text.chars().map(|c| if is_wide(c) { 2 } else { 1 }).sum()
}

/// At most `max` columns of a text, with `…` at the end of what was cut.
pub fn ellipsis(text: &str, max: usize) -> String {
    if max == 0 {
        return String::new();
    }
    if max == 1 {
        return text.chars().take(1).collect();
    }
    if width(text) <= max {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += if is_wide(c) { 2 } else { 1 };
        if used > max - 1 {
            break;
        }
        out.push(c);
    }
    out.push('…');
    out
}

struct Layout<'a> {
    lines: &'a [Vec<&'a str>],
    min_width: usize,
    padding: usize,
    widths: Vec<usize>,
    out: String,
}

impl Layout<'_> {
    fn block(&mut self, from: usize, to: usize) {
        let column = self.widths.len();
        let mut from = from;
        let mut at = from;
        while at < to {
            if column + 1 >= self.lines[at].len() {
                at += 1;
                continue;
            }
            self.write(from, at);
            from = at;
            let mut widest = self.min_width;
            while at < to && column + 1 < self.lines[at].len() {
                widest = widest.max(width(self.lines[at][column]) + self.padding);
                at += 1;
            }
            self.widths.push(widest);
            self.block(from, at);
            self.widths.pop();
            from = at;
        }
        self.write(from, to);
    }

    fn write(&mut self, from: usize, to: usize) {
        for line in &self.lines[from..to] {
            for (column, cell) in line.iter().enumerate() {
                self.out.push_str(cell);
                if let Some(room) = self.widths.get(column) {
                    self.out.extend(std::iter::repeat_n(' ', room.saturating_sub(width(cell))));
                }
            }
            self.out.push('\n');
        }
    }
}

/// East Asian wide and full-width characters (Unicode, UAX 11), by block.
fn is_wide(c: char) -> bool {
    matches!(c as u32,
        0x1100..=0x115f | 0x2e80..=0x303e | 0x3041..=0x33ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff
        | 0xa000..=0xa4cf | 0xa960..=0xa97f | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f
        | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1f64f | 0x1f900..=0x1f9ff | 0x20000..=0x3fffd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_lines_share_widths() {
        for (text, want) in [
            ("", ""),
            ("a\tb\n", "a         b\n"),
            ("a\tb", "a         b"),
            ("CONTAINER ID\tIMAGE\nabc\tbusybox\n", "CONTAINER ID   IMAGE\nabc            busybox\n"),
            (
                "a\tb\tc\nlonger cell here\tx\ty\n",
                "a                  b         c\nlonger cell here   x         y\n",
            ),
            ("a\tb\nplain\nc\td\n", "a         b\nplain\nc         d\n"),
            ("a\t\tb\n", "a                   b\n"),
            ("a\n", "a\n"),
            ("NAMES\n日本語\tx\nab\ty\n", "NAMES\n日本語    x\nab        y\n"),
        ] {
            assert_eq!(columns(text, 10, 3), want, "{text:?}");
        }
        assert_eq!(
            columns(" Version:\t28\n API version:\t1.5\n", 20, 1),
            " Version:           28\n API version:       1.5\n"
        );
    }

    #[test]
    fn texts_are_cut_by_display_width() {
        for (text, max, want) in [
            ("", 20, ""),
            ("t🐳ststring", 0, ""),
            ("t🐳ststring", 1, "t"),
            ("t🐳ststring", 4, "t🐳…"),
            ("teststring", 9, "teststri…"),
            ("teststring", 20, "teststring"),
            ("日本語日本語", 7, "日本語…"),
            ("/bin/sh -c 'sleep 1000'", 20, "/bin/sh -c 'sleep 1…"),
        ] {
            assert_eq!(ellipsis(text, max), want, "{text:?} {max}");
        }
    }
}
