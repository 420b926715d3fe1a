//! Tests of the module above: what it promises, as cases.

use super::*;
use crate::testing::fixture;

fn target(n: u8) -> Descriptor {
    Descriptor::new(oci::media_type::OCI_MANIFEST, Digest::sha256(&[n]), 7)
}

fn name(text: &str) -> Reference {
    Reference::parse(text).unwrap()
}

/// All rows as `name=target`, `-` for dangling ones.
fn rows(images: &ImageStore) -> Vec<String> {
    let which = |d: &Digest| (0..9).find(|n| Digest::sha256(&[*n]) == *d).unwrap();
    let mut rows: Vec<String> = images
        .list()
        .unwrap()
        .iter()
        .map(|i| format!("{}={}", i.name.as_ref().map_or("-".into(), Reference::familiar), which(i.id())))
        .collect();
    rows.sort();
    rows
}

#[test]
fn names_move_and_leave_dangling_images() {
    let f = fixture();
    let images = f.store.images();
    let none = Labels::new();
    type Step<'a> = (&'a str, u8, Option<u8>, bool, &'a [&'a str]);
    let steps: &[Step<'_>] = &[
        ("a", 1, None, false, &["a:latest=1"]),
        ("a:latest", 1, None, false, &["a:latest=1"]),
        ("b", 1, None, false, &["a:latest=1", "b:latest=1"]),
        ("a", 2, Some(1), false, &["a:latest=2", "b:latest=1"]),
        ("b", 2, Some(1), true, &["-=1", "a:latest=2", "b:latest=2"]),
        ("c:x", 1, None, false, &["a:latest=2", "b:latest=2", "c:x=1"]),
        (
            "localhost:5000/c:x",
            3,
            None,
            false,
            &["a:latest=2", "b:latest=2", "c:x=1", "localhost:5000/c:x=3"],
        ),
    ];
    for (text, n, replaced, dangling, want) in steps {
        let put = images.put(Some(&name(text)), &target(*n), &none).unwrap();
        assert_eq!(put.replaced, replaced.map(|n| Digest::sha256(&[n])), "{text}");
        assert_eq!(put.dangling, *dangling, "{text}");
        assert_eq!(rows(images), *want, "{text}");
    }
    assert!(images.put(Some(&name("a")), &target(2), &none).unwrap().unchanged);
    assert!(images.put(None, &target(2), &none).unwrap().unchanged, "it has a name");
    assert!(!images.put(None, &target(4), &none).unwrap().unchanged);
    assert!(images.delete(&name("c:x")).unwrap());
    assert!(!images.delete(&name("c:x")).unwrap());
    assert_eq!(images.delete_target(&Digest::sha256(&[2])).unwrap().len(), 2);
    assert_eq!(rows(images), ["-=4", "localhost:5000/c:x=3"]);
}

#[test]
fn finding() {
    let f = fixture();
    let images = f.store.images();
    let labels = Labels::from([("k".to_owned(), "v".to_owned())]);
    images.put(Some(&name("a")), &target(1), &labels).unwrap();
    images.put(Some(&name("b")), &target(1), &Labels::new()).unwrap();
    images.put(None, &target(2), &Labels::new()).unwrap();
    let digest = Digest::sha256(&[1]);
    assert_eq!(images.get(&name("a:latest")).unwrap().unwrap().labels, labels);
    assert_eq!(images.get(&name("zzz")).unwrap(), None);
    assert_eq!(images.by_digest(&digest).unwrap().len(), 2);
    for prefix in [digest.as_str(), digest.hex(), &digest.hex()[..4], &digest.as_str()[..15]] {
        assert_eq!(images.by_prefix(prefix).unwrap().len(), 2, "{prefix}");
    }
    for prefix in ["", "%", "_", "sha256:", "XYZ", "00000000000000000000"] {
        assert_eq!(images.by_prefix(prefix).unwrap(), [], "{prefix}");
    }
    assert_eq!(images.with_label("k", "v").unwrap().len(), 1);
    assert!(images.set_labels(&name("b"), &labels).unwrap());
    assert_eq!(images.with_label("k", "v").unwrap().len(), 2);
    assert!(!images.set_labels(&name("zzz"), &labels).unwrap());
}
