//! Holds the source to what ARCHITECTURE.md says of it.
//!
//! It reads text: code without comments, literals and inline tests. What it cannot see is a name
//! that a macro makes.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::fs;
use std::path::{Path, PathBuf};

/// The layers, lowest first; those of one group know nothing of each other.
const LAYERS: [&[&str]; 7] = [
    &["runtime"],
    &["transport"],
    &["codec"],
    &["mux"],
    &["session"],
    &["rpc"],
    &["node"],
];

/// Told what happened and what time it is, these never ask.
const SANS_IO: [&str; 22] = [
    "codec/",
    "mux/frame",
    "mux/input.rs",
    "mux/machine/",
    "node/book/machine/",
    "node/book/snapshot.rs",
    "node/handshake/",
    "node/inventory/",
    "node/outbox/",
    "node/registry/",
    "rpc/calls/machine/",
    "rpc/calls/message.rs",
    "rpc/calls/window/",
    "rpc/link/backoff.rs",
    "rpc/topics/allowance.rs",
    "rpc/topics/backplane/redis/following.rs",
    "rpc/topics/backplane/redis/queue.rs",
    "rpc/topics/machine/",
    "rpc/topics/ring.rs",
    "rpc/topics/wire.rs",
    "transport/websocket/frame/",
    "transport/websocket/output.rs",
];

const NOT_IN_SANS_IO: [&str; 8] = [
    "async fn",
    ".await",
    "Waker",
    "Context<",
    "AsyncRead",
    "Instant::now",
    "Mutex",
    "std::net",
];

const LONGEST_ARCHITECTURE: usize = 180;

#[test]
fn imports_only_go_down() {
    let mut faults = Vec::new();
    for file in sources() {
        let Some(own) = rank(file.folder()) else {
            continue;
        };
        for (line, name) in imports(&file) {
            // Helpers of exported macros lie at the root, whatever layer they are of.
            let allowed = name == file.folder()
                || name.starts_with("__")
                || rank(&name).is_some_and(|below| below < own)
                    && !(file.folder() == "codec" && name == "transport");
            if !allowed {
                faults.push(format!("{}:{line} imports crate::{name}", file.path));
            }
        }
    }
    assert_eq!(faults, [""; 0], "a layer knows nothing of those above it");
}

#[test]
fn sans_io_modules_do_no_io() {
    let mut faults = Vec::new();
    let sources = sources();
    let sans_io = |file: &&Source| SANS_IO.iter().any(|start| file.path.starts_with(start));
    assert!(sources.iter().filter(sans_io).count() >= SANS_IO.len());
    for file in sources.iter().filter(sans_io) {
        for (number, line) in (1..).zip(file.code.lines()) {
            for word in NOT_IN_SANS_IO {
                // Buffers with unread messages in them come back from other threads.
                let spares = word == "Mutex" && file.path == "mux/input.rs";
                if line.contains(word) && !spares {
                    faults.push(format!("{}:{number} says {word}", file.path));
                }
            }
        }
    }
    assert_eq!(faults, [""; 0], "a machine is told what happened");
}

/// Who prints an error with its sources would read everything twice.
#[test]
fn errors_say_their_causes_and_do_not_have_them_as_sources_too() {
    let mut faults = Vec::new();
    for file in sources() {
        let lines: Vec<&str> = file.code.lines().map(str::trim).collect();
        for (number, line) in (1..).zip(&lines) {
            let is_transparent = number > 1 && lines[number - 2] == "#[error(transparent)]";
            let is_source = line.contains("#[source]")
                || line.contains("#[from]") && !is_transparent
                || file.path.ends_with("error.rs") && line.starts_with("source:");
            if is_source {
                faults.push(format!("{}:{number}", file.path));
            }
        }
    }
    assert_eq!(
        faults, [""; 0],
        "a cause is in the text, or is the whole error"
    );
}

#[test]
fn bincode_is_named_in_one_file() {
    let sources = sources();
    // The fuzz targets hold the hand-written frames against it.
    let is_fuzzed = |file: &&Source| file.path == "mux/fuzzing.rs";
    let names = |file: &&Source| !is_fuzzed(file) && file.code.lines().any(names_bincode);
    let files: Vec<&str> = sources
        .iter()
        .filter(names)
        .map(|file| file.path.as_str())
        .collect();
    assert_eq!(files, ["codec/bincode.rs"], "it is to be replaceable");
}

#[test]
fn architecture_is_short_and_describes_every_folder() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let lines = text.lines().count();
    assert!(lines <= LONGEST_ARCHITECTURE, "{lines} lines");
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let described = text.contains(&format!("### `src/{name}/`"));
        assert!(
            described || !entry.path().is_dir(),
            "no section `src/{name}/` in ARCHITECTURE.md"
        );
    }
}

#[test]
fn the_reader_sees_what_a_compiler_sees() {
    let file = Source::new(
        "mux/some/file.rs",
        r#"
        //! crate::comment
        use crate::{codec::{self, inner}, transport::Endpoint, Root};
        const TEXT: &str = "crate::text \" crate::still"; // crate::after
        fn letter() -> (char, &'static u8) { ('"', super::super::super::other()) }
        /* crate::block */ fn full(_: crate::rpc::Call) {}
        #[cfg(test)]
        mod tests { use crate::tests; const CLOSE: char = '}'; fn of() {} }
        #[cfg(test)]
        use crate::for_tests;
        use crate::runtime;
        "#,
    );
    let found: Vec<String> = imports(&file).into_iter().map(|(_, name)| name).collect();
    let expected = ["codec", "transport", "Root", "rpc", "runtime", "super"];
    assert_eq!(found, expected);
    assert_eq!(imports(&file)[0].0, 3);
    assert!(names_bincode("let x = bincode::encode();"));
    assert!(names_bincode("use ::bincode::config;"));
    assert!(names_bincode("use bincode;"));
    assert!(!names_bincode("pub use self::bincode::decode;"));
    assert!(!names_bincode("mod bincode;"));
}

/// A file of `src`, its path from there.
struct Source {
    path: String,
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            code: without_tests(&without_comments(text)),
        }
    }

    /// The folder right below `src`, or the file if it lies there.
    fn folder(&self) -> &str {
        self.path.split('/').next().unwrap_or_default()
    }

    /// How many modules its own is inside of, the crate's root not counted.
    fn depth(&self) -> usize {
        let inner = self.path.trim_end_matches("mod.rs").trim_end_matches('/');
        inner.split('/').count()
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files of `src` but those of tests.
fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && name != "tests" {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") && name != "tests.rs" {
                found.push(read(&path));
            }
        }
    }
    assert!(found.len() > 20, "src was not found");
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

fn read(path: &PathBuf) -> Source {
    let inner = path.strip_prefix(root().join("src")).unwrap();
    let inner = inner.to_str().unwrap().replace('\\', "/");
    Source::new(&inner, &fs::read_to_string(path).unwrap())
}

fn rank(layer: &str) -> Option<usize> {
    LAYERS.iter().position(|group| group.contains(&layer))
}

/// The first names after `crate::`, and `super` for a way up that leaves the layer; with the line.
fn imports(file: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let line_of = |place: usize| file.code[..place].lines().count().max(1);
    for (place, _) in file.code.match_indices("crate::") {
        let rest = &file.code[place + "crate::".len()..];
        for name in first_names(rest) {
            found.push((line_of(place), name));
        }
    }
    let way_out = "super::".repeat(file.depth());
    for (place, _) in file.code.match_indices(&way_out) {
        found.push((line_of(place), "super".to_owned()));
    }
    found
}

/// The names that `path` or `{path, path}` begin with.
fn first_names(rest: &str) -> Vec<String> {
    let Some(group) = rest.strip_prefix('{') else {
        return vec![word(rest)];
    };
    let (mut names, mut depth, mut start) = (Vec::new(), 1, 0);
    for (place, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || depth == 1 && letter == ',' {
            names.push(word(group[start..place].trim()));
            start = place + 1;
        }
        if depth == 0 {
            break;
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn word(text: &str) -> String {
    let is_part = |letter: &char| letter.is_alphanumeric() || *letter == '_';
    text.chars().take_while(is_part).collect()
}

/// Whether a line names the crate, and not the module that wraps it.
fn names_bincode(line: &str) -> bool {
    line.match_indices("bincode").any(|(place, found)| {
        let before = &line[..place];
        let after = &line[place + found.len()..];
        let ours = ["self::", "super::", "codec::"];
        let is_ours = ours.iter().any(|path| before.ends_with(path));
        let imported = before.trim_end().ends_with("use") || before.ends_with("use ::");
        !is_ours && (after.starts_with("::") || imported)
    })
}

/// Blanks comments and what is in quotes, so that lines keep their numbers.
fn without_comments(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if letter == '"' {
            quoted(rest)
        } else if rest.starts_with("'\"'") || rest.starts_with("'{'") || rest.starts_with("'}'") {
            3
        } else {
            code.push(letter);
            rest = &rest[letter.len_utf8()..];
            continue;
        };
        code.extend(rest[..skipped].chars().filter(|letter| *letter == '\n'));
        rest = &rest[skipped..];
    }
    code
}

/// The bytes of the literal that `text` begins with.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (place, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return place + 1,
            _ => {}
        }
    }
    text.len()
}

/// Blanks every item that is for tests alone.
fn without_tests(code: &str) -> String {
    let mark = "#[cfg(test)]";
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(start) = rest.find(mark) {
        kept.push_str(&rest[..start]);
        let item = &rest[start..];
        let end = end_of_item(item);
        kept.extend(item[..end].chars().filter(|letter| *letter == '\n'));
        rest = &item[end..];
    }
    kept.push_str(rest);
    kept
}

/// Where an item ends: at its `;`, or with its braces.
fn end_of_item(item: &str) -> usize {
    let mut depth = 0;
    for (place, letter) in item.char_indices() {
        match letter {
            ';' if depth == 0 => return place + 1,
            '{' => depth += 1,
            '}' if depth == 1 => return place + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    item.len()
}
