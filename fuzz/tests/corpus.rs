//! Runs every fuzz target over its seeds and corpus, without a fuzzer.

use std::fs;
use std::path::Path;

#[test]
fn decode_value() {
    replay("decode_value", sessionwire_fuzz::decode_value);
}

#[test]
fn decode_frame() {
    replay("decode_frame", sessionwire_fuzz::decode_frame);
}

#[test]
fn connection_bytes() {
    replay("connection_bytes", sessionwire_fuzz::connection_bytes);
}

#[test]
fn websocket_bytes() {
    replay("websocket_bytes", sessionwire_fuzz::websocket_bytes);
}

#[test]
fn channel_messages() {
    replay("channel_messages", sessionwire_fuzz::channel_messages);
}

/// Runs `target` on each file of its folders, and on what is left of it when it is cut short.
fn replay(name: &str, target: fn(&[u8])) {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut replayed = 0;
    for folder in ["seeds", "corpus"] {
        let Ok(entries) = fs::read_dir(package.join(folder).join(name)) else {
            continue;
        };
        for entry in entries {
            let data = fs::read(entry.unwrap().path()).unwrap();
            target(&data);
            for length in 0..data.len().min(512) {
                target(&data[..length]);
            }
            replayed += 1;
        }
    }
    assert!(replayed > 0, "no seeds for {name}");
}
