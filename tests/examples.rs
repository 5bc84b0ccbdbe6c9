//! Runs the examples as their heads say, both ends as processes of their own.
#![cfg(all(feature = "async-std", feature = "websocket"))]
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[cfg(all(
    unix,
    feature = "redis",
    feature = "smol",
    feature = "tls",
    feature = "tokio"
))]
mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long a test waits before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn echo_says_everything_back_over_every_transport() {
    let folder = tempfile::tempdir().unwrap();
    let unix = format!("unix://{}", folder.path().join("echo.sock").display());
    let endpoints = ["tcp://127.0.0.1:0", "ws://127.0.0.1:0/wire", &unix];
    for endpoint in endpoints.iter().take(if cfg!(unix) { 3 } else { 2 }) {
        let (_server, endpoint) = serve("echo", &["serve", endpoint]);
        assert_eq!(
            run("echo", &["say", &endpoint, "hello", "there"]),
            "hello\nthere\n",
            "over {endpoint}"
        );
    }
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

#[cfg(feature = "tokio")]
#[test]
fn the_server_of_axum_serves_the_page_for_browsers_if_it_is_told_where_it_is() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/browser/page");
    for (arguments, status) in [
        (&["127.0.0.1:0", directory][..], "200"),
        (&["127.0.0.1:0"], "404"),
    ] {
        let (_server, address) = serve("axum_server", arguments);
        let page = ask(&address, "/", "");
        assert!(page.starts_with(&format!("HTTP/1.1 {status} ")), "{page}");
        assert_eq!(page.contains("sessionwire in a browser"), status == "200");
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
    let folder = tempfile::tempdir().unwrap();
    let unix = format!("unix://{}", folder.path().join("blocks.sock").display());
    let endpoints = ["tcp://127.0.0.1:0", "ws://127.0.0.1:0/sync", &unix];
    for endpoint in endpoints.iter().take(if cfg!(unix) { 3 } else { 2 }) {
        let (_server, endpoint) = serve("block_sync", &["serve", endpoint]);
        let followed = run("block_sync", &["follow", &endpoint]);
        assert_eq!(followed, expected, "over {endpoint}");
    }
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
fn nodes_that_know_one_address_find_each_other_over_two_transports() {
    let ann = Member::join("ann", &["--listen", "tcp://127.0.0.1:0"]);
    let at = ann.endpoint();
    let bob = Member::join("bob", &["--listen", "ws://127.0.0.1:0", "--peer", &at]);
    let at = bob.endpoint();
    let cyd = Member::join("cyd", &["--listen", "tcp://127.0.0.1:0", "--peer", &at]);
    let at = cyd.endpoint();
    let dan = Member::join("dan", &["--peer", &at, "--picture"]);
    while dan.line() != "4 nodes, 6 connections" {}
    for (speaker, text) in [(&ann, "ann: hello"), (&bob, "bob: hello")] {
        writeln!(&speaker.input, "hello").unwrap();
        for listener in [&ann, &bob, &cyd] {
            if !std::ptr::eq(listener, speaker) {
                assert_eq!(listener.line(), text, "each hears it once");
            }
        }
    }
}

#[test]
fn a_chat_says_once_what_is_wrong_with_a_peer_and_again_when_that_changes() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = format!("tcp://{}", nobody.local_addr().unwrap());
    let mut ann = command("gossip", &["--name", "ann", "--peer", &at]);
    let ann = ann.stdin(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut ann = Process(ann.expect("the example starts"));
    // Somebody is there who says nothing, three times.
    for _ in 0..3 {
        let (mut socket, _) = nobody.accept().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        socket.read_to_end(&mut Vec::new()).unwrap();
    }
    drop(nobody);
    let bob = Member::join("bob", &["--listen", &at]);
    let mut lines = BufReader::new(ann.0.stderr.take().unwrap()).lines();
    let mut said = vec![lines.next().unwrap().unwrap()];
    let answered = format!("the peer at {at} has answered");
    while said.last() != Some(&answered) {
        said.push(lines.next().unwrap().unwrap());
    }
    let no_peer = format!("no peer at {at}: ");
    assert!(said[0].starts_with(&no_peer), "{said:?}");
    let is_change = |two: &[String]| two[0] != two[1];
    assert!(said.windows(2).all(is_change), "three times: {said:?}");
    drop(bob);
    let gone = lines.next().unwrap().unwrap();
    assert!(gone.starts_with(&no_peer), "{gone}");
}

#[test]
fn a_chat_tells_how_it_is_used() {
    let help = command("gossip", &["--help"]).output().unwrap();
    let text = String::from_utf8(help.stdout).unwrap();
    assert!(help.status.success() && help.stderr.is_empty());
    for option in ["--name", "--listen", "--peer", "--picture", "kill"] {
        assert!(text.contains(option), "{text}");
    }
    for wrong in [
        &[][..],
        &["--what"],
        &["--peer"],
        &["--peer", "nowhere"],
        &["--listen", "tcp://"],
    ] {
        let output = command("gossip", wrong).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {text}");
        assert!(output.stdout.is_empty());
        assert!(text.starts_with("gossip: "), "{text}");
        assert!(text.ends_with("try `gossip --help`\n"), "{text}");
    }
}

#[cfg(unix)]
#[test]
fn a_chat_in_the_background_goes_on_without_input_and_ends_with_a_goodbye() {
    for signal in ["-INT", "-TERM"] {
        let mut ann = command(
            "gossip",
            &["--name", "ann", "--listen", "tcp://127.0.0.1:0"],
        );
        let ann = ann.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut ann = Process(ann.expect("the example starts"));
        let mut line = String::new();
        let mut output = BufReader::new(ann.0.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let at = line.trim().strip_prefix("listening on ").unwrap();
        let bob = Member::join("bob", &["--peer", at, "--picture"]);
        while bob.line() != "2 nodes, 1 connections" {}
        let killed = Command::new("kill")
            .args([signal, &ann.0.id().to_string()])
            .status();
        assert!(killed.unwrap().success());
        assert!(ann.0.wait().unwrap().success(), "it ends by itself");
        while bob.line() != "2 nodes, 0 connections" {}
    }
}

#[test]
fn an_example_that_fails_says_why_in_words() {
    let mut examples = vec![
        "block_sync",
        "bring_your_own_stream",
        "echo",
        "many_protocols",
        "mutual",
        "one_port",
        "ticker",
        "tunnel",
    ];
    if cfg!(feature = "tokio") {
        examples.extend(["axum_server", "hyper_server", "tokio_echo"]);
    }
    for example in examples {
        let output = command(example, &[]).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{example}: {text}");
        let usage = format!("usage: {example} ");
        assert!(text.starts_with(&usage), "{example}: {text}");
    }
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

#[cfg(all(
    unix,
    feature = "redis",
    feature = "smol",
    feature = "tls",
    feature = "tokio"
))]
#[test]
fn a_shop_of_two_processes_goes_on_when_one_of_them_ends() {
    let Some(redis) = support::redis::Redis::start() else {
        return;
    };
    let address = redis.url("db=0");
    redis.until_it_listens();
    let serves = ["serve", &address, "ws://127.0.0.1:0/orders"];
    let [(mut first, one), (_second, other)] = [(), ()].map(|()| serve("orders", &serves));
    let mut watch = start("orders", &["watch", &one, &other]);
    assert_eq!(watch.line(), "watching");
    let place = |goods| run("orders", &["place", goods, "2", &one, &other]);
    assert_eq!(place("bread"), "order 1 is placed\n");
    assert_eq!(watch.line(), "order 1: 2 bread");

    let process = first.process.0.id().to_string();
    let interrupted = Command::new("kill").args(["-INT", &process]).status();
    assert!(interrupted.unwrap().success());
    assert_eq!(first.line(), "ended");
    assert!(first.process.0.wait().unwrap().success());
    assert_eq!(place("coffee"), "order 2 is placed\n");
    assert_eq!(watch.line(), "order 2: 2 coffee");
}

/// An example that runs until the test is over.
struct Running {
    output: BufReader<ChildStdout>,
    #[allow(dead_code, reason = "it is killed when it is dropped")]
    process: Process,
}

/// Killed when it is dropped.
struct Process(Child);

impl Running {
    /// The next line that it prints.
    fn line(&mut self) -> String {
        let mut line = String::new();
        let count = self.output.read_line(&mut line).unwrap();
        assert_ne!(count, 0, "it prints no more");
        line.trim().to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// One of those who chat.
struct Member {
    input: ChildStdin,
    lines: mpsc::Receiver<String>,
    _process: Process,
}

impl Member {
    fn join(name: &str, arguments: &[&str]) -> Self {
        let mut command = command("gossip", arguments);
        command.args(["--name", name]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = Process(child.expect("the example starts"));
        let input = process.0.stdin.take().expect("its input is piped");
        let output = process.0.stdout.take().expect("its output is piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let mut lines = BufReader::new(output).lines().map_while(Result::ok);
            while lines.next().is_some_and(|line| sender.send(line).is_ok()) {}
        });
        Self {
            input,
            lines,
            _process: process,
        }
    }

    /// The next line that it prints. Who misses somebody asks again after 35 s.
    fn line(&self) -> String {
        self.lines.recv_timeout(3 * PATIENCE).unwrap()
    }

    fn endpoint(&self) -> String {
        let line = self.line();
        let endpoint = line.strip_prefix("listening on ");
        endpoint.expect("it says where it listens").to_owned()
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
    let mut process = Process(child.expect("the example starts"));
    let output = process.0.stdout.take().expect("its output is piped");
    Running {
        output: BufReader::new(output),
        process,
    }
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
    let folder = Path::new("examples").join(example);
    let files = folder.read_dir().into_iter().flatten().flatten();
    let sources = files.map(|file| file.path());
    let newest = sources.chain([folder.with_extension("rs")]);
    assert!(
        changed(&program) >= newest.filter_map(|file| changed(&file)).max(),
        "run `cargo build --examples` first, with the same features and profile"
    );
    let mut command = Command::new(program);
    command.args(arguments);
    command
}
