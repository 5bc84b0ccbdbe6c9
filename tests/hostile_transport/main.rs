//! Strangers before and within a WebSocket, over real sockets: each attack ends with the right word or
//! is outlasted, costs no more memory than it may, and honest clients are served all the while.
//!
//! docs/security.md has a row for each. The figures there are what these tests print
//! (`cargo test --all-features --test hostile_transport -- --nocapture`).
#![cfg(all(
    feature = "async-std",
    feature = "smol",
    feature = "tls",
    feature = "tokio",
    feature = "websocket"
))]
#![allow(
    clippy::cast_possible_truncation,
    reason = "the numbers of tests are small"
)]

#[path = "../support/mod.rs"]
mod support;

mod frames;
mod handshakes;
mod server;
#[cfg(all(feature = "cli", target_os = "linux"))]
mod shortage;
mod stranger;
mod tls;

use std::fs;

/// Prints a figure for docs/security.md.
#[expect(clippy::print_stdout, reason = "figures are to be seen")]
fn report(figure: &str) {
    println!("{figure}");
}

/// So many connections within this process, or as many as it may have files open for.
fn sockets(wanted: usize) -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let files: Option<usize> = line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
    // Both ends are here, and there are other files.
    wanted.min(files.unwrap_or(1024).saturating_sub(100) / 2)
}
