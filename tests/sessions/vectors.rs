//! The examples in docs/wire.md of what sessions put on the wire.

use std::fmt::Write as _;

use bytes::Bytes;
use sessionwire::Config;
use sessionwire::session::{Protocol as _, Table};

use crate::protocols::once::Double;
use crate::protocols::stream::Blocks;
use crate::protocols::{Done, Find, Sync};
use crate::support::KIB;
use crate::support::stage::Stage;

const DOCUMENT: &str = include_str!("../../docs/wire.md");
const TABLES: [&Table; 3] = [Sync::TABLE, Double::TABLE, Blocks::TABLE];

/// The lines of the document's blocks of a kind: name, left side, right side.
fn lines(kind: &str) -> Vec<[&'static str; 3]> {
    let blocks = DOCUMENT.split("```").skip(1).step_by(2);
    let wanted = blocks.filter_map(|block| block.strip_prefix(kind)?.strip_prefix('\n'));
    let split = |line: &'static str| {
        let (name, rest) = line.split_once(" = ").expect("a name");
        let (left, right) = rest.split_once(" : ").expect("a meaning");
        [name, left, right]
    };
    wanted.flat_map(str::lines).map(split).collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all");
        text
    })
}

/// The lines that are hashed, as the document says it, joined by `;` instead of ended by LF.
fn hashed(table: &Table) -> String {
    let mut text = table.version.to_string();
    for row in table.states {
        write!(text, ";{} {}", row.state, row.turn).expect("a string takes all");
        for edge in table.edges.iter().filter(|edge| edge.from == row.state) {
            let (tag, message, to) = (edge.tag, edge.message, edge.to);
            write!(text, ";{tag} {message} {to}").expect("a string takes all");
        }
    }
    text
}

/// FNV-1a, written anew.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(14_695_981_039_346_656_037, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(1_099_511_628_211)
    })
}

#[test]
fn the_fingerprints_are_those_of_the_document() {
    let examples = lines("session-vectors");
    assert_eq!(examples.len(), TABLES.len());
    for ([name, text, opened], table) in examples.into_iter().zip(TABLES) {
        assert_eq!(name, table.name);
        assert_eq!(text, hashed(table), "{name}");
        let bytes = format!("{}\n", text.replace(';', "\n"));
        assert_eq!(table.fingerprint, fnv(bytes.as_bytes()), "{name}");
        assert_eq!(opened, table.wire_name(), "{name}");
        assert_eq!(opened, format!("{name}#{:016x}", table.fingerprint));
    }
}

#[test]
fn the_messages_are_those_of_the_document() {
    let stage = Stage::default();
    let (here, there) = stage.pair(64 * KIB, &Config::default());
    let examples = lines("session-message-vectors");
    let mut sent = Vec::new();
    stage.run(async {
        let session = here.open_session(Sync).await.expect("a session");
        let session = session.send(Find(vec![9, 500])).await.expect("sent");
        let mut raw = there
            .accept()
            .await
            .expect("alive")
            .expect("it")
            .accept_raw();
        sent.push(raw.recv().await.expect("alive").expect("a message"));
        raw.send(Bytes::from_static(&[1])).await.expect("not found");
        let crate::protocols::Asked::NotFound(_, session) = session.recv().await.expect("it")
        else {
            panic!("it is not found");
        };
        session.send(Done).await.expect("sent").close();
        sent.push(raw.recv().await.expect("alive").expect("a message"));
    });
    let bytes: Vec<String> = examples
        .iter()
        .map(|[_, bytes, _]| bytes.replace(' ', ""))
        .collect();
    let sent: Vec<String> = sent.iter().map(|message| hexadecimal(message)).collect();
    assert_eq!(bytes, sent);
}
