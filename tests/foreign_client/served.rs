//! `sessionwire serve ws://…` as a process, and the clients' processes beside it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long a client may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_mins(1);

/// A process that does not outlive the test.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
        Self(command.spawn().expect("it starts"))
    }

    fn output(&mut self) -> BufReader<ChildStdout> {
        BufReader::new(self.0.stdout.take().expect("its output is read once"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A server that echoes what comes on channels of `echo/1`.
pub(crate) struct Server {
    process: Process,
    pub(crate) url: String,
}

impl Server {
    pub(crate) fn start() -> Self {
        let program = env!("CARGO_BIN_EXE_sessionwire");
        let mut process =
            Process::start(Command::new(program).args(["serve", "ws://127.0.0.1:0/wire"]));
        let mut line = String::new();
        process.output().read_line(&mut line).unwrap();
        let url = line
            .trim_end()
            .strip_prefix("listening on ")
            .expect("an URL");
        Self {
            process,
            url: url.to_owned(),
        }
    }

    /// The URL's host and port.
    pub(crate) fn address(&self) -> &str {
        let rest = self.url.strip_prefix("ws://").expect("a WebSocket");
        rest.split('/').next().expect("a host")
    }

    /// Asks it to stop, as an operating system does.
    pub(crate) fn terminate(&self) {
        let id = self.process.0.id().to_string();
        let status = Command::new("kill").args(["-TERM", &id]).status().unwrap();
        assert!(status.success());
    }
}

/// Runs a client to its end; calls `when_ready` when it says so.
pub(crate) fn converse(client: &mut Command, when_ready: impl FnOnce()) {
    let mut process = Process::start(client.stderr(Stdio::piped()));
    let mut errors = process.0.stderr.take().unwrap();
    let (sender, lines) = mpsc::channel();
    let output = process.output();
    thread::spawn(move || output.lines().try_for_each(|line| sender.send(line)));
    let mut when_ready = Some(when_ready);
    let said = loop {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) if line.as_ref().is_ok_and(|line| line == "ready") => {
                when_ready.take().expect("it is ready once")();
            }
            Ok(line) => break line.unwrap(),
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("{client:?} hangs"),
            Err(mpsc::RecvTimeoutError::Disconnected) => break String::new(),
        }
    };
    let mut problems = String::new();
    errors.read_to_string(&mut problems).unwrap();
    let status = process.0.wait().unwrap();
    assert!(
        status.success() && said.starts_with("ok: "),
        "{said}\n{problems}"
    );
}
