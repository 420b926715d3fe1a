//! The log's rotation and compression by a real shim, with `gzip` as the child.

use super::place::{Place, Wanted};
use super::{LIMIT, exited};
use shim::config::Log;
use shim::protocol::Request;
use std::collections::BTreeSet;
use std::path::Path;

/// Lines of 80 bytes become entries of about 150.
const LINES: u32 = 20_000;
const MAX_SIZE: u64 = 300_000;

fn log(place: &Place, max_file: u32, compress: &[&str]) -> Log {
    let compress = compress.iter().map(|&word| word.to_string()).collect();
    Log::JsonFile {
        path: place.data("log"),
        max_size: Some(MAX_SIZE),
        max_file,
        compress,
        attrs: String::new(),
    }
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

/// The numbers of the lines in all files, the oldest file first. A killed shim may have left half a line.
fn numbers(place: &Place, max_file: u32) -> Vec<u32> {
    let mut all = String::new();
    for number in (0..max_file).rev() {
        let plain = place.data(&if number == 0 { "log".to_string() } else { format!("log.{number}") });
        let packed = place.data(&format!("log.{number}.gz"));
        if plain.exists() {
            all += &std::fs::read_to_string(plain).unwrap();
        } else if packed.exists() {
            let out = std::process::Command::new("gzip").arg("-dc").arg(packed).output().unwrap();
            assert!(out.status.success());
            all += std::str::from_utf8(&out.stdout).unwrap();
        }
    }
    all.lines()
        .filter_map(|line| {
            let entry: serde_json::Value = serde_json::from_str(line).ok()?;
            Some(entry["log"].as_str().unwrap().trim().parse().unwrap())
        })
        .collect()
}

#[test]
fn rotated_files_are_compressed_beside_the_log() {
    for (max_file, compress, lost) in [
        (3, &[][..], true),
        (40, &["/bin/gzip"][..], false),
        (4, &["/bin/gzip"], true),
        // A child that fails, and one that hangs: nothing is lost, nothing waits.
        (40, &["/bin/false"], false),
        (40, &["/bin/sleep", "600"], false),
        (40, &["/nothing"], false),
    ] {
        let place = Place::new();
        let count = LINES.to_string();
        let args = ["number", count.as_str()];
        let wanted = Wanted { log: Some(log(&place, max_file, compress)), ..Wanted::args(&args) };
        let mut c = place.launch(&wanted);
        place.start(&mut c);
        let record = exited(&place, &mut c);
        assert_eq!((record.exit_code, record.error.as_str()), (0, ""), "{compress:?}");
        drop(c);
        place.is_clean();
        let got = numbers(&place, max_file);
        let first = LINES + 1 - got.len() as u32;
        assert!(got.iter().copied().eq(first..=LINES), "{compress:?}: {} lines", got.len());
        let names = names(&place.data(""));
        assert_eq!((names.contains("log-lost"), first > 1), (lost, lost), "{names:?}");
        assert!(!names.contains(".compressing"), "{names:?}");
        let packed = names.iter().filter(|n| n.ends_with(".gz")).count();
        assert_eq!(packed > 0, compress == ["/bin/gzip"], "{names:?}");
    }
}

/// The shim is killed while the child works; the next shim of the same container goes on.
#[test]
fn a_killed_shim_leaves_no_half_file() {
    let place = Place::new();
    let count = LINES.to_string();
    let args = ["number", count.as_str()];
    // It has written half of its output when it is killed.
    let slow = ["/bin/sh", "-c", "head -c 100000; exec sleep 600"];
    let wanted = Wanted { log: Some(log(&place, 40, &slow)), ..Wanted::args(&args) };
    let mut c = place.launch(&wanted);
    place.start(&mut c);
    place.wait_until(|| std::fs::metadata(place.data(".compressing")).is_ok_and(|m| m.len() > 0));
    place.kill_shim();
    drop(c);
    place.wait_until(|| !shim::client::is_alive(&place.run_dir()).unwrap());
    let got = numbers(&place, 40);
    assert!(got.iter().copied().eq(1..=got.len() as u32), "{} lines", got.len());
    assert!(names(&place.data("")).contains(".compressing"));

    let wanted = Wanted { log: Some(log(&place, 40, &["/bin/gzip"])), ..Wanted::args(&["say", "0\n", ""]) };
    let mut c = place.launch(&wanted);
    c.call(&Request::State, &[], LIMIT).unwrap();
    place.start(&mut c);
    exited(&place, &mut c);
    assert!(!names(&place.data("")).contains(".compressing"));
    assert_eq!(numbers(&place, 40).len(), got.len() + 1);
}
