use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const MASK: [u8; 4] = [7, 77, 177, 211];

/// A frame of these first bytes, its length in `form` bytes.
fn frame_in(form: usize, first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let length = payload.len();
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut frame = vec![first];
    match form {
        0 => frame.push(masked | u8::try_from(length).unwrap()),
        2 => frame.push(masked | 0x7e),
        _ => frame.push(masked | 0x7f),
    }
    let length = u64::try_from(length).unwrap().to_be_bytes();
    frame.extend(&length[8 - form..]);
    frame.extend(mask.iter().flatten());
    let key = mask.unwrap_or_default();
    let masked = payload.iter().zip(key.iter().cycle());
    frame.extend(masked.map(|(byte, key)| byte ^ key));
    frame
}

fn frame(first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let form = match payload.len() {
        ..126 => 0,
        126..65_536 => 2,
        _ => 8,
    };
    frame_in(form, first, payload, mask)
}

/// From a client.
fn sent(first: u8, payload: &[u8]) -> Vec<u8> {
    frame(first, payload, Some(MASK))
}

/// What was heard in all, with payload as `Data`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Came {
    Data(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Text(String),
    End(End),
}

/// Feeds `bytes` in pieces of `sizes`, over and over. Data of one piece is told before the rest of
/// it, which is all the order there is.
fn feed(receiver: &mut Receiver, bytes: &[u8], sizes: &[usize]) -> Vec<Came> {
    let mut came = Vec::new();
    let mut data = Vec::new();
    let mut rest = bytes;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at((*size).clamp(1, rest.len()));
        rest = after;
        let mut piece = piece.to_vec();
        let (payload, end) = receiver.unframe(&mut piece, |heard| {
            came.push(match heard {
                Heard::Ping(payload) => Came::Ping(payload.to_vec()),
                Heard::Pong(payload) => Came::Pong(payload.to_vec()),
                Heard::Text(text) => Came::Text(text.to_owned()),
            });
        });
        data.extend_from_slice(&piece[..payload]);
        if let Some(end) = end {
            came.push(Came::End(end));
            break;
        }
    }
    came.insert(0, Came::Data(data));
    came
}

fn receiver() -> Receiver {
    Receiver::new(WsRole::Server, 1000, Some(100))
}

fn end_of(bytes: &[u8]) -> Option<End> {
    match feed(&mut receiver(), bytes, &[bytes.len()]).pop() {
        Some(Came::End(end)) => Some(end),
        _ => None,
    }
}

#[test]
fn what_may_follow_what() {
    let begun = sent(0x02, b"a");
    let text_begun = sent(0x01, b"a");
    let none: Vec<u8> = Vec::new();
    let table = [
        // What came before, the first byte of what comes, and what is wrong with it.
        (&none, 0x82, None),
        (&none, 0x02, None),
        (&none, 0x81, None),
        (&none, 0x01, None),
        (&none, 0x80, Some(Breach::NothingToContinue)),
        (&none, 0x00, Some(Breach::NothingToContinue)),
        (&begun, 0x80, None),
        (&begun, 0x00, None),
        (&begun, 0x82, Some(Breach::MessageWithin)),
        (&begun, 0x02, Some(Breach::MessageWithin)),
        (&begun, 0x81, Some(Breach::MessageWithin)),
        (&text_begun, 0x80, None),
        (&text_begun, 0x82, Some(Breach::MessageWithin)),
    ];
    for before in [&none, &begun, &text_begun] {
        for control in [0x9, 0xa] {
            let bytes = [before.clone(), sent(0x80 | control, b"x")].concat();
            assert_eq!(end_of(&bytes), None);
            let bytes = [before.clone(), sent(control, b"x")].concat();
            let breach = End::Breach(Breach::ControlInFragments);
            assert_eq!(end_of(&bytes), Some(breach));
        }
        for unknown in (3..8).chain(11..16) {
            let bytes = [before.clone(), sent(0x80 | unknown, b"x")].concat();
            assert_eq!(end_of(&bytes), Some(End::Breach(Breach::Opcode)));
        }
        for bit in [0x40, 0x20, 0x10] {
            for opcode in [0, 1, 2, 8, 9, 10] {
                let bytes = [before.clone(), sent(0x80 | bit | opcode, b"x")].concat();
                assert_eq!(end_of(&bytes), Some(End::Breach(Breach::ReservedBits)));
            }
        }
    }
    for (before, first, expected) in table {
        let bytes = [before.clone(), sent(first, b"x")].concat();
        assert_eq!(end_of(&bytes), expected.map(End::Breach), "{first:#x}");
    }
}

#[test]
fn each_end_takes_only_what_the_other_may_send() {
    for (role, mask, expected) in [
        (WsRole::Server, None, Some(Breach::Unmasked)),
        (WsRole::Server, Some(MASK), None),
        (WsRole::Server, Some([0; 4]), None),
        (WsRole::Client, None, None),
        (WsRole::Client, Some(MASK), Some(Breach::Masked)),
    ] {
        let mut receiver = Receiver::new(role, 1000, None);
        let came = feed(&mut receiver, &frame(0x82, b"x", mask), &[100]);
        let end = expected.map(|breach| Came::End(End::Breach(breach)));
        assert_eq!(came.get(1), end.as_ref());
    }
}

#[test]
fn a_length_has_one_form() {
    let short = End::Breach(Breach::Length);
    for length in [0, 1, 125] {
        for form in [2, 8] {
            let bytes = frame_in(form, 0x82, &vec![0; length], Some(MASK));
            assert_eq!(end_of(&bytes), Some(short.clone()), "{length} in {form}");
        }
    }
    assert_eq!(end_of(&frame_in(2, 0x82, &[0; 126], Some(MASK))), None);
    let bytes = frame_in(8, 0x82, &[0; 126], Some(MASK));
    assert_eq!(end_of(&bytes), Some(short));
}

#[test]
fn a_claim_of_any_length_holds_no_memory() {
    let claim = |length: u64| {
        let mut bytes = vec![0x82, 0x80 | 0x7f];
        bytes.extend(length.to_be_bytes());
        bytes.extend(MASK);
        bytes
    };
    let mut endless = Receiver::new(WsRole::Server, u64::MAX, None);
    let mut bytes = claim(i64::MAX as u64);
    let measured = allocation_counter::measure(|| {
        assert_eq!(endless.unframe(&mut bytes, |_| panic!()), (0, None));
    });
    assert_eq!(measured.bytes_total, 0);
    let mut payload = MASK;
    assert_eq!(endless.unframe(&mut payload, |_| panic!()), (4, None));
    assert_eq!(payload, [0; 4], "it is handed over as it comes");
    assert_eq!(end_of(&claim(1 << 63)), Some(End::Breach(Breach::Length)));
    assert_eq!(end_of(&claim(u64::MAX)), Some(End::Breach(Breach::Length)));
    let too_long = Breach::TooLong {
        length: i64::MAX as u64,
        max: 1000,
        setting: "max_message",
    };
    assert_eq!(end_of(&claim(i64::MAX as u64)), Some(End::Breach(too_long)));
}

#[test]
fn a_message_has_a_limit_however_it_is_cut() {
    let long = |length| {
        let (max, setting) = (1000, "max_message");
        Some(End::Breach(Breach::TooLong {
            length,
            max,
            setting,
        }))
    };
    assert_eq!(end_of(&sent(0x82, &[0; 1000])), None);
    assert_eq!(end_of(&sent(0x82, &[0; 1001])), long(1001));
    let mut parts = sent(0x02, &[0; 999]);
    parts.extend(sent(0x00, &[]).repeat(1000));
    parts.extend(sent(0x00, &[0]));
    assert_eq!(end_of(&parts), None);
    assert_eq!(end_of(&[parts, sent(0x80, &[0])].concat()), long(1001));
    let wrap = [
        0x80, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4,
    ];
    let wraps = [sent(0x02, &[0; 999]), wrap.to_vec()].concat();
    assert_eq!(end_of(&wraps), long(999 + i64::MAX as u64));
}

#[test]
fn text_is_taken_up_to_its_limit() {
    let text = "grüße".as_bytes();
    let came = feed(&mut receiver(), &sent(0x81, text), &[1]);
    assert_eq!(came[1..], [Came::Text("grüße".to_owned())]);
    // A letter may be cut in two.
    let cut = [sent(0x01, &text[..3]), sent(0x80, &text[3..])].concat();
    let came = feed(&mut receiver(), &cut, &[100]);
    assert_eq!(came[1..], [Came::Text("grüße".to_owned())]);
    assert_eq!(end_of(&sent(0x81, &[b'a'; 100])), None);
    assert!(matches!(
        end_of(&sent(0x81, &[b'a'; 101])),
        Some(End::Breach(Breach::TooLong { max: 100, .. }))
    ));
    assert_eq!(
        end_of(&sent(0x81, b"\xff")),
        Some(End::Breach(Breach::NotUtf8))
    );
    let mut strict = Receiver::new(WsRole::Server, 1000, None);
    let came = feed(&mut strict, &sent(0x81, b"hello")[..6], &[100]);
    assert_eq!(
        came[1],
        Came::End(End::Breach(Breach::Text)),
        "by its header"
    );
}

#[test]
fn a_close_says_what_it_may() {
    let close = |payload: &[u8]| end_of(&sent(0x88, payload));
    let clean = |code, reason| Some(End::Close(WsClose::new(code, reason)));
    assert_eq!(close(b""), clean(1005, ""));
    assert_eq!(close(b"\x03"), Some(End::Breach(Breach::CloseCut)));
    assert_eq!(close(b"\x03\xe8"), clean(1000, ""));
    assert_eq!(
        close("\u{3}\u{0}".as_bytes()),
        Some(End::Breach(Breach::CloseCode(768)))
    );
    assert_eq!(close(b"\x0f\xa0bye"), clean(4000, "bye"));
    assert_eq!(close(b"\x03\xe8\xff"), Some(End::Breach(Breach::NotUtf8)));
    let allowed: Vec<u16> = (0..=u16::MAX)
        .filter(|code| close(&code.to_be_bytes()) == clean(*code, ""))
        .collect();
    let expected: Vec<u16> = (1000..=1003)
        .chain(1007..=1014)
        .chain(3000..=4999)
        .collect();
    assert_eq!(allowed, expected);
    let longest = [b"\x03\xe8".as_slice(), &[b'x'; 123]].concat();
    assert_eq!(close(&longest), clean(1000, &"x".repeat(123)));
    let longer = [longest, vec![b'x']].concat();
    assert_eq!(
        end_of(&frame_in(2, 0x88, &longer, Some(MASK))),
        Some(End::Breach(Breach::ControlTooLong(126)))
    );
}

#[test]
fn after_an_end_nothing_of_the_rest_is_taken() {
    let bytes = [
        sent(0x82, b"before"),
        sent(0x88, b""),
        sent(0x82, b"behind"),
    ]
    .concat();
    let came = feed(&mut receiver(), &bytes, &[bytes.len()]);
    let close = Came::End(End::Close(WsClose::new(1005, "")));
    assert_eq!(came, [Came::Data(b"before".to_vec()), close]);
}

#[test]
fn a_header_is_as_tungstenite_reads_it() {
    for length in [0, 1, 125, 126, 65_535, 65_536, 1 << 30] {
        for mask in [None, Some(Mask::new(MASK))] {
            let opcode = OpCode::from(2);
            let header = Header::new(opcode, length, mask);
            let mut cursor = std::io::Cursor::new(header.as_bytes());
            let (read, claimed) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
            assert_eq!((read.opcode, claimed), (opcode, length as u64));
            assert_eq!((read.mask, read.is_final), (mask.map(Mask::key), true));
            assert_eq!(cursor.position(), header.as_bytes().len() as u64);
        }
    }
}

/// Frames in an order that is allowed.
fn conversation() -> impl Strategy<Value = Vec<u8>> {
    let control = (
        prop_oneof![Just(0x89_u8), Just(0x8a)],
        vec(any::<u8>(), 0..126),
    );
    let data = vec(vec(any::<u8>(), 0..300), 1..4);
    let step = (any::<bool>(), data, vec(control, 0..3), any::<[u8; 4]>());
    vec(step, 0..6).prop_map(|steps| {
        let mut bytes = Vec::new();
        for (is_text, parts, controls, key) in steps {
            let opcode = if is_text { 1 } else { 2 };
            let last = parts.len() - 1;
            for (number, part) in parts.iter().enumerate() {
                let text = vec![b'x'; part.len() / 20];
                let payload = if is_text { &text } else { part };
                let opcode = if number == 0 { opcode } else { 0 };
                let fin = if number == last { 0x80 } else { 0 };
                bytes.extend(frame(fin | opcode, payload, Some(key)));
                for (first, payload) in &controls {
                    bytes.extend(frame(*first, payload, Some(key)));
                }
            }
        }
        bytes
    })
}

proptest! {
    #[test]
    fn where_the_bytes_are_cut_makes_no_difference(
        bytes in conversation(),
        sizes in vec(1_usize..40, 1..20),
        end in prop_oneof![
            Just(vec![]),
            Just(sent(0x88, b"\x03\xe8bye")),
            vec(any::<u8>(), 0..40),
        ],
    ) {
        let bytes = [bytes, end].concat();
        let whole = feed(&mut receiver(), &bytes, &[bytes.len().max(1)]);
        prop_assert_eq!(feed(&mut receiver(), &bytes, &sizes), whole);
    }

    #[test]
    fn masking_twice_is_nothing_and_can_go_on_anywhere(
        bytes in vec(any::<u8>(), 0..100),
        key in any::<[u8; 4]>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mask = Mask::new(key);
        let mut masked = bytes.clone();
        let cut = cut.index(bytes.len() + 1);
        let (first, second) = masked.split_at_mut(cut);
        mask.apply(first);
        mask.turned(cut).apply(second);
        let expected = bytes.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key);
        prop_assert_eq!(&masked, &expected.collect::<Vec<_>>());
        mask.apply(&mut masked);
        prop_assert_eq!(masked, bytes);
    }
}
