use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_std::task::{self, JoinHandle};
use sessionwire::Listener;
use sessionwire::transport::{Endpoint, TransportConfig};

use super::row::Kind;
use super::table::bytes;
use crate::arguments::{BenchOptions, Transport};
use crate::failure::Failure;
use crate::protocol;
use crate::security;
use crate::serve::Server;

/// The transport's name in rows of TCP without sessionwire.
pub(super) const RAW_TCP: &str = "raw-tcp";

/// Whom to measure against.
#[derive(Debug, Clone)]
pub(super) enum Target {
    RawTcp,
    Local(Transport),
    Remote(Endpoint, Box<TransportConfig>),
}

/// What to measure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measurement {
    pub(super) kind: Kind,
    pub(super) size: usize,
    pub(super) channels: usize,
}

/// A target that can be connected to.
pub(super) struct Serving {
    /// None for raw TCP, which sees to itself.
    pub(super) endpoint: Option<Endpoint>,
    /// How to connect to it.
    pub(super) transport: TransportConfig,
    server: Option<JoinHandle<()>>,
}

/// Raw TCP comes first: it is what the others are compared with.
pub(super) fn targets(options: &BenchOptions) -> Result<Vec<Target>, Failure> {
    if let Some(endpoint) = &options.connect {
        let transport = Box::new(options.client.transport()?);
        return Ok(vec![Target::Remote(endpoint.clone(), transport)]);
    }
    let mut targets = vec![Target::RawTcp];
    for (index, transport) in options.transport.iter().enumerate() {
        if !options
            .transport
            .iter()
            .take(index)
            .any(|earlier| earlier == transport)
        {
            targets.push(Target::Local(*transport));
        }
    }
    Ok(targets)
}

/// The same for each target, smallest sizes first.
pub(super) fn measurements(options: &BenchOptions) -> Vec<Measurement> {
    let sorted = |numbers: &[usize]| {
        let mut numbers = numbers.to_vec();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    };
    let channel_counts = sorted(&options.channels);
    let mut measurements = Vec::new();
    for size in sorted(&options.size) {
        for &channels in &channel_counts {
            measurements.push(Measurement {
                kind: Kind::Bulk,
                size,
                channels,
            });
        }
        measurements.push(Measurement {
            kind: Kind::Rtt,
            size,
            channels: 1,
        });
    }
    measurements
}

impl Target {
    pub(super) fn name(&self) -> String {
        match self {
            Self::RawTcp => RAW_TCP.to_owned(),
            Self::Local(transport) => local_url(*transport).0,
            Self::Remote(endpoint, _) => endpoint.to_string(),
        }
    }

    /// Starts a server if there is none yet.
    pub(super) async fn serve(&self, measurements: &[Measurement]) -> Result<Serving, Failure> {
        match self {
            Self::RawTcp => Ok(Serving {
                endpoint: None,
                transport: TransportConfig::default(),
                server: None,
            }),
            Self::Remote(endpoint, transport) => Ok(Serving {
                endpoint: Some(endpoint.clone()),
                transport: TransportConfig::clone(transport),
                server: None,
            }),
            Self::Local(transport) => serve_local(&local_url(*transport).1, measurements).await,
        }
    }
}

impl Serving {
    pub(super) async fn shut_down(self) {
        if let Some(server) = self.server {
            // Dropping the listener removes its socket file.
            server.cancel().await;
        }
    }
}

async fn serve_local(url: &str, measurements: &[Measurement]) -> Result<Serving, Failure> {
    let most = |what: fn(&Measurement) -> usize| measurements.iter().map(what).max().unwrap_or(1);
    let (size, channels) = (
        most(|planned| planned.size),
        most(|planned| planned.channels),
    );
    let config = protocol::config(size, channels);
    let transport = security::both_ends()?;
    let listener = Listener::new(config, transport.clone()).and(url).await?;
    let endpoint = listener.endpoints().first().cloned();
    let server = task::spawn(async move {
        let server = Server::new(Duration::ZERO);
        // A listener that breaks shows at the next attempt to connect.
        let _ = server.accept_from(listener).await;
    });
    Ok(Serving {
        endpoint,
        transport,
        server: Some(server),
    })
}

/// The name of a local transport, and where to listen for it.
fn local_url(transport: Transport) -> (String, String) {
    let process = std::process::id();
    let (name, url) = match transport {
        Transport::Memory => ("memory", "memory://sessionwire-bench".to_owned()),
        Transport::Tcp => ("tcp", "tcp://127.0.0.1:0".to_owned()),
        Transport::Unix => {
            let file: PathBuf =
                std::env::temp_dir().join(format!("sessionwire-bench-{process}.sock"));
            ("unix", format!("unix://{}", file.display()))
        }
        Transport::Ws => ("ws", "ws://127.0.0.1:0/bench".to_owned()),
        Transport::Tls => ("tls", "tls://127.0.0.1:0".to_owned()),
        Transport::Wss => ("wss", "wss://127.0.0.1:0/bench".to_owned()),
    };
    (name.to_owned(), url)
}

impl fmt::Display for Measurement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = bytes(self.size);
        match (self.kind, self.channels) {
            (Kind::Rtt, _) => write!(formatter, "round trips of {size}"),
            (Kind::Bulk, 1) => write!(formatter, "bulk {size}"),
            (Kind::Bulk, channels) => write!(formatter, "bulk {size} on {channels} channels"),
        }
    }
}
