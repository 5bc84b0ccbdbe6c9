//! A page in headless Chromium. The test serves it, and forwards its WebSockets to the server of this crate,
//! as a web server in front of one does: the page and the WebSocket have the same origin.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use std::{fs, thread};

use super::served::{Process, Server};
use super::{available, client};

const CHROMIUM: &str = "chromium";

const FILES: [(&str, &str); 3] = [
    ("page.html", "text/html"),
    ("conversations.mjs", "text/javascript"),
    ("wire.mjs", "text/javascript"),
];

/// A browser may take long to start on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

#[test]
fn a_page_in_chromium_talks_to_an_echo() {
    if !available(CHROMIUM, &["--version"]) {
        return;
    }
    let server = Server::start();
    let pages = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = pages.local_addr().unwrap();
    let (sender, result) = mpsc::channel();
    let wire = server.address().to_owned();
    thread::spawn(move || {
        for browser in pages.incoming() {
            let (browser, sender, wire) = (browser.unwrap(), sender.clone(), wire.clone());
            thread::spawn(move || {
                if let Some(result) = answer(&browser, &wire) {
                    sender.send(result).unwrap();
                }
            });
        }
    });
    let profile = std::env::temp_dir().join(format!("sessionwire-page-{}", std::process::id()));
    let browser = Process::start(
        Command::new(CHROMIUM)
            .args(["--headless", "--no-sandbox", "--disable-gpu"])
            .args(["--no-first-run", "--disable-dev-shm-usage"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(format!(
                "http://{address}/page.html?elsewhere={}",
                server.url
            ))
            .stderr(Stdio::null()),
    );
    let result = result.recv_timeout(PATIENCE).expect("the page's result");
    drop(browser);
    fs::remove_dir_all(profile).ok();
    let conversations: Vec<_> = result.lines().collect();
    assert!(conversations.len() >= 7, "{result}");
    for conversation in conversations {
        assert!(conversation.contains(": ok: "), "{result}");
    }
}

/// Serves one request of the browser, as a proxy in front of the server at `wire` does; answers what
/// the page posted.
fn answer(browser: &TcpStream, wire: &str) -> Option<String> {
    let mut reader = BufReader::new(browser);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        // A browser opens connections that it may not use.
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let mut words = head.split(' ');
    let (method, path) = (words.next()?, words.next()?.trim_start_matches('/'));
    let path = path.split('?').next()?;
    if path == "wire" {
        forward(browser, &head, &TcpStream::connect(wire).unwrap());
        return None;
    }
    if method == "POST" {
        let lower = head.to_ascii_lowercase();
        let (_, rest) = lower.split_once("\r\ncontent-length: ")?;
        let mut body = vec![0; rest.split("\r\n").next()?.parse().ok()?];
        reader.read_exact(&mut body).ok()?;
        respond(browser, "204 No Content", "text/plain", &[]);
        return String::from_utf8(body).ok();
    }
    match FILES.iter().find(|(file, _)| *file == path) {
        Some((file, kind)) => respond(browser, "200 OK", kind, &fs::read(client(file)).unwrap()),
        None => respond(browser, "404 Not Found", "text/plain", &[]),
    }
    None
}

/// Carries both directions until each has ended.
fn forward(browser: &TcpStream, head: &str, mut server: &TcpStream) {
    let carry = |mut from: &TcpStream, mut to: &TcpStream| {
        // However it ends, the other side is to see an end.
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    };
    server.write_all(head.as_bytes()).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| carry(browser, server));
        carry(server, browser);
    });
}

fn respond(mut browser: &TcpStream, status: &str, kind: &str, body: &[u8]) {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n"
    );
    // A browser that has gone will not miss it.
    let _ = browser.write_all(&[head.as_bytes(), body].concat());
}
