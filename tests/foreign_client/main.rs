//! Clients that nobody here wrote the transport of talk to a server of this crate: over plain TCP,
//! and over the WebSocket of a library for Python, of one for Node and of a browser. Their side of the
//! protocol is in `tests/clients`, written from docs/wire.md.
//!
//! A client whose program is not installed is skipped, and its test says so. Where everything is to
//! be tested, `SESSIONWIRE_CLIENTS=required` makes that a failure; `.ci/run` installs them and sets it.
#![cfg(feature = "async-std")]
#![allow(clippy::unwrap_used, reason = "a test fails by it")]
#![expect(clippy::print_stderr, reason = "a skipped test says so")]

#[cfg(all(feature = "cli", unix))]
mod chromium;
#[cfg(all(feature = "cli", unix))]
mod served;
mod tcp;
#[cfg(all(feature = "cli", unix))]
mod websocket;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A file of the clients' sides.
fn client(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(file)
}

/// Where `.ci/install-clients` puts the libraries of the clients.
#[cfg(all(feature = "cli", unix))]
fn installed(file: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    target.join("clients").join(file)
}

/// Whether there is what running this manifest makes; without it there is nothing to test.
#[cfg(all(feature = "cli", unix))]
fn present(files: &[PathBuf], manifest: &str) -> bool {
    let found = files.iter().all(|file| file.exists());
    if !found {
        assert!(
            !is_required(),
            "missing: cargo run --manifest-path {manifest}"
        );
        eprintln!("skipped, as this was not done: cargo run --manifest-path {manifest}");
    }
    found
}

fn is_required() -> bool {
    std::env::var_os("SESSIONWIRE_CLIENTS").is_some_and(|set| set == "required")
}

/// Whether this program with these arguments works; without it there is nothing to test.
fn available(program: impl AsRef<Path>, arguments: &[&str]) -> bool {
    let program = program.as_ref();
    let mut trial = Command::new(program);
    trial.args(arguments).stdin(Stdio::null());
    let found = trial.output().is_ok_and(|output| output.status.success());
    if !found {
        let missing = format!("{} {}", program.display(), arguments.join(" "));
        assert!(!is_required(), "does not work: {missing}");
        eprintln!("skipped, as this does not work: {missing}; see .ci/install-clients");
    }
    found
}
