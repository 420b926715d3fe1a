//! Readers against files as a shim leaves them, written by the shim's own code.

use super::files::{Files, compress};
use super::*;
use proptest::prelude::*;
use shim::log::{Limits, LogFile, Name, Stream};
use std::fs::File;
use std::path::PathBuf;

const START: i64 = 1_700_000_000_000_000_000;
const MINUTE: i64 = 60_000_000_000;

/// A log of a shim whose compressing child is this test.
struct Writer {
    dir: tempfile::TempDir,
    file: LogFile,
    streams: [Stream; 2],
    written: i64,
}

impl Writer {
    fn new(max_size: Option<u64>, max_file: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // It cannot be started, but compressed files get their numbers.
        let limits = Limits { max_size, max_file, compress: vec!["/nothing".to_string()] };
        let file = LogFile::open(&dir.path().join("log"), limits).unwrap();
        let streams = [Stream::new(Name::Stdout, ""), Stream::new(Name::Stderr, "")];
        Self { dir, file, streams, written: 0 }
    }

    /// Line N is of minute N; each third is of stderr.
    fn write(&mut self) {
        let n = self.written;
        self.written += 1;
        let stream = &mut self.streams[usize::from(n % 3 == 2)];
        stream.feed(format!("line {n}\n").as_bytes(), Time(START + n * MINUTE), &mut self.file);
        self.file.flush();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Compresses a rotated file; in the middle of it both forms are there.
    fn pack(&self, number: u32, keep: bool) {
        let (from, to) = (self.path(&format!("log.{number}")), self.path(&format!("log.{number}.gz")));
        let Ok(source) = File::open(&from) else { return };
        compress(source, File::create(to).unwrap()).unwrap();
        if !keep {
            std::fs::remove_file(from).unwrap();
        }
    }

    fn reader(&self, options: LogOptions) -> LogReader {
        LogReader::new(Files(self.path("log")), options).unwrap()
    }
}

fn both() -> LogOptions {
    LogOptions { stdout: true, stderr: true, ..LogOptions::default() }
}

/// The numbers of the lines that there are now.
fn read(reader: &mut LogReader) -> Vec<i64> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut got = Vec::new();
    let mut take = |line: &LogLine<'_>| {
        let text = std::str::from_utf8(line.line).unwrap();
        got.push(text.strip_prefix("line ").unwrap().trim_end().parse().unwrap());
    };
    while runtime.block_on(reader.next(&mut take)).unwrap() {}
    got
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]
    /// Whatever is rotated and compressed: the wanted lines, in order, each once.
    #[test]
    fn options_over_all_files(
        lines in 0i64..60,
        lines_per_file in 1u64..12,
        packed in prop::collection::vec(0u32..3, 1..8),
        tail in prop::option::of(0usize..70),
        since in prop::option::of(0i64..70),
        until in prop::option::of(0i64..70),
        streams in 1u8..4,
        gap: bool,
    ) {
        // An entry of these has 76 to 78 bytes.
        let mut writer = Writer::new(Some(lines_per_file * 76), 100);
        (0..lines).for_each(|_| writer.write());
        for (number, how) in (1..100).zip(packed.iter().cycle()) {
            if *how > 0 {
                writer.pack(number, *how == 1);
            }
        }
        if gap {
            // Killed between two renames: what was the current file is the first, and there is no current one.
            let has_current = std::fs::metadata(writer.path("log")).unwrap().len() > 0;
            if has_current {
                for number in (1..100).rev() {
                    for suffix in ["", ".gz"] {
                        let name = |n: u32| writer.path(&format!("log.{n}{suffix}"));
                        let _ = std::fs::rename(name(number), name(number + 1));
                    }
                }
            }
        }
        let time = |n: i64| Time(START + n * MINUTE);
        let options = LogOptions {
            stdout: streams & 1 != 0,
            stderr: streams & 2 != 0,
            tail,
            since: since.map(time),
            until: until.map(time),
            ..LogOptions::default()
        };
        let mut expected: Vec<i64> = (0..lines)
            .filter(|n| if n % 3 == 2 { options.stderr } else { options.stdout })
            .filter(|n| since.is_none_or(|since| *n >= since))
            .collect();
        // As dockerd: the tail is of all that is wanted, and `until` ends it.
        expected.drain(..expected.len().saturating_sub(tail.unwrap_or(usize::MAX)));
        let end = expected.iter().position(|n| until.is_some_and(|until| *n > until));
        expected.truncate(end.unwrap_or(expected.len()));
        let mut reader = writer.reader(options);
        prop_assert_eq!(read(&mut reader), expected);
    }

    /// A reader that comes back now and then misses nothing, as long as the files hold what it has not seen.
    #[test]
    fn following_over_rotations(steps in prop::collection::vec(0u8..8, 1..80), max_file in 3u32..6) {
        let mut writer = Writer::new(Some(3 * 76), max_file);
        let mut reader = writer.reader(both());
        let mut got = Vec::new();
        for step in steps {
            match step {
                0 => got.extend(read(&mut reader)),
                1 => writer.pack(1, false),
                2 => writer.pack(2, true),
                _ => writer.write(),
            }
            // What is behind must still be there: two files are always whole.
            if writer.written - got.len() as i64 >= 5 {
                got.extend(read(&mut reader));
            }
        }
        got.extend(read(&mut reader));
        prop_assert_eq!(got, (0..writer.written).collect::<Vec<_>>());
    }
}

#[test]
fn a_lost_beginning_is_told_to_who_asks_for_it() {
    let mut writer = Writer::new(Some(100), 2);
    writer.write();
    assert!(!writer.reader(both()).beginning_lost());
    (0..9).for_each(|_| writer.write());
    assert!(writer.reader(both()).beginning_lost());
    assert!(!writer.reader(LogOptions { tail: Some(3), ..both() }).beginning_lost());
    assert!(!writer.reader(LogOptions { since: Some(Time(START)), ..both() }).beginning_lost());
}

#[test]
fn since_seeks() {
    let mut writer = Writer::new(None, 1);
    (0..20_000).for_each(|_| writer.write());
    for since in [0, 1, 10_000, 19_998, 19_999, 20_000] {
        let mut reader = writer.reader(LogOptions { since: Some(Time(START + since * MINUTE)), ..both() });
        let Some(Source::Plain(file)) = &mut reader.current else { panic!("no file") };
        let at = file.stream_position().unwrap();
        // Within a chunk or two of the first wanted line.
        assert!((at as i64 - since * 80).abs() < 3 * CHUNK as i64, "{since}: {at}");
        assert_eq!(read(&mut reader), (since..20_000).collect::<Vec<_>>());
    }
}

#[test]
fn half_lines_and_rubbish_are_passed_over() {
    let writer = Writer::new(None, 2);
    let line = |n: i64| {
        format!("{{\"log\":\"line {n}\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-01T00:00:00Z\"}}\n")
    };
    let half = &line(9)[..30];
    std::fs::write(writer.path("log.1"), line(1) + half).unwrap();
    std::fs::write(writer.path("log"), format!("{half}\n\n\0\0\n{}{half}", line(2))).unwrap();
    assert_eq!(read(&mut writer.reader(both())), [1, 2]);
    assert_eq!(read(&mut writer.reader(LogOptions { tail: Some(1), ..both() })), [2]);
}
