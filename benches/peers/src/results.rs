//! The figures of a run, by round.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::peer::Result;

/// What a figure is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Payload bytes per second.
    Bulk,
    /// Microseconds.
    RoundTripP50,
    RoundTripP99,
    LoadedP50,
    LoadedP99,
    /// Payload bytes per second of the load.
    LoadedBulk,
    /// Payload bytes in the first seconds.
    LongFatPipe,
    /// Conversations per second: opened, used once, closed.
    Sessions,
    /// Answers per second, and the microseconds until one is there.
    Requests,
    RequestsP50,
    RequestsP99,
    /// Bytes, at the opener and at the acceptor.
    OpenerConnection,
    AcceptorConnection,
    OpenerChannel,
    AcceptorChannel,
    /// Allocations per message.
    OpenerAllocations,
    AcceptorAllocations,
    /// System calls per message of a ping-pong: on sockets, and all.
    SocketCalls,
    AllCalls,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Key {
    pub metric: Metric,
    pub contestant: &'static str,
    pub size: usize,
    pub channels: usize,
}

impl Key {
    pub fn new(metric: Metric, contestant: &'static str, size: usize, channels: usize) -> Self {
        Self {
            metric,
            contestant,
            size,
            channels,
        }
    }
}

#[derive(Default)]
pub struct Results {
    figures: BTreeMap<Key, Vec<f64>>,
}

#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    key: &'a Key,
    median: f64,
    rounds: &'a [f64],
}

impl Results {
    /// One round's figure; `NAN` when the contestant failed, so that the rounds stay aligned.
    pub fn add(&mut self, key: Key, figure: f64) {
        self.figures.entry(key).or_default().push(figure);
    }

    pub fn median(&self, key: Key) -> Option<f64> {
        self.figures.get(&key).and_then(|rounds| median(rounds))
    }

    /// The median of the rounds' ratios: what drifts between rounds cancels out.
    pub fn ratio(&self, numerator: Key, denominator: Key) -> Option<f64> {
        let (above, below) = (
            self.figures.get(&numerator)?,
            self.figures.get(&denominator)?,
        );
        let ratios: Vec<f64> = above
            .iter()
            .zip(below)
            .map(|(above, below)| above / below)
            .collect();
        median(&ratios)
    }

    pub fn write_json(&self, path: &Path) -> Result<()> {
        let rows: Vec<_> = self
            .figures
            .iter()
            .filter_map(|(key, rounds)| {
                Some(Row {
                    key,
                    median: median(rounds)?,
                    rounds,
                })
            })
            .collect();
        Ok(std::fs::write(path, serde_json::to_string_pretty(&rows)?)?)
    }
}

pub fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted: Vec<f64> = figures
        .iter()
        .copied()
        .filter(|figure| figure.is_finite())
        .collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        Some(f64::midpoint(
            *sorted.get(middle.checked_sub(1)?)?,
            *sorted.get(middle)?,
        ))
    } else {
        sorted.get(middle).copied()
    }
}
