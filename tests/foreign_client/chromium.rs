//! A page in headless Chromium, which the test serves to it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
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
    thread::spawn(move || {
        for browser in pages.incoming() {
            if let Some(result) = answer(&browser.unwrap()) {
                sender.send(result).unwrap();
            }
        }
    });
    let profile = std::env::temp_dir().join(format!("sessionwire-page-{}", std::process::id()));
    let page = format!("http://{address}/page.html?url={}", server.url);
    let browser = Process::start(
        Command::new(CHROMIUM)
            .args(["--headless", "--no-sandbox", "--disable-gpu"])
            .args(["--no-first-run", "--disable-dev-shm-usage"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(&page)
            .stderr(Stdio::null()),
    );
    let result = result.recv_timeout(PATIENCE).expect("the page's result");
    drop(browser);
    fs::remove_dir_all(profile).ok();
    let conversations: Vec<_> = result.lines().collect();
    assert!(conversations.len() >= 6, "{result}");
    for conversation in conversations {
        assert!(conversation.contains(": ok: "), "{result}");
    }
}

/// Serves one request of the browser; answers what the page posted.
fn answer(browser: &TcpStream) -> Option<String> {
    let mut reader = BufReader::new(browser);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        // A browser opens connections that it may not use.
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_ascii_lowercase());
    }
    let mut words = head.first()?.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let path = target.split('?').next()?.trim_start_matches('/');
    if method == "post" {
        let length = head
            .iter()
            .find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length?.parse().ok()?];
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

fn respond(mut browser: &TcpStream, status: &str, kind: &str, body: &[u8]) {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n"
    );
    // A browser that has gone will not miss it.
    let _ = browser.write_all(&[head.as_bytes(), body].concat());
}
