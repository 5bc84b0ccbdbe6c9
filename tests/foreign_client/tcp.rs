//! A client over plain TCP, with Python's standard library alone.

use std::process::Command;
use std::time::Duration;

use async_std::{future, task};
use sessionwire::{ChannelError, RawChannel, Router};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/wire.md");

#[test]
fn a_client_in_python_talks_to_an_echo() {
    if !has_python() {
        return;
    }
    task::block_on(async {
        let mut listener = sessionwire::listen("tcp://127.0.0.1:0").await.unwrap();
        let endpoint = listener.endpoints()[0].to_string();
        let (host, port) = endpoint
            .strip_prefix("tcp://")
            .and_then(|address| address.rsplit_once(':'))
            .map(|(host, port)| (host.to_owned(), port.to_owned()))
            .unwrap();
        let client = task::spawn_blocking(move || run(&[&host, &port]));
        let serving = async {
            let connection = listener.accept().await.unwrap();
            let router = Router::new().on_raw("echo/1", echo);
            router.serve(&connection).await.unwrap();
            assert!(connection.closed().await.is_clean());
        };
        let (served, ()) =
            futures::join!(future::timeout(Duration::from_mins(1), serving), async {
                client.await;
            });
        served.expect("the client does not go");
    });
}

#[test]
fn the_client_in_python_encodes_as_the_document_says() {
    if has_python() {
        run(&["--vectors", DOCUMENT]);
    }
}

async fn echo(mut channel: RawChannel) -> Result<(), ChannelError> {
    while let Some(message) = channel.recv().await? {
        channel
            .send(message)
            .await
            .map_err(|refused| refused.error)?;
    }
    channel.finish();
    Ok(())
}

fn has_python() -> bool {
    super::available("python3", &["--version"])
}

fn run(arguments: &[&str]) {
    let output = Command::new("python3")
        .arg(super::client("python_client.py"))
        .args(arguments)
        .output()
        .expect("python3 runs");
    let (said, problems) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{said}\n{problems}");
    assert!(said.starts_with("ok: "), "{said}");
}
