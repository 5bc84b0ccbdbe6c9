use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use sessionwire::mux::{Code, Timeout, Violation};
use sessionwire::transport::{CertificateProblem, Scheme, TransportError};
use sessionwire::{ChannelError, ConnectionError, OpenError};

use crate::output::note;

/// Why the program could not do what it was asked for, and what to do about that.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    doing: Option<String>,
    cause: Cause,
}

#[derive(Debug, Clone)]
enum Cause {
    Transport(TransportError),
    Open(OpenError),
    Channel(ChannelError),
    Io(Arc<io::Error>),
    Said {
        problem: String,
        hint: &'static str,
    },
    /// Whoever read our output has seen enough.
    OutputClosed,
}

impl Failure {
    /// A failure that is no error of a layer below.
    pub(crate) fn new(problem: impl Into<String>, hint: &'static str) -> Self {
        Self::from(Cause::Said {
            problem: problem.into(),
            hint,
        })
    }

    /// Writing to standard output failed.
    pub(crate) fn output(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::from(Cause::OutputClosed);
        }
        Self::from(error).while_doing("standard output")
    }

    /// The same, said to have happened during `doing`.
    pub(crate) fn while_doing(mut self, doing: impl Into<String>) -> Self {
        self.doing.get_or_insert_with(|| doing.into());
        self
    }

    /// Tells the user, answers the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        if matches!(self.cause, Cause::OutputClosed) {
            return ExitCode::SUCCESS;
        }
        note(&format!("error: {}", self.chain()));
        if let Some(hint) = self.hint() {
            note(&format!("hint: {hint}"));
        }
        ExitCode::FAILURE
    }

    fn chain(&self) -> String {
        let mut text = String::new();
        if let Some(doing) = &self.doing {
            text.push_str(doing);
            text.push_str(": ");
        }
        let start = text.len();
        let mut next: Option<&(dyn Error + 'static)> = match &self.cause {
            Cause::Transport(error) => Some(error),
            Cause::Open(error) => Some(error),
            Cause::Channel(error) => Some(error),
            Cause::Io(error) => Some(&**error),
            Cause::Said { problem, .. } => {
                text.push_str(problem);
                None
            }
            Cause::OutputClosed => None,
        };
        while let Some(error) = next {
            let said = error.to_string();
            if text.len() == start {
                text.push_str(&said);
            } else if !text.contains(&said) {
                text.push_str(": caused by ");
                text.push_str(&said);
            }
            next = error.source();
        }
        text
    }

    fn hint(&self) -> Option<&'static str> {
        match &self.cause {
            Cause::Transport(error) => transport_hint(error),
            Cause::Open(OpenError::Connection(error))
            | Cause::Channel(ChannelError::Connection(error)) => connection_hint(error),
            Cause::Open(OpenError::Draining) => Some("the server is shutting down; start it again"),
            Cause::Channel(ChannelError::Refused { code, .. })
                if *code == Code::UNKNOWN_PROTOCOL =>
            {
                Some("the peer is no `sessionwire serve`, or one of another version")
            }
            Cause::Io(error) => io_hint(error),
            Cause::Said { hint, .. } => Some(hint),
            _ => None,
        }
    }
}

fn transport_hint(error: &TransportError) -> Option<&'static str> {
    Some(match error {
        TransportError::Connect { endpoint, .. } if endpoint.scheme() == Scheme::Unix => {
            "is `sessionwire serve URL` running there, with the same path?"
        }
        TransportError::Connect { .. } => "is `sessionwire serve URL` running there?",
        TransportError::ConnectTimeout { .. } => {
            "is the address right, and does no firewall stand between?"
        }
        TransportError::Resolve { .. } => "check the host's spelling, or use its IP address",
        TransportError::InUse { endpoint } if endpoint.scheme() == Scheme::Unix => {
            "stop the other listener, or choose another path"
        }
        TransportError::InUse { .. } => "choose another name",
        TransportError::Bind { cause, .. } => return bind_hint(cause),
        TransportError::Unsupported { .. } => "tcp://, ws:// and unix:// work everywhere",
        TransportError::Certificate {
            problem: CertificateProblem::UnknownIssuer,
        } => "use --pin with the fingerprint that `sessionwire serve` printed, or --ca FILE",
        TransportError::Certificate {
            problem: CertificateProblem::WrongFingerprint { .. },
        } => "was `sessionwire serve --self-signed` started anew? Then it has a new fingerprint",
        TransportError::TlsRefused { alert, .. } if alert == "CertificateRequired" => {
            "use --cert and --key"
        }
        TransportError::TlsSetup { problem } if problem.contains("tls_server") => {
            "use --cert and --key, or --self-signed"
        }
        TransportError::InvalidProxy { .. } | TransportError::Proxy { .. } => {
            "check --proxy; without it, none is used"
        }
        TransportError::ProxyRefused { status: 407, .. } => {
            "use --proxy http://USER:PASSWORD@HOST:PORT"
        }
        TransportError::HandshakeTimeout { .. }
        | TransportError::HandshakeBroken { .. }
        | TransportError::HandshakeInvalid { .. }
        | TransportError::Refused { .. } => "use exactly the URL that `sessionwire serve` printed",
        _ => return None,
    })
}

fn bind_hint(error: &io::Error) -> Option<&'static str> {
    Some(match error.kind() {
        io::ErrorKind::AddrInUse => "choose another port, or port 0 for a free one",
        io::ErrorKind::AddrNotAvailable => {
            "listen on an address of this machine, or on 0.0.0.0 for all of them"
        }
        io::ErrorKind::PermissionDenied => {
            "choose a port above 1023, or a directory that you may write to"
        }
        io::ErrorKind::NotFound => "create the socket's directory first",
        io::ErrorKind::AlreadyExists => "remove that file, or choose another path",
        _ => return io_hint(error),
    })
}

fn connection_hint(error: &ConnectionError) -> Option<&'static str> {
    Some(match error {
        ConnectionError::PeerMisbehaved(Violation::NotSessionwire)
        | ConnectionError::TimedOut(Timeout::Hello) => {
            "something else listens there; use exactly the URL that `sessionwire serve` printed"
        }
        ConnectionError::Version { .. } => "install the same version on both ends",
        ConnectionError::Io(_)
        | ConnectionError::ClosedByPeer { .. }
        | ConnectionError::TimedOut(_) => "is `sessionwire serve` still running there?",
        _ => return None,
    })
}

fn io_hint(error: &io::Error) -> Option<&'static str> {
    const TOO_MANY_FILES: i32 = 24;
    match error.kind() {
        _ if error.raw_os_error() == Some(TOO_MANY_FILES) => {
            Some("allow more open files (`ulimit -n 4096`), or use fewer --channels")
        }
        io::ErrorKind::NotFound => Some("create the directory first, or choose another file"),
        io::ErrorKind::PermissionDenied => Some("choose a file that you may write"),
        io::ErrorKind::IsADirectory => Some("name a file in that directory"),
        _ => None,
    }
}

impl From<Cause> for Failure {
    fn from(cause: Cause) -> Self {
        Self { doing: None, cause }
    }
}

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Self {
        Self::from(Cause::Transport(error))
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::from(Cause::Open(error))
    }
}

impl From<ChannelError> for Failure {
    fn from(error: ChannelError) -> Self {
        Self::from(Cause::Channel(error))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::from(Cause::Io(Arc::new(error)))
    }
}
