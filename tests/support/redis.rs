//! A Redis server that a test has for itself.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use sessionwire::rpc::{BackplaneError, RedisBackplane, RedisConfig};
use sessionwire::transport::TransportError;
use tempfile::TempDir;

use super::installed::installed;

/// A Redis server that listens on a socket in a folder of its own.
pub(crate) struct Redis {
    process: Child,
    folder: TempDir,
    settings: Vec<String>,
}

impl Redis {
    /// None if there is no program.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// With these settings more.
    pub(crate) fn start_with(settings: &[&str]) -> Option<Self> {
        installed("redis-server")?;
        let folder = tempfile::tempdir().expect("a folder");
        let settings: Vec<String> = settings.iter().map(|&word| word.to_owned()).collect();
        let process = Self::spawn(folder.path(), &settings);
        Some(Self {
            process,
            folder,
            settings,
        })
    }

    fn spawn(folder: &Path, settings: &[String]) -> Child {
        let mut command = Command::new("redis-server");
        command
            .args(["--port", "0", "--save", "", "--appendonly", "no"])
            .args(["--unixsocket", "redis.sock", "--dir"])
            .arg(folder)
            .args(settings)
            .current_dir(folder)
            .stdout(Stdio::null());
        command.spawn().expect("redis-server starts")
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The same as a URL of Redis, which ends with a query.
    pub(crate) fn url(&self, query: &str) -> String {
        format!("redis+unix://{}?{query}", self.socket().display())
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// Ends it as a power cut does.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("a process");
        self.process.wait().expect("its end");
    }

    /// Ends it, and starts it anew: without its data, unless its settings keep them.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.process = Self::spawn(self.folder.path(), &self.settings);
    }

    /// The same with other settings.
    pub(crate) fn restart_with(&mut self, settings: &[&str]) {
        self.settings = settings.iter().map(|&word| word.to_owned()).collect();
        self.restart();
    }

    pub(crate) fn until_it_listens(&self) {
        while UnixStream::connect(self.socket()).is_err() {
            thread::yield_now();
        }
    }

    /// Says a line to it, as a person would, and answers what it answers, without its first sign.
    pub(crate) fn say(&self, line: &str) -> String {
        let mut stream = UnixStream::connect(self.socket()).expect("a server");
        write!(stream, "{line}\r\n").expect("to say it");
        let mut answer = String::new();
        let mut stream = BufReader::new(stream);
        stream.read_line(&mut answer).expect("an answer");
        let answer = answer.trim_end();
        assert!(!answer.starts_with('-'), "{line}: {answer}");
        let Some(length) = answer.strip_prefix('$') else {
            return answer[1..].to_owned();
        };
        let mut text = vec![0; length.parse().expect("a length")];
        stream.read_exact(&mut text).expect("the rest");
        String::from_utf8(text).expect("a text")
    }

    /// A connection to it, as soon as it listens.
    pub(crate) async fn backplane(&self) -> RedisBackplane {
        let config = RedisConfig::default().items(256);
        match self.connect(&self.endpoint(), config).await {
            Ok(backplane) => backplane,
            Err(error) => panic!("{error}"),
        }
    }

    /// What becomes of a connection at an address, once the server listens.
    pub(crate) async fn connect(
        &self,
        address: &str,
        config: RedisConfig,
    ) -> Result<RedisBackplane, BackplaneError> {
        loop {
            match Box::pin(RedisBackplane::connect(address, config.clone())).await {
                Err(BackplaneError::Unreachable(error)) if is_early(&error) => {}
                Err(BackplaneError::Io(_) | BackplaneError::NotReady(_)) => {}
                connected => return connected,
            }
            tokio::task::yield_now().await;
        }
    }
}

/// Nobody listens.
fn is_early(error: &TransportError) -> bool {
    matches!(
        error,
        TransportError::Connect { .. } | TransportError::HandshakeBroken { .. }
    )
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
