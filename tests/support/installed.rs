//! Programs of others that tests run.
#![expect(clippy::print_stderr, reason = "a skipped test says so")]

use std::path::PathBuf;

/// Where a program is. If it is nowhere, the test is skipped and says so; where everything is to be tested,
/// `SESSIONWIRE_CLIENTS=required` makes that a failure.
pub(crate) fn installed(program: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    // Where servers are, which are not for everybody.
    let folders = std::env::split_paths(&folders).chain([PathBuf::from("/usr/sbin")]);
    let found = folders
        .map(|folder| folder.join(program))
        .find(|file| file.exists());
    if found.is_none() {
        let required = std::env::var_os("SESSIONWIRE_CLIENTS").is_some_and(|set| set == "required");
        assert!(!required, "there is no {program}");
        eprintln!("skipped, as there is no {program}; see .ci/install-clients");
    }
    found
}
