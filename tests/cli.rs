//! The command-line tool as its users run it.
#![cfg(all(feature = "cli", unix))]
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

#[test]
fn serve_answers_pings_on_every_endpoint() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("pings.sock");
    let unix = format!("unix://{}", socket.display());
    let server = Server::start(&["tcp://127.0.0.1:0", "ws://127.0.0.1:0/wire", &unix]);
    assert_eq!(server.endpoints.len(), 3);
    for endpoint in &server.endpoints {
        assert!(!endpoint.contains(":0"), "{endpoint} has its real port");
        let output = run(&["ping", endpoint, "--count", "3", "--interval", "0"]);
        let text = succeeded(&output);
        assert!(
            text.starts_with(&format!("PING {endpoint}: 64 bytes\n")),
            "{text}"
        );
        assert_eq!(text.matches("sequence=").count(), 3, "{text}");
        assert!(text.contains("3 sent, 3 received, 0 lost (0%)"), "{text}");
        assert!(text.contains("min/avg/max"), "{text}");
    }
    assert!(server.stop("TERM").success());
    assert!(!socket.exists(), "the socket's file is removed");
}

#[test]
fn a_self_signed_server_is_pinned() {
    let options = [
        "tls://127.0.0.1:0",
        "wss://127.0.0.1:0/wire",
        "--self-signed",
    ];
    let server = Server::start(&options);
    let fingerprint = server.fingerprint.as_deref().unwrap();
    assert_eq!(fingerprint.len(), 64, "{fingerprint}");
    let pinned = ["--pin", fingerprint];
    for endpoint in &server.endpoints {
        let ping = ["ping", endpoint, "--count", "2", "--interval", "0"];
        let text = succeeded(&run(&[&ping[..], &pinned].concat()));
        assert!(text.contains("2 sent, 2 received, 0 lost (0%)"), "{text}");
        let bench = ["bench", "--connect", endpoint, "--size", "64"];
        let few = ["--channels", "1", "--seconds", "0.02"];
        succeeded(&run(&[&bench[..], &few, &pinned].concat()));
        let wrong = fingerprint.replace(|_| true, "0");
        let output = run(&["ping", endpoint, "--count", "1", "--pin", &wrong]);
        assert_eq!(output.status.code(), Some(1));
        let text = stderr(&output);
        assert!(
            text.contains(&format!("fingerprint is {fingerprint}")),
            "{text}"
        );
        assert!(
            text.contains("hint: was `sessionwire serve --self-signed`"),
            "{text}"
        );
    }
    assert!(server.stop("TERM").success());
}

#[test]
fn certificates_of_an_authority_work_both_ways() {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let authority = rcgen::CertifiedIssuer::self_signed(params, key).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let issue = |name: &str, file: &str| {
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        let files = [
            folder.path().join(format!("{file}.pem")),
            folder.path().join(format!("{file}.key")),
        ];
        fs::write(&files[0], certificate.pem()).unwrap();
        fs::write(&files[1], key.serialize_pem()).unwrap();
        files.map(|file| file.to_str().unwrap().to_owned())
    };
    let ca = folder.path().join("authority.pem");
    fs::write(&ca, authority.pem()).unwrap();
    let ca = ca.to_str().unwrap();
    let [certificate, key] = issue("localhost", "server");
    let options = ["--cert", &certificate, "--key", &key, "--client-ca", ca];
    let server = Server::start(&[&["wss://localhost:0/wire"], &options[..]].concat());
    let ping = ["ping", &server.endpoints[0], "--count", "1", "--ca", ca];
    let output = run(&ping);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains("(CertificateRequired)"), "{text}");
    assert!(text.contains("hint: use --cert and --key"), "{text}");
    let [certificate, key] = issue("ada", "client");
    let identity = ["--cert", &certificate, "--key", &key];
    let text = succeeded(&run(&[&ping[..], &identity].concat()));
    assert!(text.contains("1 sent, 1 received"), "{text}");
    assert!(server.stop("TERM").success());
}

#[test]
fn a_proxy_is_dialled_through() {
    let server = Server::start(&["ws://127.0.0.1:0/wire"]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = listener.local_addr().unwrap();
    let asked = thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        tunnel(&client)
    });
    let ping = ["ping", &server.endpoints[0], "--count", "1", "--proxy"];
    let text = succeeded(&run(
        &[&ping[..], &[&format!("http://ada:secret@{proxy}")]].concat()
    ));
    assert!(text.contains("1 sent, 1 received"), "{text}");
    let place = server.endpoints[0]
        .replace("ws://", "")
        .replace("/wire", "");
    let asked = asked.join().unwrap();
    assert!(
        asked.starts_with(&format!("CONNECT {place} HTTP/1.1")),
        "{asked}"
    );
    assert!(asked.contains("Basic YWRhOnNlY3JldA=="), "{asked}");
    // Nobody listens there any more.
    for (url, hint) in [
        (format!("http://{proxy}"), "hint: check --proxy"),
        ("socks5://127.0.0.1:1080".to_owned(), "hint: check --proxy"),
    ] {
        let output = run(&[&ping[..], &[&url]].concat());
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(hint), "{}", stderr(&output));
    }
    assert!(server.stop("TERM").success());
}

/// What an HTTP proxy does. Answers what it was asked.
fn tunnel(client: &TcpStream) -> String {
    let mut reader = BufReader::new(client);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).unwrap(), 0, "{head}");
    }
    let place = head.split(' ').nth(1).unwrap();
    let server = TcpStream::connect(place).unwrap();
    let (mut from, mut to) = (client, client);
    to.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            io::copy(&mut &server, &mut to).ok();
            client.shutdown(Shutdown::Write).ok();
        });
        io::copy(&mut from, &mut &server).ok();
        server.shutdown(Shutdown::Write).ok();
    });
    head
}

#[test]
fn a_server_without_a_certificate_is_hinted_at() {
    for (arguments, hint) in [
        (
            &["serve", "tls://127.0.0.1:0"][..],
            "hint: use --cert and --key, or --self-signed",
        ),
        (
            &["serve", "tcp://127.0.0.1:0", "--client-ca", "x.pem"],
            "hint: use --cert and --key, or --self-signed",
        ),
        (
            &[
                "serve",
                "tls://127.0.0.1:0",
                "--cert",
                "/nowhere.pem",
                "--key",
                "/nowhere.key",
            ],
            "cannot read /nowhere.pem",
        ),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1));
        let text = stderr(&output);
        assert!(text.contains(hint), "{text}");
    }
}

#[test]
fn a_remote_server_is_measured() {
    let server = Server::start(&["ws://127.0.0.1:0/wire"]);
    let endpoint = server.endpoints.first().unwrap();
    let arguments = [
        "--size",
        "64,4K",
        "--channels",
        "1,3",
        "--seconds",
        "0.1",
        "--json",
        "-",
    ];
    let output = run(&[&["bench", "--connect", endpoint], &arguments[..]].concat());
    let rows = rows(&succeeded(&output));
    // For each size a round trip, and a bulk row for each number of channels.
    assert_eq!(rows.len(), 6);
    for row in &rows {
        check_row(row);
        assert_eq!(row["transport"], "ws");
    }
    assert!(server.stop("INT").success());
}

#[test]
fn local_transports_are_compared_with_raw_tcp() {
    let folder = tempfile::tempdir().unwrap();
    let (json, chart) = (
        folder.path().join("rows.json"),
        folder.path().join("chart.svg"),
    );
    let output = run(&[
        "bench",
        "--size",
        "64,65536",
        "--channels",
        "1,20",
        "--seconds",
        "0.02",
        "--json",
        json.to_str().unwrap(),
        "--chart",
        chart.to_str().unwrap(),
    ]);
    let table = succeeded(&output);
    for word in [
        "raw-tcp", "memory", "tcp", "unix", "ws", "tls", "wss", "64 KiB", "MB/s", "p99", "core",
    ] {
        assert!(table.contains(word), "{word} is not in {table}");
    }
    assert!(!table.contains('\u{1b}'), "no colours in a pipe");
    assert!(output.stderr.is_empty(), "no progress bar in a pipe");
    let rows = rows(&fs::read_to_string(json).unwrap());
    assert_eq!(rows.len(), 7 * 2 * 3);
    rows.iter().for_each(check_row);
    let svg = fs::read_to_string(chart).unwrap();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
}

#[test]
fn the_largest_size_is_measured() {
    let arguments = ["--transport", "memory", "--size", "64M", "--channels", "5"];
    let output = run(&[&["bench", "--seconds", "0.001"], &arguments[..]].concat());
    assert!(succeeded(&output).contains("64 MiB"));
}

#[test]
fn a_server_drains_while_someone_pings() {
    for signal in ["TERM", "INT"] {
        let server = Server::start(&["tcp://127.0.0.1:0"]);
        let mut ping = Running::start(&["ping", &server.endpoints[0], "--interval", "0.01"]);
        ping.read_until("sequence=2");
        assert!(server.stop(signal).success());
        let output = ping.finish();
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("hint: "), "{}", stderr(&output));
    }
}

#[test]
fn a_ping_whose_server_is_killed_fails() {
    let server = Server::start(&["tcp://127.0.0.1:0"]);
    let mut ping = Running::start(&["ping", &server.endpoints[0], "--interval", "0.01"]);
    ping.read_until("sequence=2");
    server.stop("KILL");
    let output = ping.finish();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stdout(&output).contains("ping statistics"),
        "{}",
        stdout(&output)
    );
    assert!(
        stderr(&output).starts_with("error: "),
        "{}",
        stderr(&output)
    );
}

#[test]
fn an_interrupted_ping_says_how_it_went() {
    let server = Server::start(&["tcp://127.0.0.1:0"]);
    let mut ping = Running::start(&["ping", &server.endpoints[0]]);
    ping.read_until("sequence=0");
    ping.signal("INT");
    let text = succeeded(&ping.finish());
    assert!(text.contains("1 sent, 1 received, 0 lost (0%)"), "{text}");
}

#[test]
fn answers_that_never_come_are_lost() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", silent.local_addr().unwrap());
    let arguments = ["--count", "2", "--interval", "0", "--timeout", "50ms"];
    let output = run(&[&["ping", &endpoint], &arguments[..]].concat());
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    assert!(text.contains("2 sent, 0 received, 2 lost (100%)"), "{text}");
}

#[test]
fn a_server_that_is_not_there_is_hinted_at() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let endpoint = format!("tcp://127.0.0.1:{port}");
    for arguments in [
        vec!["ping", &endpoint],
        vec!["bench", "--connect", &endpoint],
    ] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(1));
        let text = stderr(&output);
        assert!(text.starts_with("error: "), "{text}");
        assert!(
            text.contains("hint: is `sessionwire serve URL` running there?"),
            "{text}"
        );
    }
}

#[test]
fn a_port_in_use_is_hinted_at() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", taken.local_addr().unwrap());
    let output = run(&["serve", "tcp://127.0.0.1:0", &endpoint]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stdout(&output),
        "",
        "it listens on all endpoints or on none"
    );
    assert!(
        stderr(&output).contains("hint: choose another port"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn bad_arguments_exit_with_2() {
    let bad: [&[&str]; 15] = [
        &[],
        &["serve"],
        &["serve", "localhost:9000"],
        &["ping", "http://localhost"],
        &["ping", "memory://here"],
        &["ping", "tls://localhost:1", "--pin", "abc"],
        &["ping", "tls://localhost:1", "--cert", "without-key.pem"],
        &["ping", "ws://localhost:1", "--header", "no colon"],
        &[
            "serve",
            "tls://localhost:1",
            "--self-signed",
            "--cert",
            "a",
            "--key",
            "b",
        ],
        &["ping", "tcp://127.0.0.1:9000", "--count", "0"],
        &["bench", "--size", "65M"],
        &["bench", "--size", "0"],
        &["bench", "--channels", "100000"],
        &["bench", "--transport", "pigeon"],
        &[
            "bench",
            "--connect",
            "tcp://127.0.0.1:9000",
            "--transport",
            "tcp",
        ],
    ];
    for arguments in bad {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!stderr(&output).is_empty(), "{arguments:?}");
    }
}

#[test]
fn help_ends_with_examples() {
    for command in ["bench", "serve", "ping"] {
        let text = succeeded(&run(&[command, "--help"]));
        assert!(text.contains("Examples:\n  sessionwire "), "{text}");
    }
}

#[test]
fn a_closed_pipe_is_no_panic() {
    let server = Server::start(&["tcp://127.0.0.1:0"]);
    let mut ping = Running::start(&["ping", &server.endpoints[0], "--interval", "0"]);
    ping.read_until("sequence=0");
    drop(ping.lines.take());
    let output = ping.finish();
    assert!(output.status.success());
    assert_eq!(stderr(&output), "");
}

/// A hang fails the test rather than stopping it.
const PATIENCE: Duration = Duration::from_mins(2);

struct Running {
    child: Option<Child>,
    lines: Option<BufReader<ChildStdout>>,
    read: String,
}

struct Server {
    running: Running,
    fingerprint: Option<String>,
    endpoints: Vec<String>,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let mut running = Running::start(&[&["serve"], arguments].concat());
        let fingerprint = arguments.contains(&"--self-signed").then(|| {
            let line = running.read_line();
            let fingerprint = line.strip_prefix("certificate sha256 ");
            fingerprint.expect("a fingerprint").trim_end().to_owned()
        });
        let endpoints = arguments.iter().filter(|argument| argument.contains("://"));
        let endpoints = endpoints.map(|_| {
            let line = running.read_line();
            let endpoint = line
                .strip_prefix("listening on ")
                .expect("a listening line");
            endpoint.trim_end().to_owned()
        });
        let endpoints = endpoints.collect();
        Self {
            running,
            fingerprint,
            endpoints,
        }
    }

    fn stop(self, signal: &str) -> std::process::ExitStatus {
        self.running.signal(signal);
        self.running.finish().status
    }
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sessionwire"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = child.stdout.take().map(BufReader::new);
        Self {
            child: Some(child),
            lines,
            read: String::new(),
        }
    }

    fn read_line(&mut self) -> String {
        let mut line = String::new();
        let lines = self.lines.as_mut().expect("the output is open");
        lines.read_line(&mut line).unwrap();
        self.read.push_str(&line);
        line
    }

    fn read_until(&mut self, part: &str) {
        loop {
            let line = self.read_line();
            assert!(!line.is_empty(), "the output ended before {part:?}");
            if line.contains(part) {
                return;
            }
        }
    }

    fn signal(&self, signal: &str) {
        let id = self.child.as_ref().expect("it runs").id().to_string();
        let status = Command::new("kill")
            .args([&format!("-{signal}"), &id])
            .status();
        assert!(status.unwrap().success());
    }

    /// Waits for its end, answers all output.
    fn finish(mut self) -> Output {
        let child = self.child.take().expect("it runs");
        let id = child.id().to_string();
        let (lines, mut stdout) = (self.lines.take(), std::mem::take(&mut self.read));
        let (sender, ended) = mpsc::channel();
        thread::spawn(move || {
            if let Some(lines) = lines {
                for line in lines.lines() {
                    stdout.push_str(&line.unwrap());
                    stdout.push('\n');
                }
            }
            let mut output = child.wait_with_output().unwrap();
            output.stdout = stdout.into_bytes();
            sender.send(output).unwrap();
        });
        if let Ok(output) = ended.recv_timeout(PATIENCE) {
            return output;
        }
        let _ = Command::new("kill").args(["-KILL", &id]).status();
        panic!("it did not end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn run(arguments: &[&str]) -> Output {
    Running::start(arguments).finish()
}

fn succeeded(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{:?} {}",
        output.status,
        stderr(output)
    );
    stdout(output)
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn rows(json: &str) -> Vec<Value> {
    let value: Value = serde_json::from_str(json).unwrap();
    value.as_array().expect("an array").clone()
}

fn check_row(row: &Value) {
    for key in ["size", "channels", "messages"] {
        assert!(
            row[key].as_u64().is_some_and(|number| number > 0),
            "{key} of {row}"
        );
    }
    for key in ["seconds", "mb_per_s", "messages_per_s"] {
        assert!(
            row[key].as_f64().is_some_and(|number| number > 0.0),
            "{key} of {row}"
        );
    }
    match row["kind"].as_str() {
        Some("bulk") => assert!(row["p50_us"].is_null() && row["p99_us"].is_null(), "{row}"),
        Some("rtt") => assert!(row["p50_us"].as_f64() <= row["p99_us"].as_f64(), "{row}"),
        _ => panic!("the kind of {row}"),
    }
    assert_eq!(row.as_object().map(serde_json::Map::len), Some(10), "{row}");
}
