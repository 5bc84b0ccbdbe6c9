//! Python's `websockets` and Node's `ws`, a test for each thing that they try.

use std::process::Command;

use super::served::{Server, converse};
use super::{available, client, installed};

macro_rules! conversations {
    ($language:ident { $($(#[$ignored:meta])? $name:ident = $case:literal,)+ }) => {
        mod $language {
            $(
                #[test]
                $(#[$ignored])?
                fn $name() {
                    super::$language($case);
                }
            )+
        }
    };
}

conversations!(python {
    echoes_two_megabytes = "whole_conversation",
    echoes_two_megabytes_in_fragments = "fragmented_conversation",
    sends_single_bytes_empty_messages_fragments_and_pings = "manners",
    splits_the_stream_at_every_byte = "split_everywhere",
    offers_compression_or_does_not = "compression",
    closes_with_a_code = "close_by_client",
    is_told_by_a_code_what_was_wrong = "close_by_server",
    #[ignore = "the server's Close is mostly lost to the reset of a socket with unread data"]
    is_told_that_a_message_is_too_large = "too_large_message",
    hears_a_goodbye_of_a_server_that_stops = "close_on_signal",
});

conversations!(node {
    echoes_messages_of_every_size = "wholeConversation",
    sends_single_bytes_and_empty_messages = "manners",
    sends_fragments_and_pings = "fragments",
    splits_the_stream_at_every_byte = "splitEverywhere",
    offers_compression_or_does_not = "compression",
    closes_with_a_code_and_without = "closeByClient",
    is_told_by_a_code_what_was_wrong = "closeByServer",
    #[ignore = "the server's Close is mostly lost to the reset of a socket with unread data"]
    is_told_that_a_message_is_too_large = "tooLargeMessage",
    hears_a_goodbye_of_a_server_that_stops = "closeOnSignal",
});

fn python(case: &str) {
    let python = installed("python/bin/python");
    if available(&python, &["-c", "import websockets"]) {
        converse_with_server(
            Command::new(python).arg(client("websocket_client.py")),
            case,
        );
    }
}

fn node(case: &str) {
    let libraries = installed("node/node_modules");
    if libraries.join("ws").exists() && available("node", &["--version"]) {
        let mut node = Command::new("node");
        node.env("NODE_PATH", libraries)
            .arg(client("node_client.mjs"));
        converse_with_server(&mut node, case);
    }
}

fn converse_with_server(client: &mut Command, case: &str) {
    let server = Server::start();
    converse(client.args([&server.url, case]), || server.terminate());
}
