//! Files and flags, right and wrong: the texts are those of dockerd 28.5.2.

use super::*;

const PATH: &str = "/etc/tare/daemon.json";
const WRAPPED: &str = "unable to configure the Docker daemon with file /etc/tare/daemon.json: ";
const MERGED: &str = "merged configuration validation from file and command line flags failed: ";

fn given(flags: &[(&'static str, &str)]) -> Given {
    let mut given = Given::new();
    for (flag, text) in flags {
        let key = keys().iter().find(|key| key.flag == *flag).unwrap();
        let value = from_flag(key, text, given.get(key.name)).unwrap();
        given.insert(key.name, value);
    }
    given
}

fn of(file: &str) -> Result<Settings> {
    merge(Some(file.as_bytes()), Path::new(PATH), &Given::new())
}

/// The texts of dockerd 28.5.2 (`dockerd --validate`).
#[test]
fn files_are_refused_in_dockerds_words() {
    let merged = |text: &str| format!("{MERGED}{text}");
    for (file, expected) in [
        ("{", "invalid JSON: unexpected end of JSON input".to_string()),
        ("[]", "invalid JSON: json: cannot unmarshal array into Go value of type map[string]interface {}".into()),
        (
            r#"{"a": 1, "b": {"c": 1}}"#,
            "the following directives don't match any configuration option: a, c".into(),
        ),
        (r#"{"DEBUG": true}"#, "the following directives don't match any configuration option: DEBUG".into()),
        (
            r#"{"proxies": {"foo": "http://x"}}"#,
            "the following directives don't match any configuration option: foo".into(),
        ),
        (
            r#"{"debug": "x"}"#,
            "invalid JSON: json: cannot unmarshal string into Go struct field Config.debug of type bool".into(),
        ),
        (
            r#"{"mtu": "x"}"#,
            "invalid JSON: json: cannot unmarshal string into Go struct field Config.mtu of type int".into(),
        ),
        (
            r#"{"log-opts": {"max-size": 1}}"#,
            "invalid JSON: json: cannot unmarshal number into Go struct field Config.log-opts.max-size of type string"
                .into(),
        ),
        (
            r#"{"features": {"x": 1}}"#,
            "invalid JSON: json: cannot unmarshal number into Go struct field Config.features.x of type bool".into(),
        ),
        (r#"{"dns": ["x"]}"#, "invalid JSON: invalid IP address: x".into()),
        (r#"{"ip": "x"}"#, "invalid JSON: invalid IP address: x".into()),
        (r#"{"default-shm-size": "x"}"#, "invalid JSON: invalid size: 'x'".into()),
        (r#"{"default-shm-size": 1234}"#, "invalid JSON: invalid size: \"1234\"".into()),
        (
            r#"{"default-address-pools": [{"base":"x","size":24}]}"#,
            "invalid JSON: netip.ParsePrefix(\"x\"): no '/'".into(),
        ),
        (r#"{"log-level": "foo"}"#, merged("invalid logging level: foo")),
        (r#"{"log-format": "foo"}"#, merged("invalid log format: foo")),
        (r#"{"mtu": -1}"#, merged("invalid default MTU: -1")),
        (r#"{"dns-search": ["x y"]}"#, merged("x y is not a valid domain")),
        (r#"{"labels": ["x"]}"#, merged("bad attribute format: x")),
        (r#"{"labels": ["x=a", "x=b"]}"#, merged("conflict labels for x=b and x=a")),
        (r#"{"max-concurrent-downloads": -1}"#, merged("invalid max concurrent downloads: -1")),
        (r#"{"max-concurrent-uploads": -1}"#, merged("invalid max concurrent uploads: -1")),
        (r#"{"max-download-attempts": -1}"#, merged("invalid max download attempts: -1")),
        (
            r#"{"default-ipc-mode": "host"}"#,
            merged("IPC mode \"host\" is not supported as default value; use \"shareable\" or \"private\""),
        ),
        (
            r#"{"default-cgroupns-mode": "x"}"#,
            merged("invalid default cgroup namespace (x): use \"host\" or \"private\""),
        ),
        (
            r#"{"hosts": ["unix:///a", "foo://"]}"#,
            merged("invalid bind address (foo://): unsupported proto 'foo'"),
        ),
        (
            r#"{"registry-mirrors": ["ftp://a"]}"#,
            merged("invalid mirror: unsupported scheme \"ftp\" in \"ftp://a\": must use either 'https://' or 'http://'"),
        ),
        (
            r#"{"registry-mirrors": ["https://a/b?c"]}"#,
            merged("invalid mirror: query or fragment at end of the URI \"https://a/b?c\""),
        ),
        (
            r#"{"host-gateway-ips": ["1.2.3.4","1.2.3.5"]}"#,
            merged("only one IPv4 host gateway IP address can be specified"),
        ),
        (r#"{"exec-opts": ["foo"]}"#, merged("invalid exec-opt (foo): must be formatted 'opt=value'")),
    ] {
        let expected = format!("{WRAPPED}{expected}");
        assert_eq!(of(file).unwrap_err().message, expected, "{file}");
    }
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    for (file, named) in [
        (r#"{"userns-remap": "default"}"#, "the option userns-remap is not supported: "),
        (r#"{"iptables": false}"#, "the option iptables is not supported: "),
        (r#"{"authorization-plugins": ["a"]}"#, "the option authorization-plugins is not supported: "),
        (r#"{"runtimes": {"a": {"path": "b"}}}"#, "the option runtimes is not supported: "),
        (r#"{"default-runtime": "foo"}"#, "specified default runtime 'foo' does not exist"),
        (r#"{"builder": {"gc": {"enabled": true}}}"#, "the option builder is not supported: "),
        (r#"{"features": {"buildkit": false}}"#, "the feature buildkit=false is not supported: "),
        (r#"{"features": {"x": true}}"#, "the feature x is not supported: "),
        (r#"{"live-restore": false}"#, "live-restore=false is not supported: "),
        (r#"{"storage-driver": "btrfs"}"#, "the storage driver btrfs is not supported: "),
        (r#"{"log-driver": "foo"}"#, "error looking up logging plugin foo: "),
        (r#"{"log-opts": {"foo": "x"}}"#, "unknown log opt 'foo' for json-file log driver"),
        (r#"{"bip": "x"}"#, "invalid bip: x is not an IPv4 address"),
        (r#"{"bip": "10.0.0.0/8"}"#, "invalid bip: 10.0.0.0 is not the address of a host"),
        (
            r#"{"bip": "10.0.0.1/24", "fixed-cidr": "10.0.1.0/25"}"#,
            "invalid fixed-cidr: 10.0.1.0/25 is not within",
        ),
        (
            r#"{"default-address-pools": [{"base":"10.0.0.0/16","size":8}]}"#,
            "invalid default-address-pools: ",
        ),
        (r#"{"default-ulimits": {"nofile": {"Hard":1,"Soft":2}}}"#, "invalid default-ulimits: ulimit soft"),
        (
            r#"{"default-ulimits": {"foo": {"Hard":1,"Soft":1}}}"#,
            "invalid default-ulimits: invalid ulimit type",
        ),
        (r#"{"default-network-opts": {"x": {"a": "b"}}}"#, "invalid default-network-opts: "),
        (
            r#"{"exec-opts": ["native.cgroupdriver=systemd"]}"#,
            "the option native.cgroupdriver=systemd is not",
        ),
    ] {
        let message = of(file).unwrap_err().message;
        assert!(message.contains(named), "{file}: {message}");
    }
    // The default, written down, says nothing else.
    let defaults = r#"{"iptables": true, "userns-remap": "", "runtimes": {}, "live-restore": true, "nri-opts": {},
        "default-runtime": "runc", "storage-driver": "overlay2", "builder": {}, "tls": null, "mtu": null,
        "containerd-namespace": "moby", "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "features": {"containerd-snapshotter": true, "buildkit": true, "nothing": false}}"#;
    of(defaults).unwrap();
}

#[test]
fn file_and_flags_are_one() {
    let file =
        r#"{"labels": ["a=b"], "debug": false, "http-proxy": "http://a", "host-gateway-ips": ["1.2.3.4"]}"#;
    for (flags, conflict) in [
        (&[("label", "c=d"), ("label", "e=f")][..], "labels: (from flag: [c=d e=f], from file: [a=b])"),
        (&[("debug", "true")], "debug: (from flag: true, from file: false)"),
        (&[("http-proxy", "http://b")], "http-proxy: (from flag: http://b, from file: http://a)"),
        (&[("host-gateway-ip", "1.2.3.4")], "host-gateway-ips: (from flag: [1.2.3.4], from file: [1.2.3.4])"),
    ] {
        let text = "the following directives are specified both as a flag and in the configuration file";
        let got = merge(Some(file.as_bytes()), Path::new(PATH), &given(flags)).unwrap_err().message;
        assert_eq!(got, format!("{WRAPPED}{text}: {conflict}"));
    }
    let flags = given(&[("mtu", "1400"), ("default-ulimit", "nofile=1:2"), ("log-opt", "max-size=1m")]);
    let settings = merge(Some(file.as_bytes()), Path::new(PATH), &flags).unwrap();
    assert_eq!(settings.number("mtu"), Some(1400));
    assert_eq!(settings.ulimits(), [Ulimit { name: "nofile".into(), soft: 1, hard: 2 }]);
    assert_eq!(settings.log().options["max-size"], "1m");
    assert_eq!(settings.list("labels").collect::<Vec<_>>(), ["a=b"]);
    assert_eq!(settings.switch("debug"), Some(false));
    // Without a file the text has no file in it.
    let bare = merge(None, Path::new(PATH), &given(&[("mtu", "-1")])).unwrap_err().message;
    assert_eq!(bare, "invalid default MTU: -1");
}

/// pflag's texts, without what stands before them.
#[test]
fn flags_are_refused_in_dockerds_words() {
    for (flag, text, expected) in [
        ("mtu", "x", "strconv.ParseInt: parsing \"x\": invalid syntax"),
        ("debug", "x", "strconv.ParseBool: parsing \"x\": invalid syntax"),
        ("label", "x", "bad attribute format: x"),
        ("default-ulimit", "x", "invalid ulimit argument: x"),
        ("default-address-pool", "base=x", "invalid base prefix \"x\": netip.ParsePrefix(\"x\"): no '/'"),
        ("dns", "x", "invalid string being converted to IP address: x"),
        ("ip", "x", "failed to parse IP: \"x\""),
        ("add-runtime", "x", "invalid runtime argument: x"),
        ("add-runtime", "runc=x", "runtime name 'runc' is reserved"),
        ("default-shm-size", "x", "invalid size: 'x'"),
        ("feature", "x=y", "strconv.ParseBool: parsing \"y\": invalid syntax"),
        ("default-network-opt", "x", "invalid value \"x\" for map option, should be root-key=key=value"),
        ("host", "foo://x", "invalid bind address (foo://x): unsupported proto 'foo'"),
        ("host-gateway-ip", "x", "ParseAddr(\"x\"): unable to parse IP"),
    ] {
        let key = keys().iter().find(|key| key.flag == flag).unwrap();
        assert_eq!(from_flag(key, text, None), Err(expected.to_string()), "{flag} {text}");
    }
    let runtimes = keys().iter().find(|key| key.flag == "add-runtime").unwrap();
    let first = from_flag(runtimes, "a=b", None).unwrap();
    assert_eq!(from_flag(runtimes, "a=c", Some(&first)), Err("runtime 'a' was already defined".into()));
}

#[test]
fn values_are_found() {
    let file = "\u{feff}{\"proxies\": {\"https-proxy\": \"http://p\"}, \"default-shm-size\": \"1g\", \"init\": true,
        \"default-address-pools\": [{\"base\": \"10.1.0.0/16\", \"size\": 24}], \"dns\": [\"1.1.1.1\", \"::1\"],
        \"default-network-opts\": {\"bridge\": {\"com.docker.network.driver.mtu\": \"1400\"}}}";
    let settings = of(file).unwrap();
    assert_eq!(settings.text("https-proxy"), Some("http://p"));
    assert_eq!(settings.number("default-shm-size"), Some(1 << 30));
    assert_eq!(settings.pools(), [("10.1.0.0/16".to_string(), 24)]);
    assert_eq!(settings.addresses("dns").len(), 2);
    assert_eq!(
        settings.maps("default-network-opts").next().unwrap().1["com.docker.network.driver.mtu"],
        "1400"
    );
    assert_eq!(of("").unwrap(), Settings::default());
    let folder = tempfile::tempdir().unwrap();
    let missing = Source { file: Some(folder.path().join("none")), given: Given::new() };
    assert!(load(&missing).unwrap_err().message.ends_with("none: no such file or directory"));
}

mod hostile {
    use proptest::prelude::*;

    proptest! {
        /// Any bytes give settings or one line, and any JSON that names our keys too.
        #[test]
        fn no_file_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..84, text in "[\\[\\]{}\":,a-z0-9/.-]{0,30}") {
            let path = std::path::Path::new("/x");
            let _ = super::merge(Some(&bytes), path, &super::Given::new());
            let key = super::keys()[at % super::keys().len()];
            let _ = super::merge(Some(format!("{{\"{}\": {text}}}", key.name).as_bytes()), path, &super::Given::new());
            let _ = super::from_flag(&key, &text, None);
        }
    }
}
