//! System calls per message of a ping-pong, counted by strace: the same run twice, of different length, so that
//! what setting up and ending cost cancels out. Both ends are in one process, so each message's sending and its
//! receiving are in the figure, as are the calls of the runtime.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::measure::ROUND_TRIP_SIZE;
use crate::message::Message;
use crate::peer::{self, End, Peer, Result};

const ROUND_TRIPS: [u64; 2] = [500, 2_500];
/// Those that move bytes through sockets; `read` and `write` are the runtimes' own, to wake their threads.
const SOCKET: [&str; 6] = [
    "recvfrom", "recvmsg", "readv", "sendto", "sendmsg", "writev",
];

/// Calls per message.
pub struct Report {
    pub socket: f64,
    pub all: f64,
}

pub fn measure(name: &str) -> Result<Report> {
    let [few, many] = ROUND_TRIPS;
    let (before, after) = (traced(name, few)?, traced(name, many)?);
    let messages = 2.0 * (many - few) as f64;
    Ok(Report {
        socket: (after.socket - before.socket) / messages,
        all: (after.all - before.all) / messages,
    })
}

fn traced(name: &str, round_trips: u64) -> Result<Report> {
    let summary = std::env::temp_dir().join(format!("sessionwire-peers-{}", std::process::id()));
    let status = Command::new("strace")
        .args(["-f", "-c", "-o"])
        .arg(&summary)
        .arg(std::env::current_exe()?)
        .args(["round-trips", name, &round_trips.to_string()])
        .status()
        .map_err(|error| format!("strace cannot be run: {error}"))?;
    let counts = read(&summary);
    std::fs::remove_file(&summary)?;
    if !status.success() {
        return Err("the run under strace failed".into());
    }
    let counts = counts?;
    let socket = SOCKET.iter().filter_map(|call| counts.get(*call)).sum();
    Ok(Report {
        socket,
        all: counts.values().sum(),
    })
}

/// Lines of `% time, seconds, usecs/call, calls, errors if any, name`.
fn read(summary: &Path) -> Result<BTreeMap<String, f64>> {
    let text = std::fs::read_to_string(summary)?;
    let mut counts = BTreeMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if let [_, _, _, calls, .., name] = fields[..]
            && name != "total"
            && let Ok(calls) = calls.parse()
        {
            counts.insert(name.to_owned(), calls);
        }
    }
    Ok(counts)
}

/// The run that is traced.
pub async fn round_trips<P: Peer>(peer: P, count: u64) -> Result<()> {
    let mut link = peer.connect(peer::Path::Direct, 1).await?;
    let (mut near, mut far) = (link.opener.ends.remove(0), link.acceptor.ends.remove(0));
    let echo = peer.runtime().spawn(async move {
        let mut message = Message::new(ROUND_TRIP_SIZE);
        for sequence in 0..count {
            far.receive(sequence, ROUND_TRIP_SIZE).await?;
            message.sequence = sequence;
            far.feed(&message).await?;
            far.flush().await?;
        }
        Result::Ok(far)
    });
    let mut message = Message::new(ROUND_TRIP_SIZE);
    for sequence in 0..count {
        message.sequence = sequence;
        near.feed(&message).await?;
        near.flush().await?;
        near.receive(sequence, ROUND_TRIP_SIZE).await?;
    }
    let _far = echo.await?;
    Ok(())
}
