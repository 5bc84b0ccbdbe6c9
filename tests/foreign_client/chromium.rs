//! Pages in headless Chromium. The tests serve them, and forward their `WebSocket`s to the server of this crate,
//! as a web server in front of one does: page and WebSocket have the same origin.

use std::ffi::OsStr;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::{Duration, Instant};
use std::{fs, thread};

use tempfile::TempDir;

use super::served::{Process, Server};
use super::{available, client, present};

const CHROMIUM: &str = "chromium";

/// Of the page that talks by itself.
const SCRIPTS: [&str; 3] = ["page.html", "conversations.mjs", "wire.mjs"];
/// Of the page whose talk is this crate, compiled to WebAssembly.
const COMPILED: [&str; 2] = ["echo.js", "echo_bg.wasm"];

/// A browser may take long to start on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

#[test]
fn a_page_in_chromium_talks_to_an_echo() {
    if !available(CHROMIUM, &["--version"]) {
        return;
    }
    let result = result_of("page.html", SCRIPTS.map(client).into());
    all_is_well(&result, 7);
}

#[test]
fn this_crate_in_chromium_talks_to_an_echo() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/browser/page");
    let compiled = COMPILED.map(|file| page.join(file));
    let builder = "examples/browser/Cargo.toml";
    if !available(CHROMIUM, &["--version"]) || !present(&compiled, builder) {
        return;
    }
    let files = compiled.into_iter().chain([client("wasm.html")]);
    let result = result_of("wasm.html", files.collect());
    all_is_well(&result, 10);
}

fn all_is_well(result: &str, least: usize) {
    let conversations: Vec<_> = result.lines().collect();
    assert!(conversations.len() >= least, "{result}");
    for conversation in conversations {
        assert!(conversation.contains(": ok: "), "{result}");
    }
}

/// What a page posts at its end, which may have these files.
fn result_of(page: &str, files: Vec<PathBuf>) -> String {
    let server = Server::start();
    let pages = listen();
    let address = pages.local_addr().unwrap();
    let (sender, result) = mpsc::channel();
    let site = Arc::new(Site {
        wire: server.address().to_owned(),
        files,
        forwarded: Mutex::default(),
        is_stalled: Mutex::default(),
        goes_on: Condvar::new(),
    });
    thread::spawn(move || {
        for browser in pages.incoming() {
            let (browser, sender, site) = (browser.unwrap(), sender.clone(), Arc::clone(&site));
            thread::spawn(move || {
                if let Some(result) = site.answer(&browser) {
                    sender.send(result).unwrap();
                }
            });
        }
    });
    let profile = tempfile::tempdir().expect("a folder");
    let browser = Process::start(
        Command::new(CHROMIUM)
            .args(["--headless", "--no-sandbox", "--disable-gpu"])
            .args(["--no-first-run", "--disable-dev-shm-usage"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env("TMPDIR", profile.path())
            .arg(format!("http://{address}/{page}?elsewhere={}", server.url))
            .stderr(Stdio::null()),
    );
    let result = result.recv_timeout(PATIENCE).expect("the page's result");
    drop(browser);
    remove(profile);
    result
}

/// Removes what a browser has written, whose processes still write until they notice that the first has ended.
fn remove(profile: TempDir) {
    let folder = profile.keep();
    let begun = Instant::now();
    while let Err(error) = fs::remove_dir_all(&folder) {
        assert!(begun.elapsed() < PATIENCE, "{}: {error}", folder.display());
        thread::yield_now();
    }
}

/// A listener whose connections hold little: where nothing is read, the browser must come to hold the rest.
fn listen() -> TcpListener {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_io().build().unwrap();
    let listening = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(64 * 1024)?;
        socket.bind(([127, 0, 0, 1], 0).into())?;
        socket.listen(128)?.into_std()
    });
    let listener = listening.unwrap();
    listener.set_nonblocking(false).unwrap();
    listener
}

/// What the browser is served.
struct Site {
    /// Where the WebSocket is.
    wire: String,
    files: Vec<PathBuf>,
    /// Connections of the browser that carry a WebSocket, or did.
    forwarded: Mutex<Vec<TcpStream>>,
    /// Whether nothing that the browser sends is forwarded.
    is_stalled: Mutex<bool>,
    goes_on: Condvar,
}

impl Site {
    /// Serves one request of the browser, as a proxy in front of the WebSocket does; answers what the page
    /// posted.
    fn answer(&self, browser: &TcpStream) -> Option<String> {
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
            let kept = browser.try_clone().unwrap();
            self.forwarded.lock().unwrap().push(kept);
            self.forward(browser, &head, &TcpStream::connect(&self.wire).unwrap());
            return None;
        }
        if path == "stall" || path == "go" {
            *self.is_stalled.lock().unwrap() = path == "stall";
            self.goes_on.notify_all();
            respond(browser, "204 No Content", "text/plain", &[]);
            return None;
        }
        if path == "cut" {
            for forwarded in self.forwarded.lock().unwrap().drain(..) {
                // It may have ended by itself.
                let _ = forwarded.shutdown(Shutdown::Both);
            }
            respond(browser, "204 No Content", "text/plain", &[]);
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
        match self.files.iter().find(|file| file.ends_with(path)) {
            Some(file) => respond(browser, "200 OK", kind_of(file), &fs::read(file).unwrap()),
            None => respond(browser, "404 Not Found", "text/plain", &[]),
        }
        None
    }

    /// Carries both directions until each has ended.
    fn forward(&self, browser: &TcpStream, head: &str, mut server: &TcpStream) {
        server.write_all(head.as_bytes()).unwrap();
        thread::scope(|scope| {
            // However they end, the other side is to see an end.
            scope.spawn(|| {
                let _ = self.upload(browser, server);
                let _ = server.shutdown(Shutdown::Write);
            });
            let _ = io::copy(&mut server, &mut &*browser);
            let _ = browser.shutdown(Shutdown::Write);
        });
    }

    fn upload(&self, mut browser: &TcpStream, mut server: &TcpStream) -> io::Result<()> {
        let mut bytes = [0; 16 * 1024];
        loop {
            let count = browser.read(&mut bytes)?;
            if count == 0 {
                return Ok(());
            }
            let stalled = self.is_stalled.lock().unwrap();
            drop(
                self.goes_on
                    .wait_while(stalled, |stalled| *stalled)
                    .unwrap(),
            );
            server.write_all(&bytes[..count])?;
        }
    }
}

fn kind_of(file: &Path) -> &'static str {
    match file.extension().and_then(OsStr::to_str) {
        Some("html") => "text/html",
        Some("wasm") => "application/wasm",
        _ => "text/javascript",
    }
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
