//! Runs the examples as their heads say, both ends as processes of their own.
#![cfg(all(feature = "async-std", feature = "websocket"))]
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

/// How long a test waits before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn echo_says_everything_back_over_every_transport() {
    let file = std::env::temp_dir().join(format!("sessionwire-echo-{}", std::process::id()));
    let unix = format!("unix://{}", file.display());
    let endpoints = ["tcp://127.0.0.1:0", "ws://127.0.0.1:0/wire", &unix];
    for endpoint in endpoints.iter().take(if cfg!(unix) { 3 } else { 2 }) {
        let (_server, endpoint) = serve("echo", &["serve", endpoint]);
        assert_eq!(
            run("echo", &["say", &endpoint, "hello", "there"]),
            "hello\nthere\n",
            "over {endpoint}"
        );
    }
    std::fs::remove_file(file).ok();
}

#[test]
fn a_stream_of_another_crate_reaches_the_same_server() {
    let (_server, endpoint) = serve("echo", &["serve", "ws://127.0.0.1:0/wire"]);
    assert_eq!(
        run("bring_your_own_stream", &[&endpoint, "hello"]),
        "hello\n"
    );
}

#[test]
fn one_port_speaks_both_tcp_and_websocket() {
    let (_server, address) = serve("one_port", &["127.0.0.1:0"]);
    for endpoint in [format!("tcp://{address}"), format!("ws://{address}/wire")] {
        assert_eq!(
            run("echo", &["say", &endpoint, "hello", "there"]),
            "hello\nthere\n",
            "over {endpoint}"
        );
    }
}

#[cfg(feature = "tokio")]
#[test]
fn servers_of_axum_and_hyper_speak_http_and_sessionwire_on_one_port() {
    for example in ["axum_server", "hyper_server"] {
        let (_server, address) = serve(example, &["127.0.0.1:0"]);
        let health = ask(&address, "/health", "");
        assert!(health.starts_with("HTTP/1.1 200 "), "{example}: {health}");
        assert!(health.ends_with("\r\n\r\nwell\n"), "{example}: {health}");
        let endpoint = format!("ws://{address}/wire");
        assert_eq!(
            run("echo", &["say", &endpoint, "hello", "there"]),
            "hello\nthere\n",
            "{example}"
        );
        let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        for (origin, status) in [(&*address, "101"), ("evil.example", "403")] {
            let page = format!("{upgrade}Origin: http://{origin}\r\n");
            let answer = ask(&address, "/wire", &page);
            let expected = format!("HTTP/1.1 {status} ");
            assert!(answer.starts_with(&expected), "{example}: {answer}");
        }
    }
}

#[test]
fn two_protocols_share_a_connection() {
    let (_server, endpoint) = serve("many_protocols", &["serve", "tcp://127.0.0.1:0"]);
    assert_eq!(
        run("many_protocols", &["use", &endpoint]),
        "2 + 3 = Some(5)\n1 + 2 + ... + 100000 = 5000050000\n"
    );
}

#[test]
fn a_follower_survives_rollbacks_and_waiting_over_every_transport() {
    let expected: String = (1..=7)
        .map(|height| format!("forward to {height}\n"))
        .chain(["back to 4\n".to_owned()])
        .chain((5..=15).map(|height| format!("forward to {height}\n")))
        .chain(["back to 12\n".to_owned()])
        .chain((13..=20).map(|height| format!("forward to {height}\n")))
        .chain(["followed to 20\n".to_owned()])
        .collect();
    let file = std::env::temp_dir().join(format!("sessionwire-blocks-{}", std::process::id()));
    let unix = format!("unix://{}", file.display());
    let endpoints = ["tcp://127.0.0.1:0", "ws://127.0.0.1:0/sync", &unix];
    for endpoint in endpoints.iter().take(if cfg!(unix) { 3 } else { 2 }) {
        let (_server, endpoint) = serve("block_sync", &["serve", endpoint]);
        let followed = run("block_sync", &["follow", &endpoint]);
        assert_eq!(followed, expected, "over {endpoint}");
    }
    std::fs::remove_file(file).ok();
}

#[cfg(feature = "tls")]
#[test]
fn a_follower_trusts_one_certificate_and_no_other() {
    for endpoint in ["wss://127.0.0.1:0/sync", "tls://127.0.0.1:0"] {
        let (mut server, endpoint) = serve("block_sync", &["serve", endpoint]);
        let line = server.line();
        let fingerprint = line.strip_prefix("certificate ").unwrap();
        let followed = run("block_sync", &["follow", &endpoint, fingerprint]);
        assert!(followed.ends_with("followed to 20\n"), "{followed}");

        let other = "00".repeat(32);
        let refused = command("block_sync", &["follow", &endpoint, &other]).output();
        assert!(!refused.unwrap().status.success(), "over {endpoint}");
    }
}

#[test]
fn a_follower_survives_a_server_that_stalls() {
    let (_server, endpoint) = serve("block_sync", &["stall", "tcp://127.0.0.1:0"]);
    let followed = run("block_sync", &["follow", &endpoint]);
    let again = "nothing moved in state `Next` within 2s: again\n";
    let there = "forward to 12\n".to_owned() + again;
    assert!(followed.contains(&there), "{followed}");
    assert!(followed.ends_with("followed to 20\n"), "{followed}");
}

#[test]
fn two_nodes_are_client_and_server_of_each_other() {
    let (_alice, endpoint) = serve("mutual", &["listen", "tcp://127.0.0.1:0", "alice"]);
    let mut heard: Vec<String> = run("mutual", &["join", &endpoint, "bob"])
        .lines()
        .map(str::to_owned)
        .collect();
    heard.sort();
    let expected = [
        "bob has answered alice",
        "bob hears 1 from alice",
        "bob hears 2 from alice",
        "bob hears 3 from alice",
        "bob meets alice",
    ];
    assert_eq!(heard, expected);
}

#[test]
fn a_tunnel_carries_both_directions_and_their_ends() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = target.local_addr().unwrap().to_string();
    let shouting = thread::spawn(move || {
        let mut text = String::new();
        let (mut socket, _) = target.accept().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.read_to_string(&mut text).unwrap();
        socket.write_all(text.to_uppercase().as_bytes()).unwrap();
    });
    let (_exit, endpoint) = serve("tunnel", &["exit", "ws://127.0.0.1:0/wire", &address]);
    let (_entrance, local) = serve("tunnel", &["enter", "127.0.0.1:0", &endpoint]);
    let mut socket = TcpStream::connect(local).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(b"through the tunnel").unwrap();
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "THROUGH THE TUNNEL");
    shouting.join().unwrap();
}

#[cfg(feature = "tokio")]
#[test]
fn tokio_and_async_std_understand_each_other() {
    let (_server, endpoint) = serve("tokio_echo", &["serve", "ws://127.0.0.1:0/wire"]);
    assert_eq!(run("echo", &["say", &endpoint, "hello"]), "hello\n");
    assert_eq!(run("tokio_echo", &["say", &endpoint, "hello"]), "hello\n");
}

#[test]
fn a_ticker_survives_the_kill_of_its_server() {
    for endpoint in ["tcp://127.0.0.1:0", "ws://127.0.0.1:0/prices"] {
        let (server, endpoint) = serve("ticker", &["serve", endpoint]);
        let mut watch = start("ticker", &["watch", &endpoint]);
        let mut wait_for = |beginning: &str| {
            while !watch.line().starts_with(beginning) {}
        };
        wait_for("bread 3.");
        wait_for("coffee 14.");
        drop(server);
        wait_for("connection lost");
        let (_server, _) = serve("ticker", &["serve", &endpoint]);
        wait_for("connected, for the 2. time");
        wait_for("bread missed: nobody knows how many (Restarted)");
        wait_for("bread 3.");
    }
}

/// An example that runs until the test is over.
struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Running {
    /// The next line that it prints.
    fn line(&mut self) -> String {
        let mut line = String::new();
        let count = self.output.read_line(&mut line).unwrap();
        assert_ne!(count, 0, "it prints no more");
        line.trim().to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Starts an example, answers where it says that it listens.
fn serve(example: &str, arguments: &[&str]) -> (Running, String) {
    let mut server = start(example, arguments);
    let line = server.line();
    let endpoint = line.strip_prefix("listening on ");
    (
        server,
        endpoint.expect("it says where it listens").to_owned(),
    )
}

fn start(example: &str, arguments: &[&str]) -> Running {
    let child = command(example, arguments).stdout(Stdio::piped()).spawn();
    let mut child = child.expect("the example starts");
    let output = child.stdout.take().expect("its output is piped");
    let output = BufReader::new(output);
    Running { child, output }
}

/// The answer to an HTTP request, headers and body.
#[cfg(feature = "tokio")]
fn ask(address: &str, path: &str, headers: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        socket,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n"
    )
    .unwrap();
    let (mut answer, mut reader) = (String::new(), BufReader::new(socket));
    while !answer.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut answer).unwrap(), 0, "{answer}");
    }
    let length = answer.to_ascii_lowercase();
    let length = length
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).unwrap();
    answer + &String::from_utf8(body).unwrap()
}

/// Runs an example to its end, answers what it prints.
fn run(example: &str, arguments: &[&str]) -> String {
    let output = command(example, arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{example}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Cargo puts examples beside the folder of the test binaries, but builds them only along with all
/// tests.
fn command(example: &str, arguments: &[&str]) -> Command {
    let changed = |file: &Path| {
        file.metadata()
            .and_then(|metadata| metadata.modified())
            .ok()
    };
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().nth(2).unwrap().join("examples");
    let program = folder.join(format!("{example}{}", std::env::consts::EXE_SUFFIX));
    let source = Path::new("examples").join(format!("{example}.rs"));
    assert!(
        changed(&program) >= changed(&source),
        "run `cargo build --examples` first, with the same features and profile"
    );
    let mut command = Command::new(program);
    command.args(arguments);
    command
}
