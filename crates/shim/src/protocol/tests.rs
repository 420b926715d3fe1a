//! Tests of the module above: what it promises, as cases.

use super::*;
use crate::exit::ExitRecord;
use proptest::prelude::*;

fn all(decoder: &mut Decoder<u32>) -> Result<Vec<Frame<u32>>, ProtocolError> {
    let mut frames = Vec::new();
    while let Some(frame) = decoder.next_frame()? {
        frames.push(frame);
    }
    Ok(frames)
}

fn with_hello(bytes: &[u8]) -> Vec<u8> {
    [&Hello::OURS.encode()[..], bytes].concat()
}

#[test]
fn versions() {
    let hello = |version, oldest| Hello { version, oldest };
    for (ours, theirs, expected) in [
        (hello(1, 1), hello(1, 1), Some(1)),
        (hello(1, 1), hello(4, 1), Some(1)),
        (hello(4, 2), hello(3, 1), Some(3)),
        (hello(1, 1), hello(4, 2), None),
        (hello(4, 2), hello(1, 1), None),
    ] {
        assert_eq!(ours.negotiate(theirs).ok(), expected, "{ours:?} {theirs:?}");
    }
    let mut bytes = Hello::OURS.encode();
    assert_eq!(Hello::decode(&bytes), Ok(Hello::OURS));
    // Reserved for later versions: must not disturb this one.
    bytes[15] = 7;
    assert_eq!(Hello::decode(&bytes), Ok(Hello::OURS));
    bytes[0] = b'T';
    assert_eq!(Hello::decode(&bytes), Err(ProtocolError::Magic));
}

#[test]
fn hostile_frames_end_the_conversation() {
    let header = |length: u32, kind: u8, fds: u8, reserved: u8| {
        let mut h = vec![0; HEADER_BYTES];
        h[..4].copy_from_slice(&length.to_le_bytes());
        (h[8], h[9], h[12]) = (kind, fds, reserved);
        h
    };
    for (bytes, error) in [
        (b"GET / HTTP/1.1\r\n".to_vec(), ProtocolError::Magic),
        (vec![0; 64], ProtocolError::Magic),
        (with_hello(&header(0, 0, 0, 0)), ProtocolError::Header),
        (with_hello(&header(0, 9, 0, 0)), ProtocolError::Header),
        (with_hello(&header(0, 1, 0, 1)), ProtocolError::Header),
        (with_hello(&header(u32::MAX, 1, 0, 0)), ProtocolError::TooLong(u32::MAX.into())),
        (
            with_hello(&header(MAX_BODY_BYTES as u32 + 1, 1, 0, 0)),
            ProtocolError::TooLong(MAX_BODY_BYTES as u64 + 1),
        ),
        (with_hello(&header(0, 1, 1, 0)), ProtocolError::Descriptors),
        (with_hello(&header(0, 1, 251, 0)), ProtocolError::Descriptors),
    ] {
        let mut decoder = Decoder::default();
        decoder.push(&bytes, []).unwrap();
        assert_eq!(all(&mut decoder), Err(error), "{bytes:?}");
        // Nothing is read after that.
        decoder.push(&with_hello(&header(0, 1, 0, 0)), []).unwrap();
        assert_eq!(all(&mut decoder), Ok(vec![]));
    }
    let mut decoder = Decoder::default();
    assert_eq!(decoder.push(b"", 0..501), Err(ProtocolError::Descriptors));
}

#[test]
fn limits_of_what_is_sent() {
    assert_eq!(
        encode_frame(Kind::Request, 1, &vec![0; MAX_BODY_BYTES + 1], 0),
        Err(ProtocolError::TooLong(MAX_BODY_BYTES as u64 + 1))
    );
    assert_eq!(encode_frame(Kind::Request, 1, b"", MAX_FRAME_FDS + 1), Err(ProtocolError::Descriptors));
}

#[test]
fn messages_on_the_wire() {
    // These texts are the protocol: a change of them is a new version.
    let requests = [
        (Request::Create, r#"{"op":"create"}"#),
        (
            Request::Attach { stdin: true, stdout: true, stderr: false },
            r#"{"op":"attach","stdin":true,"stdout":true,"stderr":false}"#,
        ),
        (Request::Kill { signal: 15, all: false, exec_id: None }, r#"{"op":"kill","signal":15,"all":false}"#),
        (Request::ExecWait { exec_id: "a".into() }, r#"{"op":"exec_wait","exec_id":"a"}"#),
    ];
    for (request, text) in requests {
        assert_eq!(String::from_utf8(encode(&request).unwrap()).unwrap(), text);
        assert_eq!(decode::<Request>(text.as_bytes()).unwrap(), request);
    }
    assert_eq!(
        decode::<Request>(br#"{"op":"kill","signal":9}"#).unwrap(),
        Request::Kill { signal: 9, all: false, exec_id: None }
    );
    for bad in
        ["", "{}", "[]", r#"{"op":"reboot"}"#, r#"{"op":"kill"}"#, r#"{"op":"resize","width":-1,"height":1}"#]
    {
        assert!(matches!(decode::<Request>(bad.as_bytes()), Err(ProtocolError::Body(_))), "{bad}");
    }
    let record = ExitRecord::lost("id", "boot", 7, 8);
    let response = Response::Exited(record);
    assert_eq!(decode::<Response>(&encode(&response).unwrap()).unwrap(), response);
}

proptest! {
    #[test]
    fn any_split_gives_the_same_frames(
        frames in prop::collection::vec((any::<u32>(), prop::collection::vec(any::<u8>(), 0..200), 0usize..4), 0..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        // The stream, and after which byte each descriptor is there (with its frame's first byte).
        let (mut stream, mut fds, mut expected) = (Hello::OURS.encode().to_vec(), Vec::new(), Vec::new());
        for (n, (id, body, count)) in frames.iter().enumerate() {
            let own: Vec<u32> = (0..*count).map(|i| (n * 10 + i) as u32).collect();
            fds.extend(own.iter().map(|&fd| (stream.len(), fd)));
            stream.extend(encode_frame(Kind::Request, *id, body, *count).unwrap());
            expected.push(Frame { kind: Kind::Request, id: *id, body: body.clone(), fds: own });
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|c| c.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let mut decoder = Decoder::default();
        let mut got = Vec::new();
        for w in cuts.windows(2) {
            let now: Vec<u32> = fds.iter().filter(|(at, _)| (w[0]..w[1]).contains(at)).map(|(_, fd)| *fd).collect();
            decoder.push(&stream[w[0]..w[1]], now).unwrap();
            got.extend(all(&mut decoder).unwrap());
        }
        prop_assert_eq!(got, expected);
    }

    #[test]
    fn no_bytes_make_it_panic_or_grow(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..20), greet in any::<bool>()) {
        let mut decoder: Decoder<u32> = Decoder::default();
        if greet {
            decoder.push(&Hello::OURS.encode(), []).unwrap();
        }
        for chunk in chunks {
            decoder.push(&chunk, []).unwrap();
            if all(&mut decoder).is_err() {
                prop_assert_eq!(all(&mut decoder), Ok(vec![]));
            }
        }
    }

    #[test]
    fn no_body_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode::<Request>(&body);
        let _ = decode::<Response>(&body);
    }
}
