//! Runs the parts: in every round each contestant once, in the same order.

use std::time::Duration;

use crate::calls;
use crate::heap;
use crate::measure::{Bulk, Contestant, LONG_FAT_PIPE_SIZE, ROUND_TRIP_SIZE, RoundTrips, Samples};
use crate::peer::Result;
use crate::requests;
use crate::requirements::{CROWD, LOAD_SIZE};
use crate::results::{Key, Metric, Results};
use crate::sessions::{self, AT_ONCE};

pub const LONG_FAT_PIPE_SECONDS: f64 = 5.0;

pub struct Plan<'a> {
    pub contestants: &'a [Box<dyn Contestant>],
    pub rounds: usize,
    /// Beginnings of names.
    pub only: &'a [String],
    pub seconds: f64,
    pub sizes: &'a [usize],
    /// Requests at once.
    pub in_flight: &'a [usize],
    /// Whether the contestants were chosen by name, so that a part leaves none of them out as uninteresting.
    pub chosen: bool,
}

impl Plan<'_> {
    pub fn bulk(&self, results: &mut Results) {
        for &size in self.sizes {
            let mut entries = Vec::new();
            for contestant in self.contestants {
                for channels in [1, CROWD] {
                    if (channels == 1 || contestant.multiplexes())
                        && let Some(work) = self.calibrate(contestant.as_ref(), size, channels)
                    {
                        entries.push((contestant, work));
                    }
                }
            }
            for _ in 0..self.rounds {
                for (contestant, work) in &entries {
                    let key = Key::new(Metric::Bulk, contestant.name(), size, work.channels);
                    let elapsed = complain(key, contestant.runtime().run(contestant.bulk(*work)));
                    let bytes = work.count as f64 * size as f64;
                    results.add(
                        key,
                        elapsed.map_or(f64::NAN, |elapsed| bytes / elapsed.as_secs_f64()),
                    );
                }
            }
        }
    }

    /// Finds how many messages take about as long as wanted, which also warms up.
    fn calibrate(&self, contestant: &dyn Contestant, size: usize, channels: usize) -> Option<Bulk> {
        let enough = Duration::from_secs_f64((self.seconds / 5.0).min(0.1));
        let mut work = Bulk {
            size,
            channels,
            count: 8 * channels as u64,
        };
        loop {
            let key = Key::new(Metric::Bulk, contestant.name(), size, channels);
            let elapsed = complain(key, contestant.runtime().run(contestant.bulk(work)))?;
            if elapsed >= enough {
                let count = work.count as f64 * self.seconds / elapsed.as_secs_f64();
                let each = (count as u64 / channels as u64).max(2);
                return Some(Bulk {
                    count: each * channels as u64,
                    ..work
                });
            }
            work.count *= 4;
        }
    }

    pub fn latency(&self, results: &mut Results) {
        let work = RoundTrips {
            duration: Duration::from_secs_f64(self.seconds),
            load: None,
        };
        for _ in 0..self.rounds {
            for contestant in self.contestants {
                let name = contestant.name();
                let key = |metric| Key::new(metric, name, ROUND_TRIP_SIZE, 1);
                let samples = contestant.runtime().run(contestant.round_trips(work));
                let [p50, p99] = percentiles(complain(key(Metric::RoundTripP50), samples));
                results.add(key(Metric::RoundTripP50), p50);
                results.add(key(Metric::RoundTripP99), p99);
            }
        }
    }

    /// Multiplexers on two channels; the others on two connections.
    pub fn loaded(&self, results: &mut Results) {
        let work = RoundTrips {
            duration: Duration::from_secs_f64(self.seconds * 2.0),
            load: Some(LOAD_SIZE),
        };
        for _ in 0..self.rounds {
            for contestant in self.contestants {
                let name = contestant.name();
                let two_connections = name.starts_with("asynchronous-codec");
                if !(self.chosen || contestant.multiplexes() || two_connections) {
                    continue;
                }
                let key = |metric| Key::new(metric, name, LOAD_SIZE, 2);
                let samples = contestant.runtime().run(contestant.round_trips(work));
                let samples = complain(key(Metric::LoadedP99), samples);
                let load = samples
                    .as_ref()
                    .map_or(f64::NAN, |samples| samples.load_bytes_per_second);
                results.add(key(Metric::LoadedBulk), load);
                let [p50, p99] = percentiles(samples);
                results.add(key(Metric::LoadedP50), p50);
                results.add(key(Metric::LoadedP99), p99);
            }
        }
    }

    pub fn fat(&self, results: &mut Results) {
        for _ in 0..self.rounds {
            for contestant in self.contestants {
                let interesting = contestant.multiplexes() || contestant.name().starts_with("tcp");
                if !contestant.uses_network() || !(self.chosen || interesting) {
                    continue;
                }
                let key = Key::new(
                    Metric::LongFatPipe,
                    contestant.name(),
                    LONG_FAT_PIPE_SIZE,
                    1,
                );
                let bytes = contestant
                    .runtime()
                    .run(contestant.long_fat_pipe(LONG_FAT_PIPE_SECONDS));
                results.add(
                    key,
                    complain(key, bytes).map_or(f64::NAN, |bytes| bytes as f64),
                );
            }
        }
    }

    /// Whoever can open and close many.
    pub fn sessions(&self, results: &mut Results) {
        for _ in 0..self.rounds {
            for conversing in sessions::table() {
                for at_once in AT_ONCE {
                    let name = conversing.name();
                    let key = Key::new(Metric::Sessions, name, ROUND_TRIP_SIZE, at_once);
                    let held = conversing.sessions(at_once, self.seconds);
                    let held = complain(key, conversing.runtime().run(held));
                    results.add(key, held.map_or(f64::NAN, |held| held.per_second));
                }
            }
        }
    }

    /// Whoever asks and answers.
    pub fn requests(&self, results: &mut Results) {
        for _ in 0..self.rounds {
            for asking in requests::table() {
                let name = asking.name();
                let begins = |beginning: &String| name.starts_with(beginning.as_str());
                if self.chosen && !self.only.iter().any(begins) {
                    continue;
                }
                for &in_flight in self.in_flight {
                    let key = |metric| Key::new(metric, name, ROUND_TRIP_SIZE, in_flight);
                    let asked = asking.sessions(in_flight, self.seconds);
                    let asked = complain(key(Metric::Requests), asking.runtime().run(asked));
                    let [rate, p50, p99] = asked.map_or([f64::NAN; 3], |asked| {
                        let [p50, p99] = [0.5, 0.99]
                            .map(|share| asked.times.value_at_quantile(share) as f64 / 1e3);
                        [asked.per_second, p50, p99]
                    });
                    results.add(key(Metric::Requests), rate);
                    results.add(key(Metric::RequestsP50), p50);
                    results.add(key(Metric::RequestsP99), p99);
                }
            }
        }
    }

    /// Once: these figures vary little.
    pub fn calls(&self, results: &mut Results) {
        for contestant in self.contestants {
            let key = |metric| Key::new(metric, contestant.name(), ROUND_TRIP_SIZE, 1);
            let report = calls::measure(contestant.name());
            if let Some(report) = complain(key(Metric::SocketCalls), report) {
                results.add(key(Metric::SocketCalls), report.socket);
                results.add(key(Metric::AllCalls), report.all);
            }
        }
    }

    /// Once: these figures do not vary.
    pub fn memory(&self, results: &mut Results) {
        for contestant in self
            .contestants
            .iter()
            .filter(|contestant| contestant.uses_network())
        {
            let key = |metric, size| Key::new(metric, contestant.name(), size, 1);
            let reports = heap::measure(contestant.name());
            let Some([opener, acceptor]) = complain(key(Metric::OpenerConnection, 0), reports)
            else {
                continue;
            };
            for (report, connection, channel, allocations) in [
                (
                    opener,
                    Metric::OpenerConnection,
                    Metric::OpenerChannel,
                    Metric::OpenerAllocations,
                ),
                (
                    acceptor,
                    Metric::AcceptorConnection,
                    Metric::AcceptorChannel,
                    Metric::AcceptorAllocations,
                ),
            ] {
                results.add(
                    key(connection, 0),
                    report.connection - report.channel.unwrap_or(0.0),
                );
                if let Some(bytes) = report.channel {
                    results.add(key(channel, 0), bytes);
                }
                for ((size, _), per_message) in heap::RUNS.into_iter().zip(report.allocations) {
                    results.add(key(allocations, size), per_message);
                }
            }
        }
    }
}

/// A contestant that fails is left out, loudly.
fn complain<T>(key: Key, outcome: Result<T>) -> Option<T> {
    outcome
        .inspect_err(|error| eprintln!("{key:?} failed: {error}"))
        .ok()
}

/// The 50th and the 99th, in microseconds; `NAN` when there are no samples.
fn percentiles(samples: Option<Samples>) -> [f64; 2] {
    let mut times = samples.map(|samples| samples.times).unwrap_or_default();
    times.sort_unstable();
    let last = times.len().saturating_sub(1) as f64;
    [0.5, 0.99].map(|share| {
        times
            .get((last * share) as usize)
            .map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
    })
}
