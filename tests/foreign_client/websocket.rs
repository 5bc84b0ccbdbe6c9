//! Python's `websockets` and Node's `ws`, a test for each thing that they try.

use std::process::Command;

use async_std::net::TcpListener;
use async_std::task::{block_on, spawn};
use sessionwire::transport::{TransportConfig, WsStream};

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
    #[ignore = "drain resolves before the transport is closed: the process may end before its Close"]
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
    #[ignore = "drain resolves before the transport is closed: the process may end before its Close"]
    hears_a_goodbye_of_a_server_that_stops = "closeOnSignal",
});

#[test]
fn a_server_closes_with_a_code_and_a_reason_of_its_own() {
    let clients = [
        python_client().map(|client| (client, "close_of_application")),
        node_client().map(|client| (client, "closeOfApplication")),
    ];
    for (mut client, case) in clients.into_iter().flatten() {
        let listener = block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("ws://{}/wire", listener.local_addr().unwrap());
        let closing = spawn(async move {
            let (socket, _) = listener.accept().await.unwrap();
            let config = TransportConfig::default();
            let mut stream = WsStream::accept(socket, "/wire", &config).await.unwrap();
            stream.close_with(4001, "größer").await.unwrap();
            stream.peer_close().map(|close| close.code)
        });
        converse(client.args([&url, case]), || {});
        assert_eq!(block_on(closing), Some(4001), "what the client answered");
    }
}

fn python(case: &str) {
    if let Some(mut client) = python_client() {
        converse_with_server(&mut client, case);
    }
}

fn node(case: &str) {
    if let Some(mut client) = node_client() {
        converse_with_server(&mut client, case);
    }
}

fn converse_with_server(client: &mut Command, case: &str) {
    let server = Server::start();
    converse(client.args([&server.url, case]), || server.terminate());
}

fn python_client() -> Option<Command> {
    let python = installed("python/bin/python");
    if !available(&python, &["-c", "import websockets"]) {
        return None;
    }
    let mut command = Command::new(python);
    command.arg(client("websocket_client.py"));
    Some(command)
}

fn node_client() -> Option<Command> {
    let libraries = installed("node/node_modules");
    let found = format!("require({:?})", libraries.join("ws"));
    if !available("node", &["-e", &found]) {
        return None;
    }
    let mut command = Command::new("node");
    command
        .env("NODE_PATH", libraries)
        .arg(client("node_client.mjs"));
    Some(command)
}
