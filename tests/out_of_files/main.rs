//! Programs that have as many files open as they may: each is a process of its own, as the limit is the
//! process's.
#![cfg(all(
    target_os = "linux",
    feature = "async-std",
    feature = "smol",
    feature = "tls",
    feature = "tokio",
    feature = "websocket"
))]

mod links;
mod nodes;
#[path = "../support/mod.rs"]
mod support;

use std::process::Command;

/// Fewer than that are enough for one that works.
const MOST_FILES: usize = 64;

/// Runs one test of this program in a process that may have few files open.
fn run_with_few_files(test: &str, variables: &[(&str, &str)]) {
    let script = format!("ulimit -n {MOST_FILES}; exec \"$0\" \"$@\"");
    let ended = Command::new("sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", test, "--ignored", "--nocapture"])
        .envs(variables.iter().copied())
        .output();
    let ended = ended.expect("a shell");
    let [said, complained] =
        [ended.stdout, ended.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(ended.status.success(), "{said}\n{complained}");
    assert!(said.contains("1 passed"), "there is no test {test}: {said}");
}
