//! What is asked of ours, as ratios of one run.

use crate::ours;
use crate::peers::names;
use crate::requests::{self, IN_FLIGHT};
use crate::results::{Key, Metric, Results};
use crate::sessions::AT_ONCE;

pub const SIZES: [usize; 4] = [64, 1 << 10, 64 << 10, 1 << 20];
pub const CROWD: usize = 100;
/// The size of the messages of the load beside round trips.
pub const LOAD_SIZE: usize = 64 << 10;

enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

struct Requirement {
    text: String,
    ours: Key,
    /// Without it the bound is on the figure itself.
    theirs: Option<Key>,
    bound: Bound,
}

/// Prints every requirement whose figures are there: the figure, the bound and whether it is met.
pub fn print(results: &Results) {
    println!("\nRequired of ours");
    let mut any = false;
    for requirement in all() {
        let figure = match requirement.theirs {
            Some(theirs) => results.ratio(requirement.ours, theirs),
            None => results.median(requirement.ours),
        };
        let Some(figure) = figure else { continue };
        let (met, sign, bound) = match requirement.bound {
            Bound::AtLeast(bound) => (figure >= bound, '≥', bound),
            Bound::AtMost(bound) => (figure <= bound, '≤', bound),
        };
        let mark = if met { '✓' } else { '✗' };
        println!(
            "  {mark} {:<66} {figure:>9.2} {sign} {bound}",
            requirement.text
        );
        any = true;
    }
    if !any {
        println!("  nothing measured of ours in this run");
    }
}

fn all() -> Vec<Requirement> {
    let mut list = Vec::new();
    for (tcp, codec, yamux, raw) in [
        (ours::TCP, "asynchronous-codec", "yamux", "tcp"),
        (
            ours::TCP_TOKIO,
            "asynchronous-codec-tokio",
            "yamux-tokio",
            "tcp-tokio",
        ),
    ] {
        over_tcp(&mut list, tcp, codec, yamux, raw);
        memory(&mut list, tcp);
    }
    // Not asked, but shown: yamux with a frame for every message, where the two differ.
    for size in [SIZES[0], SIZES[1]] {
        let bulk = |name| Key::new(Metric::Bulk, name, size, 1);
        list.push(ratio(
            bulk(ours::TCP),
            bulk("yamux-frames"),
            Bound::AtLeast(2.5),
        ));
    }
    for websocket in [ours::WEBSOCKET, ours::WEBSOCKET_TOKIO] {
        for size in SIZES {
            let bulk = |name| Key::new(Metric::Bulk, name, size, 1);
            list.push(ratio(
                bulk(websocket),
                bulk("tokio-tungstenite"),
                Bound::AtLeast(1.0),
            ));
        }
    }
    for size in SIZES {
        let bulk = |name| Key::new(Metric::Bulk, name, size, 1);
        list.push(ratio(
            bulk(names::FRAMED_OURS),
            bulk(names::FRAMED_THEIRS),
            Bound::AtLeast(1.0),
        ));
    }
    for size in [SIZES[2], SIZES[3]] {
        for (ours, theirs) in names::BYTES_OURS.into_iter().zip(names::BYTES_THEIRS) {
            let bulk = |name| Key::new(Metric::Bulk, name, size, 1);
            list.push(ratio(bulk(ours), bulk(theirs), Bound::AtLeast(1.3)));
        }
    }
    for metric in [Metric::OpenerConnection, Metric::AcceptorConnection] {
        let key = Key::new(metric, names::BYTES_OURS[0], 0, 1);
        list.push(absolute(key, Bound::AtMost(8192.0)));
    }
    for (ours, yamux) in [(ours::TCP, "yamux"), (ours::TCP_TOKIO, "yamux-tokio")] {
        for at_once in AT_ONCE {
            let sessions = |name| Key::new(Metric::Sessions, name, SIZES[0], at_once);
            list.push(ratio(sessions(ours), sessions(yamux), Bound::AtLeast(2.0)));
        }
    }
    for in_flight in IN_FLIGHT.into_iter().skip(1) {
        let requests = |name| Key::new(Metric::Requests, name, SIZES[0], in_flight);
        for (ours, theirs, bound) in [
            (requests::OURS_TCP, requests::TARPC, 1.5),
            (requests::OURS_TCP_TOKIO, requests::TARPC, 1.5),
            (requests::OURS_WEBSOCKET, requests::JSONRPSEE, 3.0),
            (requests::OURS_WEBSOCKET_TOKIO, requests::JSONRPSEE, 3.0),
        ] {
            list.push(ratio(
                requests(ours),
                requests(theirs),
                Bound::AtLeast(bound),
            ));
        }
    }
    for (index, side) in [Metric::OpenerAllocations, Metric::AcceptorAllocations]
        .into_iter()
        .enumerate()
    {
        for size in [SIZES[0], SIZES[2]] {
            let key = Key::new(side, ours::BYTES, size, 1);
            // The sender is given its payload; the receiver may allocate it.
            list.push(absolute(key, Bound::AtMost(index as f64 + 0.01)));
        }
    }
    list
}

fn over_tcp(
    list: &mut Vec<Requirement>,
    tcp: &'static str,
    codec: &'static str,
    yamux: &'static str,
    raw: &'static str,
) {
    for size in SIZES {
        let bulk = |name, channels| Key::new(Metric::Bulk, name, size, channels);
        let times_yamux = if size == SIZES[3] { 1.6 } else { 2.5 };
        list.push(ratio(bulk(tcp, 1), bulk(codec, 1), Bound::AtLeast(1.0)));
        list.push(ratio(
            bulk(tcp, 1),
            bulk(yamux, 1),
            Bound::AtLeast(times_yamux),
        ));
        list.push(ratio(bulk(tcp, CROWD), bulk(tcp, 1), Bound::AtLeast(0.9)));
        if size == SIZES[2] {
            list.push(ratio(bulk(tcp, 1), bulk(raw, 1), Bound::AtLeast(0.7)));
        }
    }
    let round_trip = |name| Key::new(Metric::RoundTripP50, name, SIZES[0], 1);
    list.push(ratio(
        round_trip(tcp),
        round_trip(codec),
        Bound::AtMost(1.1),
    ));
    let loaded = |name| Key::new(Metric::LoadedP99, name, LOAD_SIZE, 2);
    list.push(ratio(loaded(tcp), loaded(yamux), Bound::AtMost(1.0)));
    let long_fat = |name| Key::new(Metric::LongFatPipe, name, LOAD_SIZE, 1);
    list.push(ratio(long_fat(tcp), long_fat(raw), Bound::AtLeast(0.95)));
}

fn memory(list: &mut Vec<Requirement>, tcp: &'static str) {
    for (metric, bound) in [
        (Metric::OpenerChannel, 1024.0),
        (Metric::AcceptorChannel, 1024.0),
        (Metric::OpenerConnection, 8192.0),
        (Metric::AcceptorConnection, 8192.0),
    ] {
        list.push(absolute(Key::new(metric, tcp, 0, 1), Bound::AtMost(bound)));
    }
}

fn ratio(ours: Key, theirs: Key, bound: Bound) -> Requirement {
    let text = if ours.channels == theirs.channels {
        format!("{} ÷ {}", describe(ours), theirs.contestant)
    } else {
        format!(
            "{} × {} ÷ {}",
            describe(ours),
            ours.channels,
            theirs.channels
        )
    };
    Requirement {
        text,
        ours,
        theirs: Some(theirs),
        bound,
    }
}

fn absolute(ours: Key, bound: Bound) -> Requirement {
    Requirement {
        text: describe(ours),
        ours,
        theirs: None,
        bound,
    }
}

fn describe(key: Key) -> String {
    let what = match key.metric {
        Metric::Bulk => "bulk",
        Metric::RoundTripP50 => "round trip p50",
        Metric::RoundTripP99 => "round trip p99",
        Metric::LoadedP50 => "loaded round trip p50",
        Metric::LoadedP99 => "loaded round trip p99",
        Metric::LoadedBulk => "load beside round trips",
        Metric::LongFatPipe => "long fat pipe",
        Metric::Sessions => {
            return format!("sessions, {} at once: {}", key.channels, key.contestant);
        }
        Metric::Requests => {
            return format!("requests, {} in flight: {}", key.channels, key.contestant);
        }
        Metric::RequestsP50 => "requests, time p50",
        Metric::RequestsP99 => "requests, time p99",
        Metric::OpenerConnection => "idle connection, bytes at the opener",
        Metric::AcceptorConnection => "idle connection, bytes at the acceptor",
        Metric::OpenerChannel => "idle channel, bytes at the opener",
        Metric::AcceptorChannel => "idle channel, bytes at the acceptor",
        Metric::OpenerAllocations => "allocations per message at the sender",
        Metric::AcceptorAllocations => "allocations per message at the receiver",
        Metric::SocketCalls => "system calls on sockets per message",
        Metric::AllCalls => "system calls per message",
    };
    let size = if key.size == 0 {
        String::new()
    } else {
        format!(" {}", size_name(key.size))
    };
    format!("{what}{size}: {}", key.contestant)
}

pub fn size_name(size: usize) -> String {
    match size {
        0..1024 => format!("{size} B"),
        1024..1_048_576 => format!("{} KiB", size >> 10),
        _ => format!("{} MiB", size >> 20),
    }
}
