use std::io;
use std::time::Duration;

use serde::Serialize;

use crate::failure::Failure;

/// A measurement's result, as the JSON has it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    pub(super) transport: String,
    pub(super) kind: Kind,
    pub(super) size: usize,
    pub(super) channels: usize,
    pub(super) messages: u64,
    pub(super) seconds: f64,
    pub(super) mb_per_s: f64,
    pub(super) messages_per_s: f64,
    pub(super) p50_us: Option<f64>,
    pub(super) p99_us: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Bulk,
    Rtt,
}

/// Messages, and the time from before the first until the last was checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bulk {
    pub(super) messages: u64,
    pub(super) elapsed: Duration,
}

/// The time of each round trip.
#[derive(Debug)]
pub(super) struct RoundTrips {
    pub(super) times: Vec<Duration>,
    pub(super) elapsed: Duration,
}

impl Row {
    pub(super) fn bulk(transport: String, size: usize, channels: usize, bulk: Bulk) -> Self {
        let seconds = bulk.elapsed.as_secs_f64();
        let messages_per_s = rate(bulk.messages, seconds);
        Self {
            transport,
            kind: Kind::Bulk,
            size,
            channels,
            messages: bulk.messages,
            seconds,
            mb_per_s: megabytes(messages_per_s, size),
            messages_per_s,
            p50_us: None,
            p99_us: None,
        }
    }

    pub(super) fn round_trips(transport: String, size: usize, trips: RoundTrips) -> Self {
        let RoundTrips { mut times, elapsed } = trips;
        times.sort_unstable();
        let seconds = elapsed.as_secs_f64();
        let messages = times.len() as u64;
        let messages_per_s = rate(messages, seconds);
        Self {
            transport,
            kind: Kind::Rtt,
            size,
            channels: 1,
            messages,
            seconds,
            mb_per_s: megabytes(messages_per_s, size),
            messages_per_s,
            p50_us: percentile(&times, 50),
            p99_us: percentile(&times, 99),
        }
    }
}

/// All rows as an array.
pub(super) fn to_json(rows: &[Row]) -> Result<String, Failure> {
    let json = serde_json::to_string_pretty(rows).map_err(io::Error::from)?;
    Ok(json + "\n")
}

#[expect(
    clippy::cast_precision_loss,
    reason = "nobody counts beyond 2^52 messages"
)]
fn rate(messages: u64, seconds: f64) -> f64 {
    messages as f64 / seconds.max(f64::MIN_POSITIVE)
}

#[expect(clippy::cast_precision_loss, reason = "sizes end at 64 MiB")]
fn megabytes(messages_per_s: f64, size: usize) -> f64 {
    messages_per_s * size as f64 / 1e6
}

/// The smallest time that so many percent of all do not exceed, in microseconds.
fn percentile(sorted: &[Duration], percent: usize) -> Option<f64> {
    let rank = sorted.len().checked_mul(percent)?.div_ceil(100).max(1);
    let time = sorted.get(rank - 1)?;
    Some(time.as_secs_f64() * 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let times: Vec<_> = (1..=200).map(Duration::from_micros).collect();
        let near = |percent: usize, expected: f64| {
            let found = percentile(&times, percent).unwrap();
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        };
        near(50, 100.0);
        near(99, 198.0);
        assert!(percentile(&[], 50).is_none());
    }
}
