//! More clients than a server may have files open for.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const MOST_FILES: usize = 40;

#[test]
fn a_server_out_of_files_serves_again_when_it_has_some() {
    let program = env!("CARGO_BIN_EXE_sessionwire");
    let script = format!("ulimit -n {MOST_FILES}; exec {program} serve ws://127.0.0.1:0/wire");
    let mut server = Server(
        Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell"),
    );
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().expect("its output"))
        .read_line(&mut line)
        .expect("a line");
    let endpoint = line.trim_end().strip_prefix("listening on ");
    let endpoint = endpoint.expect("an endpoint").to_owned();
    let address = endpoint
        .trim_start_matches("ws://")
        .trim_end_matches("/wire");

    // The system completes connections that the server has not accepted.
    let strangers: Vec<_> = (0..2 * MOST_FILES)
        .map(|_| TcpStream::connect(address).expect("to connect"))
        .collect();
    server.wait_until("it is out of files", |files| files == MOST_FILES);
    drop(strangers);
    let pinged = Command::new(program)
        .args(["ping", &endpoint, "--count", "1", "--timeout", "40"])
        .output()
        .expect("it runs");
    assert!(pinged.status.success(), "{pinged:?}");
    server.wait_until("it lets go of all", |files| files < MOST_FILES / 2);
}

struct Server(Child);

impl Server {
    fn wait_until(&mut self, what: &str, condition: impl Fn(usize) -> bool) {
        let begun = Instant::now();
        loop {
            assert!(self.0.try_wait().expect("a process").is_none(), "it ended");
            let files = self.files();
            if condition(files) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(45), "{what}: {files}");
            thread::yield_now();
        }
    }

    /// The files that the limit is about: it bounds their numbers.
    fn files(&self) -> usize {
        let open = fs::read_dir(format!("/proc/{}/fd", self.0.id())).expect("its files");
        let numbers = open.filter_map(|file| file.ok()?.file_name().to_str()?.parse().ok());
        numbers
            .filter(|number: &usize| *number < MOST_FILES)
            .count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
