//! Decoding JSON as Go's encoding/json does it: a null stands for the zero value.
//!
//! Sizes are bounded before a byte is parsed. Unknown fields are ignored; documents are identified by
//! the digest of their bytes and never re-encoded, so nothing is lost by that.

use crate::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

/// The largest manifest, index or image configuration that is read (as containerd and registries).
pub const MAX_DOCUMENT_BYTES: usize = 8 << 20;

/// Decodes a bounded document; `what` names it in errors.
pub fn from_slice<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T> {
    if bytes.len() > MAX_DOCUMENT_BYTES {
        return Err(Error::DocumentTooLarge { what, size: bytes.len() as u64 });
    }
    serde_json::from_slice(bytes).map_err(|source| Error::Json { what, source })
}

/// For `deserialize_with`: null becomes the default.
pub(crate) fn nullable<'de, D, T>(d: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

/// A set that JSON writes as an object with empty objects as values (`ExposedPorts`, `Volumes`).
pub(crate) mod set {
    use serde::de::IgnoredAny;
    use serde::ser::SerializeMap;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::collections::{BTreeMap, BTreeSet};

    /// The empty object.
    #[derive(Serialize)]
    struct Empty {}

    pub fn serialize<S: Serializer>(set: &BTreeSet<String>, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(Some(set.len()))?;
        for key in set {
            map.serialize_entry(key, &Empty {})?;
        }
        map.end()
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<BTreeSet<String>, D::Error> {
        let map = Option::<BTreeMap<String, IgnoredAny>>::deserialize(d)?;
        Ok(map.unwrap_or_default().into_keys().collect())
    }
}
