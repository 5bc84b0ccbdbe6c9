//! What is no TLS, or stops in the middle of it.

use super::report;
use super::server::Server;
use super::stranger::{REQUEST, Stranger};

#[test]
fn what_is_no_tls_ends_the_connection_and_nothing_else() {
    let server = Server::start_tls();
    let garbage: [&[u8]; 6] = [
        b"",
        REQUEST.as_bytes(),
        &[0; 1000],
        &vec![0xff; 100_000],
        // A record of 16 KiB and one byte more than may be, and a record of a version that is none.
        &[0x16, 3, 3, 0x48, 1, 1, 0, 0, 0],
        &[0x16, 9, 9, 0, 5, 1, 0, 0, 1, 0],
    ];
    for bytes in garbage {
        let mut stranger = Stranger::connect(server.address());
        // It may be closed in the middle.
        let _ = stranger.say(bytes);
        stranger.finish();
        stranger.hear_the_end();
    }
    server.serve_honest_client();
    server.stop();
}

/// A record may claim 16 KiB, a handshake message in it 16 MB; neither comes.
#[test]
fn claims_within_tls_cost_little_memory() {
    let server = Server::start_tls();
    let strangers: Vec<_> = (0..200)
        .map(|_| {
            let mut stranger = Stranger::connect(server.address());
            stranger.must_say(&[0x16, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff]);
            stranger
        })
        .collect();
    server.serve_honest_client();
    drop(strangers);
    let peak = server.stop();
    report(&format!("200 claims within TLS: {peak} KiB"));
    assert!(peak < 8 * 1024, "{peak} KiB");
}
