//! Messages of RFC 1035 (with EDNS, RFC 6891) as far as a resolver that forwards needs them.
//!
//! Only the header, the one question and the OPT record are understood; everything else of an answer is
//! passed on as bytes. Invariants: no input makes this panic or loop; a name is at most 255 bytes; what is
//! built has each name of an answer as a pointer to the question, which is the only compression needed.
//!
//! It does not know who asks, nor what is answered.

use std::net::IpAddr;

/// Bytes of a header (RFC 1035 section 4.1.1).
pub const HEADER: usize = 12;
/// What a client without EDNS takes over UDP.
pub const PLAIN_UDP: usize = 512;
/// What we send over UDP at most, whatever the client offers.
pub const MAX_UDP: usize = 4096;
/// Seconds for which a container may keep an answer: Docker's.
pub const TTL: u32 = 600;

/// TYPE and CLASS values.
pub const TYPE_A: u16 = 1;
/// A pointer from an address to a name.
pub const TYPE_PTR: u16 = 12;
/// An IPv6 address.
pub const TYPE_AAAA: u16 = 28;
const TYPE_OPT: u16 = 41;
/// Whatever there is.
pub const TYPE_ANY: u16 = 255;
/// The internet.
pub const CLASS_IN: u16 = 1;

/// Response codes.
pub const NOERROR: u8 = 0;
/// The message was not understood.
pub const FORMERR: u8 = 1;
/// The answer could not be found out.
pub const SERVFAIL: u8 = 2;
/// There is no such name.
pub const NXDOMAIN: u8 = 3;
/// Not this kind of query.
pub const NOTIMP: u8 = 4;

const FLAG_RESPONSE: u8 = 0x80;
const FLAG_TRUNCATED: u8 = 0x02;
const FLAG_RECURSION_DESIRED: u8 = 0x01;
const FLAG_RECURSION_AVAILABLE: u8 = 0x80;
const OPCODE: u8 = 0x78;
/// RFC 1035 section 2.3.4.
const MAX_NAME: usize = 255;
/// The question begins right behind the header: what a pointer to its name looks like.
const TO_QUESTION: [u8; 2] = [0xc0, HEADER as u8];
/// Root name, type, class, TTL and the length of nothing.
const OPT_BYTES: usize = 11;

/// What a client wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Chosen by the client.
    pub id: u16,
    /// The name in lower case with dots between its labels and none at its end. Bytes that are no letter, digit,
    /// hyphen or underscore are kept as they are if they are printable, else the name is one that nobody has.
    pub name: String,
    /// TYPE.
    pub kind: u16,
    /// CLASS.
    pub class: u16,
    /// Where the question ends.
    end: usize,
    /// The size of answers that the client takes over UDP by its OPT record.
    edns: Option<u16>,
}

/// A message that is answered with an error, or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bad {
    /// No answer: not even a header, or an answer itself.
    Ignore,
    /// Answered with this code.
    Refuse(u8),
}

impl Query {
    /// Understands a client's message.
    pub fn parse(message: &[u8]) -> Result<Self, Bad> {
        let header = message.get(..HEADER).ok_or(Bad::Ignore)?;
        if header[2] & FLAG_RESPONSE != 0 {
            return Err(Bad::Ignore);
        }
        if header[2] & OPCODE != 0 {
            return Err(Bad::Refuse(NOTIMP));
        }
        let question = question(message).ok_or(Bad::Refuse(FORMERR))?;
        // Nothing but the OPT record belongs into a query; one behind other records is not looked for.
        let records = [u16_at(message, 6), u16_at(message, 8)];
        let edns = if records == [Some(0), Some(0)] { opt_size(message, question.end) } else { None };
        Ok(Self { id: u16_at(message, 0).unwrap_or(0), edns, ..question })
    }

    /// How long an answer over UDP may be.
    pub fn udp_limit(&self) -> usize {
        self.edns.map_or(PLAIN_UDP, |size| usize::from(size).clamp(PLAIN_UDP, MAX_UDP))
    }

    /// Labels of the name.
    pub fn labels(&self) -> usize {
        self.name.split('.').filter(|label| !label.is_empty()).count()
    }

    /// An answer with these addresses, as many as `limit` bytes hold; TC says when there are more.
    pub fn with_addresses(&self, message: &[u8], addresses: &[IpAddr], limit: usize) -> Vec<u8> {
        let records = addresses.iter().map(|address| match address {
            IpAddr::V4(v4) => (TYPE_A, v4.octets().to_vec()),
            IpAddr::V6(v6) => (TYPE_AAAA, v6.octets().to_vec()),
        });
        self.with_records(message, NOERROR, records, limit)
    }

    /// An answer with a name; `None` when it is none that the wire can carry.
    pub fn with_name(&self, message: &[u8], name: &str) -> Option<Vec<u8>> {
        let encoded = encode_name(name)?;
        Some(self.with_records(message, NOERROR, std::iter::once((TYPE_PTR, encoded)), MAX_UDP))
    }

    /// An answer with nothing but a code.
    pub fn with_code(&self, message: &[u8], code: u8) -> Vec<u8> {
        self.with_records(message, code, std::iter::empty(), PLAIN_UDP)
    }

    fn with_records(
        &self,
        message: &[u8],
        code: u8,
        records: impl Iterator<Item = (u16, Vec<u8>)>,
        limit: usize,
    ) -> Vec<u8> {
        let mut out = start(message, code, 1);
        out.extend_from_slice(message.get(HEADER..self.end).unwrap_or_default());
        let opt = if self.edns.is_some() { OPT_BYTES } else { 0 };
        let mut count = 0u16;
        for (kind, data) in records {
            if out.len() + 12 + data.len() + opt > limit || count == u16::MAX {
                out[2] |= FLAG_TRUNCATED;
                break;
            }
            out.extend_from_slice(&TO_QUESTION);
            for number in [kind, CLASS_IN] {
                out.extend_from_slice(&number.to_be_bytes());
            }
            out.extend_from_slice(&TTL.to_be_bytes());
            out.extend_from_slice(&(data.len() as u16).to_be_bytes());
            out.extend_from_slice(&data);
            count += 1;
        }
        out[6..8].copy_from_slice(&count.to_be_bytes());
        if opt > 0 {
            out.push(0);
            out.extend_from_slice(&TYPE_OPT.to_be_bytes());
            out.extend_from_slice(&(MAX_UDP as u16).to_be_bytes());
            out.extend_from_slice(&[0; 6]);
            out[11] = 1;
        }
        out
    }

    /// Whether `answer` is a response to this question that was asked with the id `id`.
    pub fn is_answered_by(&self, id: u16, answer: &[u8]) -> bool {
        let Some(header) = answer.get(..HEADER) else { return false };
        if u16_at(answer, 0) != Some(id) || header[2] & FLAG_RESPONSE == 0 {
            return false;
        }
        match question(answer) {
            Some(theirs) => (&theirs.name, theirs.kind, theirs.class) == (&self.name, self.kind, self.class),
            // A server that understood nothing sends only a header back.
            None => u16_at(answer, 4) == Some(0) && code(answer) != NOERROR,
        }
    }

    /// A foreign answer cut to `limit` bytes: as it is, or the question with TC.
    pub fn cut(&self, answer: Vec<u8>, limit: usize) -> Vec<u8> {
        if answer.len() <= limit {
            return answer;
        }
        let mut out = answer;
        out.truncate(self.end);
        out[2] |= FLAG_TRUNCATED;
        for count in &mut out[6..HEADER] {
            *count = 0;
        }
        out
    }
}

/// An answer to a message that could not be understood: its header alone.
pub fn refusal(message: &[u8], code: u8) -> Vec<u8> {
    start(message, code, 0)
}

/// The response code of an answer.
pub fn code(answer: &[u8]) -> u8 {
    answer.get(3).map_or(SERVFAIL, |b| b & 0x0f)
}

/// Replaces the id.
pub fn set_id(message: &mut [u8], id: u16) {
    if let Some(place) = message.get_mut(..2) {
        place.copy_from_slice(&id.to_be_bytes());
    }
}

/// The address of a name below `in-addr.arpa` or `ip6.arpa` (RFC 1035 section 3.5, RFC 3596 section 2.5).
pub fn reverse_address(name: &str) -> Option<IpAddr> {
    if let Some(digits) = name.strip_suffix(".in-addr.arpa") {
        let mut octets = [0u8; 4];
        let mut labels = digits.split('.');
        for octet in octets.iter_mut().rev() {
            let label = labels.next()?;
            let plain = !label.is_empty() && label.bytes().all(|b| b.is_ascii_digit());
            *octet = label.parse().ok().filter(|_| plain && (label == "0" || !label.starts_with('0')))?;
        }
        return labels.next().is_none().then(|| octets.into());
    }
    let digits = name.strip_suffix(".ip6.arpa")?;
    let mut value = 0u128;
    let mut labels = digits.split('.');
    for place in 0..32 {
        let label = labels.next().filter(|l| l.len() == 1)?;
        value |= u128::from(u8::from_str_radix(label, 16).ok()?) << (4 * place);
    }
    labels.next().is_none().then(|| IpAddr::V6(value.into()))
}

/// Header of an answer: the client's id, opcode and wish for recursion.
fn start(message: &[u8], code: u8, questions: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    let byte = |at: usize| message.get(at).copied().unwrap_or(0);
    out.extend_from_slice(&[byte(0), byte(1)]);
    out.push(FLAG_RESPONSE | byte(2) & (OPCODE | FLAG_RECURSION_DESIRED));
    out.push(FLAG_RECURSION_AVAILABLE | code);
    out.extend_from_slice(&[0, questions, 0, 0, 0, 0, 0, 0]);
    out
}

/// The one question of a message.
fn question(message: &[u8]) -> Option<Query> {
    if u16_at(message, 4) != Some(1) {
        return None;
    }
    let mut name = String::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*message.get(at)?);
        // A question is the first name of a message: there is nothing that it could point to.
        if length > 63 {
            return None;
        }
        at += 1;
        if length == 0 {
            break;
        }
        let label = message.get(at..at + length)?;
        at += length;
        if at - HEADER > MAX_NAME {
            return None;
        }
        if !name.is_empty() {
            name.push('.');
        }
        for &byte in label {
            // A dot inside of a label must not look like the end of one.
            let printable = byte.is_ascii_graphic() && byte != b'.';
            name.push(if printable { byte.to_ascii_lowercase() as char } else { '\u{fffd}' });
        }
    }
    let kind = u16_at(message, at)?;
    let class = u16_at(message, at + 2)?;
    Some(Query { id: 0, name, kind, class, end: at + 4, edns: None })
}

/// The size in the OPT record that stands at `at`, when there is one.
fn opt_size(message: &[u8], at: usize) -> Option<u16> {
    let present = u16_at(message, 10)? > 0 && *message.get(at)? == 0 && u16_at(message, at + 1)? == TYPE_OPT;
    message.get(at..at + OPT_BYTES)?;
    if present { u16_at(message, at + 3) } else { None }
}

/// A name as labels.
fn encode_name(name: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(name.len() + 2);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        if label.len() > 63 {
            return None;
        }
        out.push(label.len() as u8);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    (out.len() <= MAX_NAME).then_some(out)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A query as a client sends it; `edns` is the size in its OPT record.
    pub(crate) fn query(id: u16, name: &str, kind: u16, edns: Option<u16>) -> Vec<u8> {
        let mut out = id.to_be_bytes().to_vec();
        out.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns.is_some())]);
        out.extend(encode_name(name).unwrap());
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&CLASS_IN.to_be_bytes());
        if let Some(size) = edns {
            out.extend_from_slice(&[0, 0, 41]);
            out.extend_from_slice(&size.to_be_bytes());
            out.extend_from_slice(&[0; 6]);
        }
        out
    }

    fn parsed(message: &[u8]) -> Query {
        Query::parse(message).unwrap()
    }

    #[test]
    fn queries() {
        let message = query(7, "Web.Example", TYPE_A, Some(1232));
        let q = parsed(&message);
        assert_eq!((q.id, q.name.as_str(), q.kind, q.class), (7, "web.example", TYPE_A, CLASS_IN));
        assert_eq!((q.udp_limit(), q.labels()), (1232, 2));
        assert_eq!(parsed(&query(7, "web", TYPE_A, Some(65535))).udp_limit(), MAX_UDP);
        assert_eq!(parsed(&query(7, "web", TYPE_A, Some(1))).udp_limit(), PLAIN_UDP);
        assert_eq!(parsed(&query(7, "", 2, None)).name, "");
        let mut response = query(7, "web", TYPE_A, None);
        response[2] |= 0x80;
        assert_eq!(Query::parse(&response), Err(Bad::Ignore));
        assert_eq!(Query::parse(&message[..11]), Err(Bad::Ignore));
        assert_eq!(Query::parse(&message[..20]), Err(Bad::Refuse(FORMERR)));
        let mut update = query(7, "web", TYPE_A, None);
        update[2] |= 0x28;
        assert_eq!(Query::parse(&update), Err(Bad::Refuse(NOTIMP)));
        let mut pointer = query(7, "web", TYPE_A, None);
        pointer[HEADER] = 0xc0;
        assert_eq!(Query::parse(&pointer), Err(Bad::Refuse(FORMERR)));
    }

    #[test]
    fn answers() {
        let message = query(7, "WEB", TYPE_A, None);
        let q = parsed(&message);
        let answer = q.with_addresses(&message, &["10.0.0.1".parse().unwrap()], PLAIN_UDP);
        let expected = [
            &[0, 7, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0][..],
            b"\x03WEB\0\0\x01\0\x01\xc0\x0c\0\x01\0\x01\0\0\x02\x58\0\x04\x0a\0\0\x01",
        ]
        .concat();
        assert_eq!(answer, expected);
        assert!(q.is_answered_by(7, &answer));
        assert!(!q.is_answered_by(8, &answer));
        assert!(!parsed(&query(7, "other", TYPE_A, None)).is_answered_by(7, &answer));
        let reverse = query(9, "1.0.0.10.in-addr.arpa", TYPE_PTR, Some(4096));
        let named = parsed(&reverse).with_name(&reverse, "web.net1").unwrap();
        assert!(named.windows(10).any(|w| w == b"\x03web\x04net1\0"));
        assert_eq!(named[named.len() - OPT_BYTES..][..3], [0, 0, 41]);
        assert_eq!(parsed(&reverse).with_name(&reverse, &"x".repeat(64)), None);
        assert_eq!(code(&q.with_code(&message, SERVFAIL)), SERVFAIL);
        assert_eq!(refusal(b"\0\x05", FORMERR), [0, 5, 0x80, 0x81, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn too_long_is_cut() {
        let message = query(7, "web", TYPE_A, None);
        let q = parsed(&message);
        let many: Vec<IpAddr> = (0..100).map(|n| IpAddr::from([10, 0, 0, n])).collect();
        let answer = q.with_addresses(&message, &many, PLAIN_UDP);
        assert!(answer.len() <= PLAIN_UDP && answer[2] & FLAG_TRUNCATED != 0);
        assert_eq!(u16_at(&answer, 6), Some(30));
        let whole = q.with_addresses(&message, &many, 65535);
        assert_eq!((u16_at(&whole, 6), whole[2] & FLAG_TRUNCATED), (Some(100), 0));
        let cut = q.cut(whole.clone(), PLAIN_UDP);
        assert_eq!((cut.len(), u16_at(&cut, 6), cut[2] & FLAG_TRUNCATED), (21, Some(0), FLAG_TRUNCATED));
        assert_eq!(q.cut(whole.clone(), 65535), whole);
    }

    #[test]
    fn reverse_names() {
        let cases = [
            ("2.0.18.172.in-addr.arpa", Some("172.18.0.2")),
            ("0.0.18.172.in-addr.arpa", Some("172.18.0.0")),
            ("18.172.in-addr.arpa", None),
            ("1.2.0.18.172.in-addr.arpa", None),
            ("02.0.18.172.in-addr.arpa", None),
            ("+2.0.18.172.in-addr.arpa", None),
            ("256.0.18.172.in-addr.arpa", None),
            ("2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.9.0.0.0.0.0.d.f.ip6.arpa", Some("fd00:9::2")),
            ("2.ip6.arpa", None),
            ("web", None),
        ];
        for (name, address) in cases {
            assert_eq!(reverse_address(name), address.map(|a| a.parse().unwrap()), "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_will_do(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(query) = Query::parse(&bytes) {
                prop_assert!(query.name.chars().count() <= MAX_NAME);
                prop_assert!(query.end <= bytes.len());
                let _ = query.with_code(&bytes, SERVFAIL);
                let _ = query.is_answered_by(query.id, &bytes);
                let cut = query.cut([&bytes[..], &[0; 600]].concat(), PLAIN_UDP);
                prop_assert!(cut.len() <= PLAIN_UDP);
            }
            let _ = code(&bytes);
            let _ = refusal(&bytes, FORMERR);
        }

        #[test]
        fn what_is_asked_is_understood(
            id in any::<u16>(), kind in any::<u16>(), edns in proptest::option::of(any::<u16>()),
            labels in proptest::collection::vec("[a-zA-Z0-9_-]{1,30}", 0..7),
        ) {
            let name = labels.join(".");
            let message = query(id, &name, kind, edns);
            let q = Query::parse(&message).unwrap();
            prop_assert_eq!((q.id, q.kind, q.class, q.edns), (id, kind, CLASS_IN, edns));
            prop_assert_eq!(&q.name, &name.to_lowercase());
            let addresses: Vec<IpAddr> = (0..50u8).map(|n| IpAddr::from([10, 0, 0, n])).collect();
            let answer = q.with_addresses(&message, &addresses, q.udp_limit());
            prop_assert!(answer.len() <= q.udp_limit());
            prop_assert!(q.is_answered_by(id, &answer));
        }

        #[test]
        fn reverse_of_any_name_is_safe(name in ".{0,80}") {
            let _ = reverse_address(&name);
            let _ = reverse_address(&format!("{name}.ip6.arpa"));
            let _ = reverse_address(&format!("{name}.in-addr.arpa"));
        }
    }
}
