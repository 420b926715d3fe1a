//! Tests of the module above: what it promises, as cases.

use super::*;
use crate::testing::{fixture, open};
use std::thread;

fn digest(bytes: &[u8]) -> Digest {
    Digest::sha256(bytes)
}

fn names(dir: &Path) -> Vec<String> {
    let mut names = list_dir(dir).unwrap();
    names.sort();
    names
}

fn writer(content: &ContentStore, bytes: &[u8]) -> Writer {
    match content.ingest(&digest(bytes), bytes.len() as u64).unwrap() {
        Ingest::Writer(w) => *w,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_blob_appears_when_it_is_verified() {
    let f = fixture();
    let content = f.store.content();
    let mut w = writer(content, b"hello");
    w.write_all(b"hel").unwrap();
    assert_eq!(content.size(&digest(b"hello")).unwrap(), None);
    w.write_all(b"lo").unwrap();
    w.commit(None).unwrap();
    assert_eq!(content.size(&digest(b"hello")).unwrap(), Some(5));
    assert_eq!(content.document(&digest(b"hello")).unwrap(), b"hello");
    assert!(matches!(content.ingest(&digest(b"hello"), 5).unwrap(), Ingest::Exists));
    assert_eq!(content.list().unwrap(), [digest(b"hello")]);
    let layout = fs::read_to_string(content.root().join("oci-layout")).unwrap();
    assert_eq!(layout, r#"{"imageLayoutVersion":"1.0.0"}"#);
    assert_eq!(names(&content.root().join("ingest")), Vec::<String>::new());
}

#[test]
fn wrong_bytes_leave_nothing() {
    let f = fixture();
    let content = f.store.content();
    let cases: &[(&[u8], u64, &str)] =
        &[(b"hellO", 5, "digest mismatch"), (b"hel", 5, "size mismatch"), (b"hello", 6, "size mismatch")];
    for (bytes, size, want) in cases {
        let Ingest::Writer(mut w) = content.ingest(&digest(b"hello"), *size).unwrap() else { panic!() };
        w.write_all(bytes).unwrap();
        let e = w.commit(None).unwrap_err().to_string();
        assert!(e.starts_with(want), "{e}");
        assert_eq!(names(&content.root().join("ingest")), Vec::<String>::new());
        assert_eq!(content.list().unwrap(), []);
    }
    let mut w = writer(content, b"hello");
    assert!(w.write_all(b"hello, world").is_err(), "more than announced");
    let mut anonymous = content.writer().unwrap();
    anonymous.write_all(b"x").unwrap();
    assert!(anonymous.commit(Some(&digest(b"y"))).is_err());
    drop(w);
    assert_eq!(content.list().unwrap(), []);
}

#[test]
fn a_download_is_resumed() {
    let f = fixture();
    let content = f.store.content();
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 253) as u8).collect();
    let mut w = writer(content, &bytes);
    w.write_all(&bytes[..600_000]).unwrap();
    drop(w);
    let other = open(f.dir.path());
    let mut w = writer(other.content(), &bytes);
    assert_eq!(w.offset(), 600_000);
    let mut follow = w.follow().unwrap();
    w.write_all(&bytes[600_000..]).unwrap();
    w.commit(None).unwrap();
    let mut read = Vec::new();
    follow.read_to_end(&mut read).unwrap();
    assert!(read == bytes);
    // What is longer than announced was another file.
    let mut w = writer(content, b"abc");
    w.write_all(b"abc").unwrap();
    drop(w);
    let Ingest::Writer(w) = content.ingest(&digest(b"abc"), 2).unwrap() else { panic!() };
    assert_eq!(w.offset(), 0);
}

#[test]
fn one_writer_at_a_time() {
    let f = fixture();
    let other = open(f.dir.path());
    let mut w = writer(f.store.content(), b"hello");
    w.write_all(b"he").unwrap();
    let busy = other.content().ingest(&digest(b"hello"), 5).unwrap();
    assert!(matches!(busy, Ingest::Busy { written: 2 }), "{busy:?}");
    w.write_all(b"llo").unwrap();
    w.commit(None).unwrap();
    assert!(matches!(other.content().ingest(&digest(b"hello"), 5).unwrap(), Ingest::Exists));
}

/// Many threads with stores of their own write the same and different blobs: each appears once, whole.
#[test]
fn writers_race() {
    let f = fixture();
    let path = f.dir.path();
    thread::scope(|s| {
        for _ in 0..6 {
            s.spawn(move || {
                let store = open(path);
                for n in 0..20_u8 {
                    let bytes = vec![n; 50_000];
                    loop {
                        match store.content().ingest(&digest(&bytes), 50_000).unwrap() {
                            Ingest::Exists => break,
                            Ingest::Busy { .. } => thread::yield_now(),
                            Ingest::Writer(mut w) => {
                                let from = usize::try_from(w.offset()).unwrap();
                                w.write_all(&bytes[from..]).unwrap();
                                w.commit(None).unwrap();
                                break;
                            }
                        }
                    }
                    store.content().put("t", &[n; 9]).unwrap();
                }
            });
        }
    });
    assert_eq!(f.store.content().list().unwrap().len(), 40);
    assert_eq!(names(&f.store.content().root().join("ingest")), Vec::<String>::new());
    for blob in f.store.content().list().unwrap() {
        f.store.content().document(&blob).unwrap();
    }
}

#[test]
fn following_a_writer() {
    let f = fixture();
    let bytes = vec![5_u8; 300_000];
    let mut w = writer(f.store.content(), &bytes);
    let mut follow = w.follow().unwrap();
    let reader = thread::spawn(move || {
        let mut read = Vec::new();
        follow.read_to_end(&mut read).map(|_| read.len()).map_err(|e| e.to_string())
    });
    for chunk in bytes.chunks(7_000) {
        w.write_all(chunk).unwrap();
    }
    assert_eq!(reader.join().unwrap(), Ok(300_000), "the end is known before the commit");
    drop(w);
    let other = vec![6_u8; 10];
    let mut w = writer(f.store.content(), &other);
    let mut follow = w.follow().unwrap();
    w.write_all(&other[..5]).unwrap();
    let waiter = w.follow().unwrap();
    drop(w);
    assert_eq!(follow.read_to_end(&mut Vec::new()).unwrap_err().to_string(), "download did not finish");
    assert!(!waiter.wait());
}

#[test]
fn damaged_documents_are_noticed() {
    let f = fixture();
    let d = f.store.content().put("t", b"hello").unwrap();
    fs::write(f.store.content().path(&d.digest), "hellO").unwrap();
    assert!(matches!(f.store.content().document(&d.digest), Err(Error::DigestMismatch { .. })));
    assert!(matches!(f.store.content().document(&digest(b"x")), Err(Error::ContentNotFound(_))));
}
