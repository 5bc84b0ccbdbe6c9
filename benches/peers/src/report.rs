//! The tables.

use crate::measure::{Contestant, LONG_FAT_PIPE_SIZE, ROUND_TRIP_SIZE};
use crate::ours;
use crate::requests;
use crate::requirements::{CROWD, LOAD_SIZE, size_name};
use crate::results::{Key, Metric, Results};
use crate::run::LONG_FAT_PIPE_SECONDS;
use crate::sessions::{self, AT_ONCE};

/// Every table shows each contestant's ratio to this one, which has no multiplexer.
const YARDSTICK: &str = "asynchronous-codec";

pub fn bulk(results: &Results, contestants: &[Box<dyn Contestant>], sizes: &[usize]) {
    let mut table =
        Table::new("Bulk: MB/s, million messages/s, and × asynchronous-codec at the same size");
    let mut head = vec!["channels".to_owned()];
    head.extend(sizes.iter().map(|size| size_name(*size)));
    table.row("", head);
    for contestant in contestants {
        for channels in [1, CROWD] {
            let mut cells = vec![channels.to_string()];
            let mut any = false;
            for &size in sizes {
                let key = Key::new(Metric::Bulk, contestant.name(), size, channels);
                let Some(rate) = results.median(key) else {
                    cells.push("–".to_owned());
                    continue;
                };
                any = true;
                let ratio = times(results.ratio(key, Key::new(Metric::Bulk, YARDSTICK, size, 1)));
                let messages = rate / size as f64 / 1e6;
                let digits = if messages >= 0.1 { 2 } else { 4 };
                cells.push(format!("{:.0} / {messages:.digits$} / {ratio}", rate / 1e6));
            }
            if any {
                table.row(contestant.name(), cells);
            }
        }
    }
    table.print();
}

pub fn latency(results: &Results, contestants: &[Box<dyn Contestant>]) {
    let mut table = Table::new("Round trip of 64 B: µs, and p50 × asynchronous-codec");
    table.row("", ["p50", "p99", "×"]);
    for contestant in contestants {
        let key = |metric, name| Key::new(metric, name, ROUND_TRIP_SIZE, 1);
        let p50 = key(Metric::RoundTripP50, contestant.name());
        if let Some(microseconds) = results.median(p50) {
            let p99 = results.median(key(Metric::RoundTripP99, contestant.name()));
            let ratio = results.ratio(p50, key(Metric::RoundTripP50, YARDSTICK));
            table.row(
                contestant.name(),
                [one_digit(Some(microseconds)), one_digit(p99), times(ratio)],
            );
        }
    }
    table.print();
}

pub fn loaded(results: &Results, contestants: &[Box<dyn Contestant>]) {
    let mut table = Table::new(
        "Round trip of 64 B beside 64 KiB messages on a second channel (asynchronous-codec: a second \
         connection): µs, the load's MB/s, and p99 × yamux",
    );
    table.row("", ["p50", "p99", "load", "×"]);
    for contestant in contestants {
        let key = |metric, name| Key::new(metric, name, LOAD_SIZE, 2);
        let p99 = key(Metric::LoadedP99, contestant.name());
        if let Some(microseconds) = results.median(p99) {
            let p50 = results.median(key(Metric::LoadedP50, contestant.name()));
            let load = results
                .median(key(Metric::LoadedBulk, contestant.name()))
                .map(|rate| rate / 1e6);
            let ratio = results.ratio(p99, key(Metric::LoadedP99, "yamux"));
            let cells = [
                one_digit(p50),
                one_digit(Some(microseconds)),
                whole(load),
                times(ratio),
            ];
            table.row(contestant.name(), cells);
        }
    }
    table.print();
}

pub fn fat(results: &Results, contestants: &[Box<dyn Contestant>]) {
    let mut table = Table::new("30 ms each way and 1 Gbit/s: MB/s over the first 5 s, and × tcp");
    table.row("", ["MB/s", "×"]);
    for contestant in contestants {
        let key = |name| Key::new(Metric::LongFatPipe, name, LONG_FAT_PIPE_SIZE, 1);
        if let Some(bytes) = results.median(key(contestant.name())) {
            let ratio = results.ratio(key(contestant.name()), key("tcp"));
            let rate = bytes / LONG_FAT_PIPE_SECONDS / 1e6;
            table.row(contestant.name(), [one_digit(Some(rate)), times(ratio)]);
        }
    }
    table.print();
}

pub fn sessions(results: &Results) {
    let mut table = Table::new(
        "Conversations opened, used for a request of 64 B and its answer, closed: thousands a second, and × yamux",
    );
    table.row("", ["1 at once", "×", "64 at once", "×"]);
    for conversing in sessions::table() {
        let key = |name, at_once| Key::new(Metric::Sessions, name, ROUND_TRIP_SIZE, at_once);
        let cells = AT_ONCE.map(|at_once| {
            let ours = key(conversing.name(), at_once);
            let rate = results.median(ours).map(|rate| rate / 1e3);
            let ratio = results.ratio(ours, key("yamux", at_once));
            [one_digit(rate), times(ratio)]
        });
        table.row(conversing.name(), cells.concat());
    }
    table.print();
}

pub fn requests(results: &Results, in_flight: &[usize]) {
    let mut table = Table::new(
        "Requests of 64 B and their answers over one connection: thousands a second, × tarpc, and µs until the \
         answer (p50 / p99)",
    );
    let heads = in_flight.iter().flat_map(|count| {
        [
            format!("{count} in flight"),
            "×".to_owned(),
            "µs".to_owned(),
        ]
    });
    table.row("", heads);
    for asking in requests::table() {
        let name = asking.name();
        let cells: Vec<_> = in_flight
            .iter()
            .flat_map(|&in_flight| {
                let key = |metric, name| Key::new(metric, name, ROUND_TRIP_SIZE, in_flight);
                let rate = results.median(key(Metric::Requests, name));
                let tarpc = key(Metric::Requests, requests::TARPC);
                let ratio = results.ratio(key(Metric::Requests, name), tarpc);
                let [p50, p99] = [Metric::RequestsP50, Metric::RequestsP99]
                    .map(|metric| whole(results.median(key(metric, name))));
                let rate = one_digit(rate.map(|rate| rate / 1e3));
                [rate, times(ratio), format!("{p50} / {p99}")]
            })
            .collect();
        if cells
            .iter()
            .any(|cell| cell.starts_with(|first: char| first.is_ascii_digit()))
        {
            table.row(name, cells);
        }
    }
    table.print();
}

pub fn memory(results: &Results, contestants: &[Box<dyn Contestant>]) {
    let mut table = Table::new(
        "Heap when idle after use, in bytes, and allocations per message, at the opener (who sends) / the acceptor",
    );
    table.row(
        "",
        [
            "connection",
            "channel",
            "allocations 64 B",
            "allocations 64 KiB",
        ],
    );
    for contestant in contestants {
        let name = contestant.name();
        let both = |opener, acceptor, size, show: fn(Option<f64>) -> String| {
            let [opener, acceptor] =
                [opener, acceptor].map(|metric| Key::new(metric, name, size, 1));
            format!(
                "{} / {}",
                show(results.median(opener)),
                show(results.median(acceptor))
            )
        };
        if results
            .median(Key::new(Metric::OpenerConnection, name, 0, 1))
            .is_some()
        {
            let (opener, acceptor) = (Metric::OpenerAllocations, Metric::AcceptorAllocations);
            let cells = [
                both(
                    Metric::OpenerConnection,
                    Metric::AcceptorConnection,
                    0,
                    whole,
                ),
                both(Metric::OpenerChannel, Metric::AcceptorChannel, 0, whole),
                both(opener, acceptor, ROUND_TRIP_SIZE, two_digits),
                both(opener, acceptor, LOAD_SIZE, two_digits),
            ];
            table.row(name, cells);
        }
    }
    table.print();
}

pub fn calls(results: &Results, contestants: &[Box<dyn Contestant>]) {
    let mut table =
        Table::new("System calls per message of a ping-pong of 64 B: on sockets, and all");
    table.row("", ["sockets", "all"]);
    for contestant in contestants {
        let key = |metric| Key::new(metric, contestant.name(), ROUND_TRIP_SIZE, 1);
        if let Some(socket) = results.median(key(Metric::SocketCalls)) {
            let all = results.median(key(Metric::AllCalls));
            table.row(
                contestant.name(),
                [two_digits(Some(socket)), two_digits(all)],
            );
        }
    }
    table.print();
}

/// What TLS costs: ours over it beside ours without it, where both were measured.
pub fn encrypted(results: &Results, sizes: &[usize]) {
    let mut table =
        Table::new("Ours over TLS × the same without it: bulk on one channel, round trip p50");
    let mut head: Vec<String> = sizes.iter().map(|size| size_name(*size)).collect();
    head.push("round trip".to_owned());
    table.row("", head);
    let mut any = false;
    for (secure, plain) in [
        (ours::TLS, ours::TCP),
        (ours::WEBSOCKET_TLS, ours::WEBSOCKET),
    ] {
        let ratio = |metric, size| {
            let key = |name| Key::new(metric, name, size, 1);
            results.ratio(key(secure), key(plain))
        };
        let mut ratios: Vec<_> = sizes
            .iter()
            .map(|size| ratio(Metric::Bulk, *size))
            .collect();
        ratios.push(ratio(Metric::RoundTripP50, ROUND_TRIP_SIZE));
        any |= ratios.iter().any(Option::is_some);
        table.row(secure, ratios.into_iter().map(times));
    }
    if any {
        table.print();
    }
}

fn digits(figure: Option<f64>, digits: usize) -> String {
    figure.map_or_else(|| "–".to_owned(), |figure| format!("{figure:.digits$}"))
}

fn whole(figure: Option<f64>) -> String {
    digits(figure, 0)
}

fn one_digit(figure: Option<f64>) -> String {
    digits(figure, 1)
}

fn two_digits(figure: Option<f64>) -> String {
    digits(figure, 2)
}

fn times(figure: Option<f64>) -> String {
    two_digits(figure)
}

struct Table {
    title: &'static str,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(title: &'static str) -> Self {
        Self {
            title,
            rows: Vec::new(),
        }
    }

    fn row<C: Into<String>>(&mut self, name: &str, cells: impl IntoIterator<Item = C>) {
        let mut row = vec![name.to_owned()];
        row.extend(cells.into_iter().map(Into::into));
        self.rows.push(row);
    }

    fn print(&self) {
        println!("\n{}", self.title);
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = format!("  {:<width$}", row[0], width = widths[0]);
            for (cell, width) in row.iter().zip(&widths).skip(1) {
                line += "  ";
                line.extend(std::iter::repeat_n(' ', width - cell.chars().count()));
                line += cell;
            }
            println!("{line}");
        }
    }
}
