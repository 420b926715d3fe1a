//! One more kind of field for Go's rules; see the module above.

use super::*;

impl<T: Go> Go for Option<T> {
    fn merge(&mut self, value: Json, at: &mut At) -> Result<(), DecodeError> {
        if value == Json::Null {
            *self = None;
            return Ok(());
        }
        self.get_or_insert_default().merge(value, at)
    }
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Some(value) => value.write(out),
            None => out.extend_from_slice(b"null"),
        }
    }
    fn is_zero(&self) -> bool {
        self.as_ref().is_none_or(Go::is_empty_collection)
    }
    fn to_go(&self) -> Json {
        self.as_ref().map_or(Json::Null, Go::to_go)
    }
    fn type_name() -> String {
        T::type_name()
    }
}
