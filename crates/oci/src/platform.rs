//! Platforms: parsing, normalising and choosing, with containerd's rules.
//!
//! A `Matcher` is an ordered list of acceptable platforms, best first (an arm64 machine also runs
//! arm/v7). It does not ask the kernel whether an emulator is registered.

use crate::json::nullable;
use crate::{Descriptor, Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Operating system, architecture and variant, in Go's words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// Architecture.
    #[serde(default, deserialize_with = "nullable")]
    pub architecture: String,
    /// Operating system.
    #[serde(default, deserialize_with = "nullable")]
    pub os: String,
    /// Version of the operating system.
    #[serde(
        rename = "os.version",
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub os_version: String,
    /// Features that the operating system must have.
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// Variant of the architecture.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

impl Platform {
    /// A Linux platform.
    pub fn linux(architecture: &str, variant: &str) -> Self {
        Platform {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
            ..Platform::default()
        }
    }

    /// The platform of this program.
    pub fn host() -> Self {
        let (architecture, variant) = normalise_arch(std::env::consts::ARCH, "");
        Platform::linux(&architecture, &variant)
    }

    /// Parses `os[(version)]`, `arch`, `os/arch` or `os/arch/variant`.
    pub fn parse(text: &str) -> Result<Self> {
        let fail = |reason| Error::Platform { input: text.chars().take(80).collect(), reason };
        if text.contains('*') {
            return Err(fail("wildcards not yet supported"));
        }
        let parts: Vec<&str> = text.splitn(4, '/').collect();
        let (os, os_version) = split_os(parts[0]).ok_or_else(|| fail("invalid operating system"))?;
        if !parts[1..].iter().all(|p| is_specifier(p)) {
            return Err(fail("invalid component"));
        }
        let mut platform = Platform { os, os_version, ..Platform::default() };
        match parts[..] {
            [_] if KNOWN_OS.contains(&platform.os.as_str()) => {
                platform.architecture = Platform::host().architecture;
            }
            [arch] => {
                (platform.architecture, platform.variant) = normalise_arch(arch, "");
                if !KNOWN_ARCH.contains(&platform.architecture.as_str()) {
                    return Err(fail("unknown operating system or architecture"));
                }
                "linux".clone_into(&mut platform.os);
                platform.drop_default_arm();
            }
            [_, arch] => {
                (platform.architecture, platform.variant) = normalise_arch(arch, "");
                platform.drop_default_arm();
            }
            [_, arch, variant] => {
                (platform.architecture, platform.variant) = normalise_arch(arch, variant);
                if platform.architecture == "arm64" && platform.variant.is_empty() {
                    "v8".clone_into(&mut platform.variant);
                }
            }
            _ => return Err(fail("cannot parse platform specifier")),
        }
        Ok(platform)
    }

    /// The canonical spelling: `x86_64` is `amd64`, `arm` is `arm/v7`, `arm64/v8` is `arm64`.
    #[must_use]
    pub fn normalised(&self) -> Self {
        let (architecture, variant) = normalise_arch(&self.architecture, &self.variant);
        Platform { os: normalise_os(&self.os), architecture, variant, ..self.clone() }
    }

    /// `arm` without a variant stays so when it is printed.
    fn drop_default_arm(&mut self) {
        if self.architecture == "arm" && self.variant == "v7" {
            self.variant.clear();
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.os.is_empty() {
            return f.write_str("unknown");
        }
        f.write_str(&self.os)?;
        for part in [&self.architecture, &self.variant] {
            if !part.is_empty() {
                write!(f, "/{part}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for Platform {
    type Err = Error;
    fn from_str(s: &str) -> Result<Self> {
        Platform::parse(s)
    }
}

/// Acceptable platforms, best first.
#[derive(Debug, Clone)]
pub struct Matcher(Vec<Platform>);

impl Matcher {
    /// This platform or one that it also runs.
    pub fn only(platform: &Platform) -> Self {
        Matcher(vector(&platform.normalised()))
    }

    /// This platform alone.
    pub fn strict(platform: &Platform) -> Self {
        Matcher(vec![platform.normalised()])
    }

    /// The platform wanted most.
    pub fn first(&self) -> Platform {
        self.0.first().cloned().unwrap_or_default()
    }

    /// How good a match is: 0 is best, None is no match.
    pub fn rank(&self, candidate: &Platform) -> Option<usize> {
        let candidate = candidate.normalised();
        self.0.iter().position(|p| {
            let p = p.normalised();
            p.os == candidate.os && p.architecture == candidate.architecture && p.variant == candidate.variant
        })
    }

    /// The best of an index's manifests; attestations never match. An entry without a platform
    /// matches last, since only its configuration can tell.
    pub fn best<'a>(&self, manifests: &'a [Descriptor]) -> Option<&'a Descriptor> {
        let rank = |d: &Descriptor| match &d.platform {
            Some(platform) => self.rank(platform),
            None => Some(usize::MAX),
        };
        manifests
            .iter()
            .filter(|d| !d.is_attestation())
            .filter_map(|d| rank(d).map(|r| (r, d)))
            .min_by_key(|(r, _)| *r)
            .map(|(_, d)| d)
    }
}

const KNOWN_OS: &[&str] = &[
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
    "zos",
];

const KNOWN_ARCH: &[&str] = &[
    "386",
    "amd64",
    "amd64p32",
    "arm",
    "armbe",
    "arm64",
    "arm64be",
    "ppc64",
    "ppc64le",
    "loong64",
    "mips",
    "mipsle",
    "mips64",
    "mips64le",
    "mips64p32",
    "mips64p32le",
    "ppc",
    "riscv",
    "riscv64",
    "s390",
    "s390x",
    "sparc",
    "sparc64",
    "wasm",
];

fn normalise_os(os: &str) -> String {
    match os.to_lowercase().as_str() {
        "" => "linux".to_owned(),
        "macos" => "darwin".to_owned(),
        other => other.to_owned(),
    }
}

fn normalise_arch(arch: &str, variant: &str) -> (String, String) {
    let (arch, variant) = (arch.to_lowercase(), variant.to_lowercase());
    let (a, v) = match (arch.as_str(), variant.as_str()) {
        ("i386" | "x86", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", v) => ("amd64", v),
        ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
        ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
        ("aarch64" | "arm64", v) => ("arm64", v),
        ("armhf", _) => ("arm", "v7"),
        ("armel", _) => ("arm", "v6"),
        ("arm", "" | "7") => ("arm", "v7"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "6") => ("arm", "v6"),
        ("arm", "8") => ("arm", "v8"),
        (a, v) => (a, v),
    };
    (a.to_owned(), v.to_owned())
}

/// What a machine of this (normalised) platform runs, best first.
fn vector(platform: &Platform) -> Vec<Platform> {
    let with = |architecture: &str, variant: String| Platform {
        architecture: architecture.to_owned(),
        variant,
        ..platform.clone()
    };
    let mut list = vec![platform.clone()];
    let level = platform.variant.strip_prefix('v').and_then(|v| v.parse::<u32>().ok());
    match platform.architecture.as_str() {
        "amd64" => {
            list.extend((1..level.unwrap_or(1).min(16)).rev().map(|n| with("amd64", format!("v{n}"))));
            list.push(with("386", String::new()));
        }
        "arm" => list.extend((5..level.unwrap_or(5).min(16)).rev().map(|n| with("arm", format!("v{n}")))),
        "arm64" => {
            list.clear();
            for variant in arm64_variants(&platform.variant) {
                list.push(with("arm64", variant));
            }
            if !list.is_empty() {
                list.extend((5..=8).rev().map(|n| with("arm", format!("v{n}"))));
            }
        }
        _ => {}
    }
    list
}

/// arm64 v9.x also runs v8.(x+5) and below (Arm's architecture reference manual; v9.0 is v8.5).
fn arm64_variants(variant: &str) -> Vec<String> {
    let text = if variant.is_empty() { "v8" } else { variant };
    let Some(number) = text.strip_prefix('v') else { return Vec::new() };
    let (major, minor) = number.split_once('.').unwrap_or((number, "0"));
    let (Ok(major), Ok(minor)) = (major.parse::<u32>(), minor.parse::<u32>()) else { return Vec::new() };
    let name = |major, minor| if minor == 0 { format!("v{major}") } else { format!("v{major}.{minor}") };
    match (major, minor) {
        (8, 0..=9) => (0..=minor).rev().map(|m| name(8, m)).collect(),
        (9, 0..=7) => {
            let nines = (0..=minor).rev().map(|m| name(9, m));
            nines.chain((0..=(minor + 5).min(9)).rev().map(|m| name(8, m))).collect()
        }
        _ => Vec::new(),
    }
}

fn is_specifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

/// `os` or `os(version)`.
fn split_os(text: &str) -> Option<(String, String)> {
    let (os, version) = match text.split_once('(') {
        Some((os, rest)) => (os, rest.strip_suffix(')')?),
        None => (text, ""),
    };
    let valid = is_specifier(os) && !os.contains('.') && (version.is_empty() || is_specifier(version));
    valid.then(|| (normalise_os(os), version.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;
    use proptest::prelude::*;

    #[test]
    fn parsing() {
        let host = Platform::host().architecture;
        let cases = [
            ("linux", format!("linux/{host}")),
            ("amd64", "linux/amd64".into()),
            ("x86_64", "linux/amd64".into()),
            ("linux/x86_64", "linux/amd64".into()),
            ("linux/aarch64", "linux/arm64".into()),
            ("linux/arm64/v8", "linux/arm64/v8".into()),
            ("linux/arm", "linux/arm".into()),
            ("linux/armhf", "linux/arm".into()),
            ("armel", "linux/arm/v6".into()),
            ("linux/arm/6", "linux/arm/v6".into()),
            ("linux/amd64/v1", "linux/amd64".into()),
            ("LINUX/AMD64/V3", "linux/amd64/v3".into()),
            ("macos/arm64", "darwin/arm64".into()),
            ("windows(10.0.17763)/amd64", "windows/amd64".into()),
            ("made/up", "made/up".into()),
            ("", r#""": invalid operating system"#.into()),
            ("nonsense", r#""nonsense": unknown operating system or architecture"#.into()),
            ("linux/*", r#""linux/*": wildcards not yet supported"#.into()),
            ("linux/", r#""linux/": invalid component"#.into()),
            ("a/b/c/d", r#""a/b/c/d": cannot parse platform specifier"#.into()),
            ("li nux/amd64", r#""li nux/amd64": invalid operating system"#.into()),
        ];
        for (input, want) in cases {
            let got = Platform::parse(input).map_or_else(|e| e.to_string(), |p| p.to_string());
            assert_eq!(got, want, "{input:?}");
        }
    }

    #[test]
    fn ranking() {
        let cases = [
            ("linux/amd64", "linux/amd64", Some(0)),
            ("linux/amd64", "linux/386", Some(1)),
            ("linux/amd64", "linux/arm64", None),
            ("linux/amd64", "linux/amd64/v2", None),
            ("linux/amd64/v3", "linux/amd64/v2", Some(1)),
            ("linux/amd64/v3", "linux/amd64", Some(2)),
            ("linux/arm64", "linux/arm64/v8", Some(0)),
            ("linux/arm64", "linux/arm/v7", Some(2)),
            ("linux/arm64/v9", "linux/arm64/v8.5", Some(1)),
            ("linux/arm/v7", "linux/arm/v6", Some(1)),
            ("linux/arm/v6", "linux/arm/v7", None),
            ("linux/amd64", "windows/amd64", None),
        ];
        for (machine, candidate, want) in cases {
            let matcher = Matcher::only(&Platform::parse(machine).unwrap());
            assert_eq!(matcher.rank(&Platform::parse(candidate).unwrap()), want, "{machine} {candidate}");
        }
        let strict = Matcher::strict(&Platform::linux("amd64", ""));
        assert_eq!(strict.rank(&Platform::linux("386", "")), None);
    }

    #[test]
    fn best_of_an_index() {
        let entry = |platform: Option<&str>, n: u8| {
            let mut d = Descriptor::new("m", Digest::sha256(&[n]), 1);
            d.platform = platform.map(|p| Platform::parse(p).unwrap());
            d
        };
        let list =
            [entry(Some("linux/arm/v6"), 1), entry(Some("linux/arm64"), 2), entry(Some("linux/386"), 3)];
        let best =
            |p: &str| Matcher::only(&Platform::parse(p).unwrap()).best(&list).map(|d| d.digest.clone());
        assert_eq!(best("linux/arm64"), Some(list[1].digest.clone()));
        assert_eq!(best("linux/arm/v7"), Some(list[0].digest.clone()));
        assert_eq!(best("linux/amd64"), Some(list[2].digest.clone()));
        assert_eq!(best("linux/s390x"), None);
        let mut attestation = entry(None, 4);
        let key = crate::annotation::REFERENCE_TYPE.to_owned();
        attestation.annotations.insert(key, "attestation-manifest".into());
        assert!(Matcher::only(&Platform::host()).best(&[attestation]).is_none());
    }

    proptest! {
        #[test]
        fn print_then_parse(arch in "amd64|arm64|386|riscv64", variant in proptest::option::of("v[2-9]")) {
            let text = match variant { Some(v) => format!("linux/{arch}/{v}"), None => format!("linux/{arch}") };
            if let Ok(p) = Platform::parse(&text) {
                prop_assert_eq!(Platform::parse(&p.to_string()).unwrap(), p);
            }
        }

        #[test]
        fn never_panics(s in "\\PC{0,60}") {
            if let Ok(p) = Platform::parse(&s) { let _ = Matcher::only(&p).rank(&Platform::host()); }
        }
    }
}
