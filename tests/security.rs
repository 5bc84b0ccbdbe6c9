//! Holds docs/security.md to its word: each test that it names is there.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::fs;
use std::path::Path;

#[test]
fn every_test_that_the_document_names_exists() {
    let mut code = String::new();
    for folder in ["src", "tests"] {
        read(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join(folder),
            &mut code,
        );
    }
    let rows = include_str!("../docs/security.md").lines();
    let rows = rows.filter(|line| line.starts_with("| ") && !line.starts_with("| attack"));
    let mut named = 0;
    for row in rows {
        let cell = row.split(" | ").nth(2).expect("a column of tests");
        // What stands between two marks is every second part.
        for name in cell.split('`').skip(1).step_by(2) {
            let found = [format!("fn {name}("), format!("{name} = \"")];
            assert!(found.iter().any(|form| code.contains(form)), "{name}");
            named += 1;
        }
    }
    assert!(named > 40, "{named} tests are named");
}

/// Adds up the Rust below a folder.
fn read(folder: &Path, code: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(&path, code);
        } else if path.extension().is_some_and(|end| end == "rs") {
            code.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}
