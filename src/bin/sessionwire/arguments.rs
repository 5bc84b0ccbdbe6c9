use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use sessionwire::transport::{Endpoint, Fingerprint, Scheme};

use crate::protocol::{LARGEST_SIZE, MOST_CHANNELS};

#[derive(Debug, Parser)]
#[command(
    name = "sessionwire",
    version,
    about = "Measures, serves and pings sessionwire connections",
    after_help = "Start with `sessionwire bench`. Each command's --help ends with examples."
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure throughput and round trips
    #[command(after_help = BENCH_EXAMPLES)]
    Bench(BenchOptions),
    /// Serve bench, echo and ping until SIGINT or SIGTERM
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(ServeOptions),
    /// Time round trips to a `sessionwire serve`
    #[command(after_help = PING_EXAMPLES)]
    Ping(PingOptions),
}

#[derive(Debug, Args)]
pub(crate) struct BenchOptions {
    /// Transports to compare within this process, beside raw TCP
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_values = ["memory", "tcp", "unix", "ws", "tls", "wss"],
        conflicts_with = "connect"
    )]
    pub(crate) transport: Vec<Transport>,
    /// Payload of a message in bytes, or as 64K, 1M; at most 64M
    #[arg(
        long,
        value_name = "BYTES",
        value_delimiter = ',',
        value_parser = size,
        default_values = ["64", "1024", "65536", "1048576"]
    )]
    pub(crate) size: Vec<usize>,
    /// Channels that send at once over one connection (raw TCP: that many connections)
    #[arg(
        long,
        value_name = "NUMBER",
        value_delimiter = ',',
        value_parser = channels,
        default_values = ["1", "100"]
    )]
    pub(crate) channels: Vec<usize>,
    /// How long each measurement takes; a tenth more goes into warming up
    #[arg(long, value_name = "N", value_parser = seconds, default_value = "0.5")]
    pub(crate) seconds: Duration,
    /// Measure a remote `sessionwire serve` instead
    #[arg(long, value_name = "URL", value_parser = remote)]
    pub(crate) connect: Option<Endpoint>,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
    /// Write the results as JSON; `-` writes them to standard output in place of the table
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Draw the results
    #[arg(long, value_name = "FILE.svg")]
    pub(crate) chart: Option<PathBuf>,
}

/// The transports that can be measured without another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    Memory,
    Tcp,
    Unix,
    Ws,
    Tls,
    Wss,
}

/// What a client dials through, whom it trusts, and what it says of itself.
#[derive(Debug, Args)]
pub(crate) struct ClientOptions {
    /// Dial through that HTTP proxy, such as `http://user:password@proxy:3128`; `env` is the one that
    /// `https_proxy` or `all_proxy` names, if there is one
    #[arg(long, value_name = "URL|env")]
    pub(crate) proxy: Option<String>,
    /// Over TLS, trust the servers that a certificate in that PEM file has issued, and no others
    #[arg(long, value_name = "FILE", conflicts_with = "pin")]
    pub(crate) ca: Option<PathBuf>,
    /// Over TLS, trust the server whose certificate has that SHA-256 fingerprint, as `serve` prints it
    #[arg(long, value_name = "FINGERPRINT")]
    pub(crate) pin: Option<Fingerprint>,
    /// Over TLS, show that certificate (PEM) to a server that wants to know who this is
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// The private key of --cert (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Over WebSocket, send that header; may be repeated
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    pub(crate) header: Vec<(String, String)>,
    /// Over WebSocket, send `Authorization: Bearer TOKEN`
    #[arg(long, value_name = "TOKEN")]
    pub(crate) bearer: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ServeOptions {
    /// Where to listen; port 0 finds a free port
    #[arg(required = true, value_name = "URL")]
    pub(crate) endpoints: Vec<Endpoint>,
    /// The server's certificate (PEM), those of its issuers behind it; tls:// and wss:// need one
    #[arg(
        long,
        value_name = "FILE",
        requires = "key",
        conflicts_with = "self_signed"
    )]
    pub(crate) cert: Option<PathBuf>,
    /// The private key of --cert (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Make a certificate for this run and print its fingerprint, for clients to --pin
    #[arg(long)]
    pub(crate) self_signed: bool,
    /// Over TLS, serve only clients whose --cert was issued by one in that PEM file
    #[arg(long, value_name = "FILE")]
    pub(crate) client_ca: Option<PathBuf>,
    /// How long open channels may take to finish after a signal, in seconds
    #[arg(long, value_name = "N", value_parser = duration, default_value = "5")]
    pub(crate) drain: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct PingOptions {
    /// Where a `sessionwire serve` listens
    #[arg(value_name = "URL", value_parser = remote)]
    pub(crate) endpoint: Endpoint,
    #[command(flatten)]
    pub(crate) client: ClientOptions,
    /// Stop after that many; without it, Ctrl-C stops
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// From one ping to the next, in seconds, or as 200ms
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "1")]
    pub(crate) interval: Duration,
    /// How long to wait for an answer before it counts as lost, in seconds, or as 200ms
    #[arg(long, value_name = "TIME", value_parser = positive_duration, default_value = "5")]
    pub(crate) timeout: Duration,
}

const BENCH_EXAMPLES: &str = "\
Without options it compares all local transports in about 40 seconds. Bulk messages are serialised
by the sender, and decoded and checked by the receiver; raw TCP moves the same bytes, one write per
message, and checks nothing.

JSON is an array of objects with transport, kind (\"bulk\" or \"rtt\"), size, channels, messages,
seconds, mb_per_s (10^6 bytes of payload), messages_per_s, p50_us and p99_us (null for bulk). For
\"rtt\" a message is one round trip, and mb_per_s counts one way.

Examples:
  sessionwire bench
  sessionwire bench --transport tcp,ws --size 1K,1M --channels 1 --seconds 2
  sessionwire bench --json results.json --chart results.svg
  sessionwire bench --json - | jq '.[] | select(.kind == \"rtt\")'
  sessionwire bench --connect ws://example.org:9000/wire
  sessionwire bench --connect wss://example.org:9443/wire --ca authority.pem";

const SERVE_EXAMPLES: &str = "\
Prints `listening on URL` for each endpoint once all of them accept, and before that, with
--self-signed, `certificate sha256 FINGERPRINT`. After SIGINT or SIGTERM open
channels may finish; a second signal ends it at once.

Examples:
  sessionwire serve tcp://127.0.0.1:9000
  sessionwire serve tcp://0.0.0.0:9000 ws://0.0.0.0:9001/wire unix:///tmp/wire.sock
  sessionwire serve tcp://127.0.0.1:0
  sessionwire serve wss://0.0.0.0:9443/wire --self-signed
  sessionwire serve tls://0.0.0.0:9000 --cert server.pem --key server.key --client-ca clients.pem";

const PING_EXAMPLES: &str = "\
Exits with 1 when an answer was lost or the connection failed. Over tls:// and wss:// the server's
certificate must be trusted: by the operating system, or by --ca or --pin.

Examples:
  sessionwire ping tcp://127.0.0.1:9000
  sessionwire ping ws://example.org:9000/wire --count 5 --interval 200ms
  sessionwire ping unix:///tmp/wire.sock --count 1000 --interval 0
  sessionwire ping wss://example.org:9443/wire --pin FINGERPRINT
  sessionwire ping wss://example.org/wire --bearer TOKEN --header 'X-Tenant: 7'
  sessionwire ping wss://example.org/wire --proxy http://proxy.example.org:3128";

/// Longer runs would say nothing more, and every round trip's time is kept.
const LONGEST_SECONDS: f64 = 600.0;

fn size(text: &str) -> Result<usize, String> {
    let (digits, unit) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1024),
        None => match text.strip_suffix(['m', 'M']) {
            Some(digits) => (digits, 1024 * 1024),
            None => (text, 1),
        },
    };
    let number: usize = digits
        .parse()
        .map_err(|_| "write a number of bytes, such as 64, 16K or 1M".to_owned())?;
    match number.checked_mul(unit) {
        Some(0) => Err("a message has at least 1 byte".to_owned()),
        Some(bytes) if bytes <= LARGEST_SIZE => Ok(bytes),
        _ => Err(format!(
            "at most {LARGEST_SIZE} bytes (64M) can be measured"
        )),
    }
}

fn channels(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=MOST_CHANNELS) => Ok(number),
        _ => Err(format!("write a number from 1 to {MOST_CHANNELS}")),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if (0.001..=LONGEST_SECONDS).contains(&seconds) => {
            Ok(Duration::from_secs_f64(seconds))
        }
        _ => Err(format!("write seconds from 0.001 to {LONGEST_SECONDS}")),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = match text.strip_suffix("ms") {
        Some(digits) => (digits, 0.001),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    digits
        .parse()
        .ok()
        .and_then(|number: f64| Duration::try_from_secs_f64(number * unit).ok())
        .filter(|duration| *duration <= Duration::from_hours(24))
        .ok_or_else(|| "write seconds, such as 1 or 0.2, or milliseconds, such as 200ms".to_owned())
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("it must be longer than 0".to_owned()),
        duration => Ok(duration),
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or_else(|| "write a header as 'Name: value'".to_owned())?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn remote(text: &str) -> Result<Endpoint, String> {
    let endpoint: Endpoint = text.parse().map_err(|error| format!("{error}"))?;
    if endpoint.scheme() == Scheme::Memory {
        return Err(
            "memory:// reaches only listeners of the same process; use tcp, tls, ws, wss or unix"
                .to_owned(),
        );
    }
    if endpoint.port() == Some(0) {
        return Err("port 0 is for listening; use the port that `serve` printed".to_owned());
    }
    Ok(endpoint)
}
