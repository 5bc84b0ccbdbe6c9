//! The examples in docs/wire.md, for the tests of whatever encodes and decodes.

use std::collections::BTreeSet;
use std::fmt::Write as _;

const DOCUMENT: &str = include_str!("../../docs/wire.md");

/// A line of the document: a name, bytes, and what they mean.
pub(crate) struct Example {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) meaning: &'static str,
}

/// The lines of all blocks of the document of that kind, which have names of their own.
pub(crate) fn examples(kind: &str) -> Vec<Example> {
    let mut examples = Vec::new();
    let mut names = BTreeSet::new();
    let mut lines = DOCUMENT.lines();
    while let Some(line) = lines.next() {
        if line.strip_prefix("```") == Some(kind) {
            let block = lines.by_ref().take_while(|line| *line != "```");
            examples.extend(block.map(example));
        }
    }
    for Example { name, .. } in &examples {
        assert!(names.insert(*name), "{name} is there twice");
    }
    assert!(!examples.is_empty(), "no {kind} in the document");
    examples
}

/// Bytes in the words of the document.
pub(crate) fn hex(bytes: &[u8]) -> String {
    match bytes {
        [] => "-".to_owned(),
        [first, rest @ ..] if rest.len() > 8 && rest.iter().all(|byte| byte == first) => {
            format!("{first:02x}*{}", bytes.len())
        }
        _ => bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        }),
    }
}

/// A text in the words of the document.
pub(crate) fn quoted(text: &str) -> String {
    match text.chars().next() {
        Some(first) if text.len() > 32 && text.chars().all(|other| other == first) => {
            format!("\"{first}\"*{}", text.len() / first.len_utf8())
        }
        _ => format!("\"{text}\""),
    }
}

fn example(line: &'static str) -> Example {
    let (name, rest) = line.split_once(" = ").expect(line);
    let (hex, meaning) = rest.split_once(" : ").expect(line);
    Example {
        name: name.trim(),
        bytes: hex.split_whitespace().flat_map(bytes_of).collect(),
        meaning: meaning.trim(),
    }
}

/// `0a1b` are two bytes, `0a*300` is one byte 300 times, `-` is none.
fn bytes_of(word: &str) -> Vec<u8> {
    let (hex, count) = word.split_once('*').unwrap_or((word, "1"));
    let digits = hex.trim_start_matches('-').as_bytes().chunks(2);
    let bytes: Vec<u8> = digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).expect(word))
        .collect();
    bytes.repeat(count.parse().expect(word))
}
