//! Image references: parsing with Docker's normalisation, and the three ways to print them.
//!
//! The grammar is distribution/reference's: `[domain/]path[:tag][@digest]`. A parsed `Reference` is
//! normalised (`nginx` is `docker.io/library/nginx`); `familiar` prints it as a person typed it.
//! Docker's error texts are kept word for word, since clients and people search for them.

use crate::digest::is_algorithm;
use crate::{Digest, Error, Result};
use std::fmt;
use std::str::FromStr;

/// The domain of names without one.
pub const DEFAULT_DOMAIN: &str = "docker.io";
/// The tag of references without tag and digest.
pub const DEFAULT_TAG: &str = "latest";
/// Longer inputs are refused before they are looked at.
pub const MAX_REFERENCE_BYTES: usize = 4096;

const LEGACY_DEFAULT_DOMAIN: &str = "index.docker.io";
const OFFICIAL_PREFIX: &str = "library/";
const MAX_PATH_BYTES: usize = 255;
const MAX_TAG_BYTES: usize = 128;

/// A normalised reference to an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// What a command accepts for an image: an id, a digest or a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnyReference {
    /// 64 hex digits or a digest.
    Id(Digest),
    /// A name.
    Named(Reference),
}

impl AnyReference {
    /// Parses what a person typed for an image. Shortened ids are names by grammar: whoever resolves
    /// a name also looks for an id that begins so.
    pub fn parse(text: &str) -> Result<Self> {
        if is_identifier(text) {
            return Ok(AnyReference::Id(Digest::parse(&format!("sha256:{text}"))?));
        }
        match Digest::parse(text) {
            Ok(digest) => Ok(AnyReference::Id(digest)),
            Err(_) => Reference::parse(text).map(AnyReference::Named),
        }
    }
}

impl Reference {
    /// Parses and normalises a name as a person typed it.
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > MAX_REFERENCE_BYTES {
            return Err(Error::ReferenceFormat);
        }
        if is_identifier(text) {
            return Err(Error::NameIsIdentifier(text.to_owned()));
        }
        let (domain, remainder) = split_domain(text);
        let remote = remainder.split(':').next().unwrap_or_default();
        if remote.to_lowercase() != remote {
            return Err(Error::ReferenceUppercase(remote.to_owned()));
        }
        Self::parse_full(&format!("{domain}/{remainder}"))
    }

    /// Parses a name that already is in full form, as it is stored.
    pub fn parse_full(text: &str) -> Result<Self> {
        let Some(parts) = grammar(text) else {
            return Err(match grammar(&text.to_lowercase()) {
                Some(_) => Error::NameUppercase,
                None => Error::ReferenceFormat,
            });
        };
        if parts.path.len() > MAX_PATH_BYTES {
            return Err(Error::NameTooLong);
        }
        Ok(Reference {
            domain: parts.domain.to_owned(),
            path: parts.path.to_owned(),
            tag: parts.tag.map(str::to_owned),
            digest: parts.digest.map(Digest::parse).transpose()?,
        })
    }

    /// The registry's host and port, `docker.io` by default. It is empty when the first component
    /// looks like a host (`a_b.c/d`) but is none: Docker accepts such a name as well.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository within its domain, `library/nginx`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Domain and path, `docker.io/library/nginx`.
    pub fn name(&self) -> String {
        if self.domain.is_empty() { self.path.clone() } else { format!("{}/{}", self.domain, self.path) }
    }

    /// The name as a person types it, `nginx`.
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.name();
        }
        match self.path.strip_prefix(OFFICIAL_PREFIX) {
            Some(rest) if !rest.contains('/') => rest.to_owned(),
            _ => self.path.clone(),
        }
    }

    /// The reference as a person types it, `nginx:1.22`.
    pub fn familiar(&self) -> String {
        self.suffixed(self.familiar_name())
    }

    /// Whether it has neither tag nor digest.
    pub fn is_name_only(&self) -> bool {
        self.tag.is_none() && self.digest.is_none()
    }

    /// The same with the default tag, if it has neither tag nor digest.
    #[must_use]
    pub fn or_latest(mut self) -> Self {
        if self.is_name_only() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    /// The same without tag and digest.
    #[must_use]
    pub fn name_only(mut self) -> Self {
        self.tag = None;
        self.digest = None;
        self
    }

    /// The same with this tag and no digest.
    pub fn with_tag(mut self, tag: &str) -> Result<Self> {
        if !is_tag(tag) {
            return Err(Error::TagFormat);
        }
        self.tag = Some(tag.to_owned());
        self.digest = None;
        Ok(self)
    }

    /// The same with this digest; a tag is kept.
    #[must_use]
    pub fn with_digest(mut self, digest: Digest) -> Self {
        self.digest = Some(digest);
        self
    }

    fn suffixed(&self, mut text: String) -> String {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(digest.as_str());
        }
        text
    }
}

/// Prints the full form, `docker.io/library/nginx:1.22`.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.suffixed(self.name()))
    }
}

impl FromStr for Reference {
    type Err = Error;
    fn from_str(s: &str) -> Result<Self> {
        Reference::parse(s)
    }
}

/// `[\w][\w.-]{0,127}`
pub fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= MAX_TAG_BYTES
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

/// A whole image id.
fn is_identifier(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Docker's rule for what before the first slash is a domain.
fn split_domain(text: &str) -> (&str, String) {
    let Some((first, rest)) = text.split_once('/') else {
        return (DEFAULT_DOMAIN, format!("{OFFICIAL_PREFIX}{text}"));
    };
    let (domain, remote) = if first == LEGACY_DEFAULT_DOMAIN {
        (DEFAULT_DOMAIN, rest)
    } else if first == "localhost" || first.contains(['.', ':']) || first.to_lowercase() != first {
        (first, rest)
    } else {
        (DEFAULT_DOMAIN, text)
    };
    if domain == DEFAULT_DOMAIN && !remote.contains('/') {
        return (domain, format!("{OFFICIAL_PREFIX}{remote}"));
    }
    (domain, remote.to_owned())
}

struct Parts<'a> {
    domain: &'a str,
    path: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

/// Names and tags hold no `@`; a tag holds no `/`, so a `:` after the last slash begins it.
fn grammar(text: &str) -> Option<Parts<'_>> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    if let Some(digest) = digest {
        let (algorithm, hex) = digest.split_once(':')?;
        let valid = is_algorithm(algorithm) && hex.len() >= 32 && hex.bytes().all(|b| b.is_ascii_hexdigit());
        if !valid {
            return None;
        }
    }
    let last = rest.rfind('/').map_or(0, |i| i + 1);
    let (name, tag) = match rest[last..].split_once(':') {
        Some((component, tag)) => (&rest[..last + component.len()], Some(tag)),
        None => (rest, None),
    };
    if tag.is_some_and(|t| !is_tag(t)) {
        return None;
    }
    let (domain, path) = match name.split_once('/') {
        Some((first, path)) if is_domain(first) => (first, path),
        _ => ("", name),
    };
    path.split('/').all(is_path_component).then_some(Parts { domain, path, tag, digest })
}

/// Host name, IPv4 or bracketed IPv6 address, each with an optional port.
fn is_domain(text: &str) -> bool {
    let (host, port) = if let Some(inner) = text.strip_prefix('[') {
        let Some((address, rest)) = inner.split_once(']') else { return false };
        if address.is_empty() || !address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':') {
            return false;
        }
        match rest.strip_prefix(':') {
            Some(port) => (None, Some(port)),
            None if rest.is_empty() => (None, None),
            None => return false,
        }
    } else {
        match text.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(text), None),
        }
    };
    let host_ok = host.is_none_or(|h| h.split('.').all(is_domain_component));
    host_ok && port.is_none_or(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()))
}

fn is_domain_component(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
}

/// `[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*`
fn is_path_component(text: &str) -> bool {
    let bytes = text.as_bytes();
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    if !word(*first) || !word(*last) {
        return false;
    }
    let mut separators = bytes.split(|b| word(*b)).filter(|s| !s.is_empty());
    separators.all(|s| matches!(s, b"." | b"_" | b"__") || s.iter().all(|b| *b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn show(input: &str) -> String {
        match Reference::parse(input) {
            Ok(r) => format!("{r} | {}", r.familiar()),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn normalisation() {
        let cases = [
            ("nginx", "docker.io/library/nginx | nginx"),
            ("nginx:1.22", "docker.io/library/nginx:1.22 | nginx:1.22"),
            ("library/nginx", "docker.io/library/nginx | nginx"),
            ("library/a/b", "docker.io/library/a/b | library/a/b"),
            ("docker.io/nginx", "docker.io/library/nginx | nginx"),
            ("index.docker.io/nginx:x", "docker.io/library/nginx:x | nginx:x"),
            ("foo/bar", "docker.io/foo/bar | foo/bar"),
            ("docker.io/foo/bar", "docker.io/foo/bar | foo/bar"),
            ("localhost/foo", "localhost/foo | localhost/foo"),
            ("localhost:5000/foo/bar:t", "localhost:5000/foo/bar:t | localhost:5000/foo/bar:t"),
            ("127.0.0.1:5000/x", "127.0.0.1:5000/x | 127.0.0.1:5000/x"),
            ("[::1]:5000/x:y", "[::1]:5000/x:y | [::1]:5000/x:y"),
            ("[fe80::1%eth0]:5000/x", "invalid reference format"),
            ("Asdf.com/foo/bar", "Asdf.com/foo/bar | Asdf.com/foo/bar"),
            ("FOO/bar", "FOO/bar | FOO/bar"),
            ("localhost:5000", "docker.io/library/localhost:5000 | localhost:5000"),
            ("a_b.c/foo", "a_b.c/foo | a_b.c/foo"),
            ("xn--n3h.com/my-image", "xn--n3h.com/my-image | xn--n3h.com/my-image"),
            ("a--b__c.d_e", "docker.io/library/a--b__c.d_e | a--b__c.d_e"),
        ];
        for (input, want) in cases {
            assert_eq!(show(input), want, "{input}");
        }
    }

    #[test]
    fn refusals() {
        let format = "invalid reference format";
        let long = "a".repeat(256);
        let cases: Vec<(&str, &str)> = vec![
            ("", format),
            (":", format),
            ("/", format),
            ("nginx:", format),
            ("nginx:a:b", format),
            ("nginx@", format),
            ("nginx@sha256:abc", format),
            ("-nginx", format),
            ("nginx-", format),
            ("a..b", format),
            ("a___b", format),
            ("a._b", format),
            ("a//b", format),
            ("a/b/", format),
            ("../etc/passwd", format),
            ("a/../b", format),
            ("a b", format),
            ("a\nb", format),
            ("a:b/c", format),
            ("https://docker.io/nginx", format),
            ("--flag", format),
            ("Foo", "invalid reference format: repository name (library/Foo) must be lowercase"),
            ("foo/Bar:x", "invalid reference format: repository name (foo/Bar) must be lowercase"),
            ("localhost/Foo", "invalid reference format: repository name (Foo) must be lowercase"),
            ("Foo_bar.com/x", "repository name must be lowercase"),
            (
                HEX,
                "invalid repository name (e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855), \
                   cannot specify 64-byte hexadecimal strings",
            ),
            (&long, "repository name must not be more than 255 characters"),
        ];
        for (input, want) in cases {
            assert_eq!(show(input), want, "{input:?}");
        }
        assert_eq!(show(&"a/".repeat(MAX_REFERENCE_BYTES)), format);
        assert_eq!(show(&format!("a:{}", "t".repeat(129))), format);
        assert_eq!(show(&format!("a@sha256:{}", HEX.to_uppercase())), "invalid checksum digest format");
        assert_eq!(show(&format!("a@sha256:{}", &HEX[..40])), "invalid checksum digest length");
        assert_eq!(show(&format!("a@md5:{}", &HEX[..32])), "unsupported digest algorithm");
    }

    #[test]
    fn digests_and_tags() {
        let input = format!("nginx:1@sha256:{HEX}");
        let r = Reference::parse(&input).unwrap();
        assert_eq!((r.tag(), r.digest().unwrap().hex()), (Some("1"), HEX));
        assert_eq!(r.familiar(), input);
        assert_eq!(Reference::parse("x").unwrap().or_latest().familiar(), "x:latest");
        assert_eq!(r.clone().or_latest(), r);
        assert!(r.clone().with_tag("-").is_err());
        assert_eq!(r.with_tag("v2").unwrap().familiar(), "nginx:v2");
    }

    #[test]
    fn any_reference() {
        let id = AnyReference::Id(Digest::parse(&format!("sha256:{HEX}")).unwrap());
        assert_eq!(AnyReference::parse(HEX).unwrap(), id);
        assert_eq!(AnyReference::parse(&format!("sha256:{HEX}")).unwrap(), id);
        assert!(matches!(AnyReference::parse("abc123").unwrap(), AnyReference::Named(_)));
    }

    proptest! {
        #[test]
        fn print_then_parse(domain in "(localhost|[a-z]{1,5}\\.[a-z]{2,3})(:[0-9]{1,5})?", path in "[a-z0-9]{1,6}([._-][a-z0-9]{1,4}){0,2}(/[a-z]{1,5}){0,3}", tag in proptest::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}")) {
            let mut text = format!("{domain}/{path}");
            if let Some(tag) = &tag { text = format!("{text}:{tag}"); }
            let r = Reference::parse(&text).unwrap();
            prop_assert_eq!(r.to_string(), text.clone());
            prop_assert_eq!(Reference::parse(&r.familiar()).unwrap(), r.clone());
            prop_assert_eq!(Reference::parse_full(&r.to_string()).unwrap(), r);
        }

        #[test]
        fn familiar_is_stable(path in "([a-z]{1,5}/){0,2}[a-z]{1,5}") {
            let r = Reference::parse(&path).unwrap();
            prop_assert_eq!(Reference::parse(&r.familiar()).unwrap(), r);
        }

        #[test]
        fn never_panics(s in "\\PC{0,120}") {
            if let Ok(r) = Reference::parse(&s) {
                prop_assert_eq!(Reference::parse_full(&r.to_string()).unwrap(), r);
            }
        }

        #[test]
        fn hostile_punctuation(s in "[a-zA-Z0-9:/@._\\[\\]-]{0,60}") {
            if let Ok(r) = Reference::parse(&s) {
                prop_assert!(!r.path().split('/').any(|c| c == ".." || c == "." || c.is_empty()));
            }
        }
    }
}
