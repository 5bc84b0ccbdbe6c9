//! Measures sessionwire beside its peers on the same work. See README.md.

mod calls;
mod heap;
mod measure;
mod message;
mod network;
mod ours;
mod peer;
mod peers;
mod proxy;
mod report;
mod requests;
mod requirements;
mod results;
mod run;
mod sessions;

use std::path::PathBuf;

use lexopt::prelude::{Long, Short, Value, ValueExt};

use crate::measure::Contestant;
use crate::peer::Result;
use crate::results::Results;
use crate::run::Plan;

#[global_allocator]
static ALLOCATOR: heap::Counting = heap::Counting;

const USAGE: &str = "\
sessionwire-peers [bulk|latency|loaded|fat|sessions|requests|memory|calls|all]... [options]

  --rounds N        rounds, of which the median is shown (default 5)
  --seconds S       about how long one measurement sends (default 0.5)
  --only NAME,NAME  only contestants whose names begin so
  --size N,N        payload sizes of bulk, in bytes (default 64,1024,65536,1048576)
  --in-flight N,N   of requests, how many are asked at once (default 1,64,1024)
  --threads N       threads that run the tasks (default 2); memory and calls always have two
  --json FILE       writes every round's figures
  --list            prints the contestants' names
";

const PARTS: [&str; 8] = [
    "bulk", "latency", "loaded", "fat", "sessions", "requests", "memory", "calls",
];

struct Options {
    parts: Vec<String>,
    rounds: usize,
    seconds: f64,
    only: Vec<String>,
    sizes: Vec<usize>,
    in_flight: Vec<usize>,
    json: Option<PathBuf>,
}

fn main() -> Result<()> {
    let mut contestants = ours::table();
    contestants.extend(peers::table());
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["heap-opener", name, port] => return heap_side(&contestants, name, Some(port.parse()?)),
        ["heap-acceptor", name] => return heap_side(&contestants, name, None),
        ["round-trips", name, count] => {
            let contestant = find(&contestants, name)?;
            let future = contestant.traced_round_trips(count.parse()?);
            return contestant.runtime().run(future);
        }
        _ => {}
    }

    let Some(options) = parse(&contestants)? else {
        return Ok(());
    };
    let chosen = !options.only.is_empty();
    contestants.retain(|contestant| {
        let begins = |beginning: &String| contestant.name().starts_with(beginning.as_str());
        !chosen || options.only.iter().any(begins)
    });
    let plan = Plan {
        contestants: &contestants,
        rounds: options.rounds,
        only: &options.only,
        seconds: options.seconds,
        sizes: &options.sizes,
        in_flight: &options.in_flight,
        chosen,
    };
    let mut results = Results::default();
    for part in &options.parts {
        match part.as_str() {
            "bulk" => {
                plan.bulk(&mut results);
                report::bulk(&results, &contestants, &options.sizes);
            }
            "latency" => {
                plan.latency(&mut results);
                report::latency(&results, &contestants);
            }
            "loaded" => {
                plan.loaded(&mut results);
                report::loaded(&results, &contestants);
            }
            "fat" => {
                plan.fat(&mut results);
                report::fat(&results, &contestants);
            }
            "sessions" => {
                plan.sessions(&mut results);
                report::sessions(&results);
            }
            "requests" => {
                plan.requests(&mut results);
                report::requests(&results, &options.in_flight);
            }
            "memory" => {
                plan.memory(&mut results);
                report::memory(&results, &contestants);
            }
            _ => {
                plan.calls(&mut results);
                report::calls(&results, &contestants);
            }
        }
    }
    report::encrypted(&results, &options.sizes);
    requirements::print(&results);
    if let Some(path) = &options.json {
        results.write_json(path)?;
    }
    Ok(())
}

/// Nothing when the arguments only asked for information.
fn parse(contestants: &[Box<dyn Contestant>]) -> Result<Option<Options>> {
    let mut options = Options {
        parts: Vec::new(),
        rounds: 5,
        seconds: 0.5,
        only: Vec::new(),
        sizes: requirements::SIZES.to_vec(),
        in_flight: requests::IN_FLIGHT.to_vec(),
        json: None,
    };
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("rounds") => options.rounds = arguments.value()?.parse()?,
            Long("seconds") => options.seconds = arguments.value()?.parse()?,
            Long("only") => {
                options.only = arguments
                    .value()?
                    .string()?
                    .split(',')
                    .map(str::to_owned)
                    .collect();
            }
            Long("size") => options.sizes = numbers(&arguments.value()?.string()?)?,
            Long("in-flight") => options.in_flight = numbers(&arguments.value()?.string()?)?,
            Long("threads") => peer::use_threads(arguments.value()?.parse()?),
            Long("json") => options.json = Some(arguments.value()?.into()),
            Long("list") => {
                for contestant in contestants {
                    println!("{}", contestant.name());
                }
                return Ok(None);
            }
            Long("help") | Short('h') => {
                print!("{USAGE}");
                return Ok(None);
            }
            Value(part) if part == "all" => options.parts = PARTS.map(str::to_owned).to_vec(),
            Value(part) if PARTS.iter().any(|known| part == *known) => {
                options.parts.push(part.string()?);
            }
            other => return Err(format!("{}\n{USAGE}", other.unexpected()).into()),
        }
    }
    if options.parts.is_empty() {
        options.parts = PARTS.map(str::to_owned).to_vec();
    }
    Ok(Some(options))
}

fn numbers(text: &str) -> Result<Vec<usize>> {
    let numbers: std::result::Result<_, _> = text.split(',').map(str::parse).collect();
    Ok(numbers?)
}

fn find<'a>(contestants: &'a [Box<dyn Contestant>], name: &str) -> Result<&'a dyn Contestant> {
    let found = contestants
        .iter()
        .find(|contestant| contestant.name() == name);
    Ok(found.ok_or("no such contestant")?.as_ref())
}

/// One side of `heap::measure`, in a process of its own.
fn heap_side(contestants: &[Box<dyn Contestant>], name: &str, port: Option<u16>) -> Result<()> {
    let contestant = find(contestants, name)?;
    heap::start_counting();
    let future = match port {
        Some(port) => contestant.heap_of_opener(port),
        None => contestant.heap_of_acceptor(),
    };
    println!(
        "{}",
        serde_json::to_string(&contestant.runtime().run(future)?)?
    );
    Ok(())
}
