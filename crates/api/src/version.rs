//! API versions: `major.minor`.

use std::fmt;
use std::str::FromStr;

/// A version of the Engine API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    /// Before the dot.
    pub major: u32,
    /// After the dot.
    pub minor: u32,
}

/// Text that is not `major.minor`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an API version")]
pub struct InvalidVersion(String);

impl ApiVersion {
    /// The newest version we speak (DESIGN: dockerd 28.5's).
    pub const NEWEST: ApiVersion = ApiVersion { major: 1, minor: 51 };
    /// The oldest version we speak.
    pub const OLDEST: ApiVersion = ApiVersion { major: 1, minor: 24 };

    /// Version 1.`minor`.
    pub const fn v1(minor: u32) -> ApiVersion {
        ApiVersion { major: 1, minor }
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for ApiVersion {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<ApiVersion, InvalidVersion> {
        let number = |part: &str| {
            let plain = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| part.parse().ok()).flatten()
        };
        let parts = text.split_once('.');
        match parts.and_then(|(major, minor)| Some((number(major)?, number(minor)?))) {
            Some((major, minor)) => Ok(ApiVersion { major, minor }),
            None => Err(InvalidVersion(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_by_number() {
        let version = |text: &str| text.parse::<ApiVersion>();
        assert!(version("1.9").unwrap() < version("1.24").unwrap());
        assert!(version("2.0").unwrap() > version("1.51").unwrap());
        for text in ["", "1", "1.", ".1", "1.+2", "1.2.3", "v1.2", "1.99999999999"] {
            assert!(version(text).is_err(), "{text}");
        }
    }
}
