use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::installed::installed;

/// A proxy that runs in a folder of its own.
pub(crate) struct Program {
    process: Child,
    command: Command,
    folder: TempDir,
    address: SocketAddr,
}

impl Program {
    /// Runs a program, unless it is not installed, with these files in its folder, until it listens at the address.
    pub(crate) fn start(
        program: &str,
        arguments: &[&str],
        files: &[(&str, &str)],
        address: SocketAddr,
    ) -> Option<Self> {
        let program = installed(program)?;
        let folder = tempfile::tempdir().expect("a folder");
        for (file, content) in files {
            let content = content.replace("FOLDER", folder.path().to_str().expect("a path"));
            fs::write(folder.path().join(file), content).expect("to write");
        }
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(folder.path())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("said")).expect("a file"));
        let process = command.spawn().expect("it starts");
        let mut program = Self {
            process,
            command,
            folder,
            address,
        };
        program.until_it_listens();
        Some(program)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Has it read its configuration again, which it says by `ready`. A signal that comes before it listens to
    /// signals is lost.
    pub(crate) fn reload(&self, signal: &str, ready: &str) {
        let count = || self.said().matches(ready).count();
        let before = count();
        let id = self.process.id().to_string();
        while count() == before {
            let told = Command::new("kill").args(["-s", signal, &id]).status();
            assert!(told.expect("to run kill").success(), "SIG{signal}");
        }
    }

    /// Ends it as a crash does, and starts it anew.
    pub(crate) fn restart(&mut self) {
        self.end();
        self.process = self.command.spawn().expect("it starts");
        self.until_it_listens();
    }

    fn until_it_listens(&mut self) {
        while TcpStream::connect(self.address).is_err() {
            let ended = self.process.try_wait().expect("to ask");
            assert!(ended.is_none(), "{ended:?}: {}", self.said());
            std::thread::yield_now();
        }
    }

    fn said(&self) -> String {
        fs::read_to_string(self.file("said")).unwrap_or_default()
    }

    /// With all that it has started, which is of its group.
    fn end(&mut self) {
        let group = format!("-{}", self.process.id());
        Command::new("kill")
            .args(["-s", "KILL", "--", &group])
            .status()
            .ok();
        self.process.wait().ok();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.end();
    }
}

/// An address that nobody listens on, on a host of this machine that no other test uses.
pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.77.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

/// The block of docs/proxies.md in that language.
pub(crate) fn documented(language: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/proxies.md");
    let page = fs::read_to_string(page).expect("the page");
    let block = page.split_once(&format!("```{language}\n"));
    let block = block.and_then(|(_, rest)| rest.split_once("```"));
    block.expect("a block").0.to_owned()
}

/// With another text in place of one that must be there.
pub(crate) fn with(text: &str, old: &str, new: &str) -> String {
    assert!(text.contains(old), "{old:?} is not in {text}");
    text.replace(old, new)
}
