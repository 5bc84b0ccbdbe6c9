use std::fmt::Write;

use super::is_raw;
use super::row::{Kind, Row};
use crate::arguments::BenchOptions;

/// The results for a terminal: a block for each transport, a line for each size.
pub(super) fn format(rows: &[Row], options: &BenchOptions) -> String {
    let columns = Columns::of(rows);
    let mut text = columns.header();
    let mut transport = "";
    for row in rows {
        if row.transport != transport {
            transport = &row.transport;
            text.push_str(&columns.rule());
            let _ = writeln!(text, "{transport}");
        }
        if row.kind == Kind::Rtt {
            text.push_str(&columns.line(rows, row));
        }
    }
    text.push_str(&columns.rule());
    text.push_str(&explanation(rows, options));
    text
}

/// A size as people say it.
pub(super) fn bytes(size: usize) -> String {
    const KIBI: usize = 1024;
    const MEBI: usize = KIBI * KIBI;
    match size {
        size if size >= MEBI && size.is_multiple_of(MEBI) => format!("{} MiB", size / MEBI),
        size if size >= KIBI && size.is_multiple_of(KIBI) => format!("{} KiB", size / KIBI),
        size => format!("{size} B"),
    }
}

/// How many processors the program may use.
pub(super) fn cores() -> String {
    match std::thread::available_parallelism() {
        Ok(cores) if cores.get() == 1 => "1 core".to_owned(),
        Ok(cores) => format!("{cores} cores"),
        Err(_) => "an unknown number of cores".to_owned(),
    }
}

/// What stands in the table beside the size: two columns for each number of channels, and the
/// round trip.
struct Columns {
    channels: Vec<usize>,
}

const SIZE_WIDTH: usize = 10;
const RATE_WIDTH: usize = 10;
const MESSAGES_WIDTH: usize = 13;
const TIME_WIDTH: usize = 11;

impl Columns {
    fn of(rows: &[Row]) -> Self {
        let bulk = rows.iter().filter(|row| row.kind == Kind::Bulk);
        let mut channels: Vec<_> = bulk.map(|row| row.channels).collect();
        channels.sort_unstable();
        channels.dedup();
        Self { channels }
    }

    fn header(&self) -> String {
        let mut first = " ".repeat(SIZE_WIDTH);
        let mut second = format!("{:>SIZE_WIDTH$}", "message");
        for &channels in &self.channels {
            let plural = if channels == 1 { "" } else { "s" };
            let title = format!("{channels} channel{plural}");
            let _ = write!(
                first,
                "{title:>width$}",
                width = RATE_WIDTH + MESSAGES_WIDTH
            );
            let _ = write!(
                second,
                "{:>RATE_WIDTH$}{:>MESSAGES_WIDTH$}",
                "MB/s", "messages/s"
            );
        }
        let _ = write!(first, "{:>width$}", "round trip", width = 2 * TIME_WIDTH);
        let _ = write!(second, "{:>TIME_WIDTH$}{:>TIME_WIDTH$}", "p50 µs", "p99 µs");
        format!("{first}\n{second}\n")
    }

    fn rule(&self) -> String {
        let rates = self.channels.len() * (RATE_WIDTH + MESSAGES_WIDTH);
        "─".repeat(SIZE_WIDTH + rates + 2 * TIME_WIDTH) + "\n"
    }

    fn line(&self, rows: &[Row], round_trip: &Row) -> String {
        let mut line = format!("{:>SIZE_WIDTH$}", bytes(round_trip.size));
        for &channels in &self.channels {
            let bulk = rows.iter().find(|row| {
                row.kind == Kind::Bulk
                    && row.channels == channels
                    && row.size == round_trip.size
                    && row.transport == round_trip.transport
            });
            let rate = bulk.map(|row| number(row.mb_per_s)).unwrap_or_default();
            let messages = bulk
                .map(|row| number(row.messages_per_s))
                .unwrap_or_default();
            let _ = write!(line, "{rate:>RATE_WIDTH$}{messages:>MESSAGES_WIDTH$}");
        }
        for time in [round_trip.p50_us, round_trip.p99_us] {
            let time = time.map(number).unwrap_or_default();
            let _ = write!(line, "{time:>TIME_WIDTH$}");
        }
        line + "\n"
    }
}

fn explanation(rows: &[Row], options: &BenchOptions) -> String {
    let mut text = String::from(
        "MB/s: 10^6 bytes of payload, serialised, sent, decoded and checked; more is better.\n\
         Round trip: one message there and back, alone; less is better.\n",
    );
    if rows.iter().any(is_raw) {
        text.push_str(
            "raw-tcp: one write per message, nothing framed or checked; a connection for each channel.\n",
        );
    }
    let _ = writeln!(
        text,
        "{}, {:?} each{}",
        cores(),
        options.seconds,
        if options.connect.is_none() {
            ", both ends in one process"
        } else {
            ""
        }
    );
    text
}

/// Three digits at least, thousands parted.
pub(super) fn number(value: f64) -> String {
    let decimals = if value < 10.0 {
        2
    } else {
        usize::from(value < 100.0)
    };
    let plain = format!("{value:.decimals$}");
    let (whole, fraction) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    let mut parted = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            parted.push(',');
        }
        parted.push(digit);
    }
    parted + fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_parted_thousands() {
        let written = [0.5, 12.34, 99.96, 100.0, 1234.5, 1_234_567.0].map(number);
        assert_eq!(
            written,
            ["0.50", "12.3", "100.0", "100", "1,234", "1,234,567"]
        );
    }

    #[test]
    fn sizes_are_written_as_people_say_them() {
        let written = [1, 1000, 1024, 65536, 1 << 20, 1536].map(bytes);
        assert_eq!(
            written,
            ["1 B", "1000 B", "1 KiB", "64 KiB", "1 MiB", "1536 B"]
        );
    }
}
