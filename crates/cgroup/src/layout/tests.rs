//! The layouts that machines have, as fake trees.

use super::*;

const V2: &str = "\
22 1 0:21 / /proc rw - proc proc rw
29 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate
";
const V1: &str = "\
30 23 0:25 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755
31 30 0:26 / /sys/fs/cgroup/systemd rw shared:10 - cgroup cgroup rw,xattr,name=systemd
32 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:11 - cgroup cgroup rw,cpu,cpuacct
33 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
34 30 0:28 / /mnt/memory\\040again rw - cgroup cgroup rw,memory
35 30 0:29 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio
";
const V1_OWN: &str = "5:memory:/machine/nested\n4:cpu,cpuacct:/\n3:blkio:/x\n1:name=systemd:/user.slice\n";
const UNIFIED: &str = "36 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n";

#[test]
fn layouts() {
    struct Case<'a> {
        name: &'a str,
        mounts: String,
        own: String,
        version: Version,
        /// (mount, own group) of v2, then of v1.
        hierarchies: &'a [(&'a str, &'a str)],
    }
    let v1: &[_] = &[
        ("/sys/fs/cgroup/systemd", "/user.slice"),
        ("/sys/fs/cgroup/cpu,cpuacct", "/"),
        ("/sys/fs/cgroup/memory", "/machine/nested"),
        ("/sys/fs/cgroup/blkio", "/x"),
    ];
    let hybrid = [&[("/sys/fs/cgroup/unified", "/user.slice/s")], v1].concat();
    let inside = "33 30 0:28 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
    let cases = [
        Case {
            name: "v2",
            mounts: V2.into(),
            own: "0::/user.slice/s\n".into(),
            version: Version::V2,
            hierarchies: &[("/sys/fs/cgroup", "/user.slice/s")],
        },
        Case { name: "v1", mounts: V1.into(), own: V1_OWN.into(), version: Version::V1, hierarchies: v1 },
        Case {
            name: "hybrid",
            mounts: format!("{V1}{UNIFIED}"),
            own: format!("{V1_OWN}0::/user.slice/s\n"),
            version: Version::Hybrid,
            hierarchies: &hybrid,
        },
        Case {
            name: "part of a tree is mounted, as in a container without cgroup namespace",
            mounts: inside.into(),
            own: "5:memory:/docker/abc/sub\n".into(),
            version: Version::V1,
            hierarchies: &[("/sys/fs/cgroup/memory", "/sub")],
        },
        Case {
            name: "the caller is outside of what is mounted",
            mounts: inside.into(),
            own: "5:memory:/elsewhere\n".into(),
            version: Version::V1,
            hierarchies: &[("/sys/fs/cgroup/memory", "/")],
        },
        Case {
            name: "the caller is outside of the cgroup namespace",
            mounts: V2.into(),
            own: "0::/../other\n".into(),
            version: Version::V2,
            hierarchies: &[("/sys/fs/cgroup", "/")],
        },
        Case {
            name: "a line that says nothing about the caller",
            mounts: V2.into(),
            own: String::new(),
            version: Version::V2,
            hierarchies: &[("/sys/fs/cgroup", "/")],
        },
    ];
    for case in cases {
        let root = tempfile::tempdir().unwrap();
        let proc = root.path().join("proc/self");
        std::fs::create_dir_all(&proc).unwrap();
        std::fs::write(proc.join("mountinfo"), case.mounts).unwrap();
        std::fs::write(proc.join("cgroup"), case.own).unwrap();
        let layout = Layout::detect(root.path()).unwrap();
        assert_eq!(layout.version(), case.version, "{}", case.name);
        let found: Vec<(String, String)> = layout
            .unified
            .iter()
            .chain(&layout.legacy)
            .map(|h| {
                let mount = h.mount.strip_prefix(root.path()).unwrap();
                (format!("/{}", mount.display()), h.own.display().to_string())
            })
            .collect();
        let expected: Vec<(String, String)> =
            case.hierarchies.iter().map(|(m, o)| ((*m).to_owned(), (*o).to_owned())).collect();
        assert_eq!(found, expected, "{}", case.name);
    }
}

#[test]
fn nothing_mounted() {
    assert!(matches!(
        Layout::parse(b"22 1 0:21 / /proc rw - proc proc rw\n", b"", Path::new("/")),
        Err(Error::NotMounted)
    ));
    assert!(matches!(
        Layout::parse(b"garbage - \n - cgroup\n\n", b":::", Path::new("/")),
        Err(Error::NotMounted)
    ));
}

#[test]
fn paths_of_groups() {
    let hierarchy = Hierarchy {
        mount: "/sys/fs/cgroup/memory".into(),
        controllers: Controllers::MEMORY,
        name: None,
        own: "/machine/nested".into(),
    };
    let cases = [
        ("/docker/id", Some("/sys/fs/cgroup/memory/docker/id")),
        ("//docker/./id/", Some("/sys/fs/cgroup/memory/docker/id")),
        ("id", Some("/sys/fs/cgroup/memory/machine/nested/id")),
        ("/", None),
        ("", None),
        ("/docker/../../etc", None),
        ("../x", None),
    ];
    for (path, folder) in cases {
        assert_eq!(hierarchy.folder(Path::new(path)).ok(), folder.map(PathBuf::from), "{path}");
    }
}

#[test]
fn names_are_unescaped() {
    let cases = [("/a\\040b", "/a b"), ("/a\\134", "/a\\"), ("/a\\04", "/a\\04"), ("/a\\999", "/a\\999")];
    for (field, path) in cases {
        assert_eq!(unescape(field.as_bytes()), PathBuf::from(path));
    }
}
