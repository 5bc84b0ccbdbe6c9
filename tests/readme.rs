//! Holds what README.md and docs/limits.md say to the code.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::collections::BTreeMap;
use std::time::Duration;

use sessionwire::Config;
use sessionwire::node::NodeConfig;
use sessionwire::node::book::BookConfig;
use sessionwire::rpc::{
    CallLimits, CallOptions, ClientConfig, FeedLimits, LinkConfig, SubscribeOptions, TopicLimits,
};
use sessionwire::session::Limits;
use sessionwire::transport::{TransportConfig, WsConfig, WsText};

#[test]
fn the_limits_of_a_connection_are_those_in_the_code() {
    assert_eq!(
        table("set on `Config`"),
        fields(&format!("{:?}", Config::default()))
    );
}

#[test]
fn the_limits_of_a_transport_are_those_in_the_code() {
    let config = format!("{:?}", TransportConfig::default());
    // What is no limit, or has a table of its own, comes last.
    let (limits, _) = config.split_once(", websocket: ").unwrap();
    assert_eq!(table("set on `transport::TransportConfig`"), fields(limits));
}

#[test]
fn the_limits_of_a_websocket_are_those_in_the_code() {
    assert_eq!(
        table("set on the `transport::WsConfig`"),
        fields(&format!("{:?}", WsConfig::default()))
    );
}

#[test]
fn the_limits_of_sessions_are_those_in_the_code() {
    assert_eq!(
        table("set on `session::Limits`"),
        fields(&format!("{:?}", Limits::default()))
    );
}

#[test]
fn the_limits_of_calls_subscriptions_and_nodes_are_those_in_the_code() {
    let feeds = (TopicLimits::default(), FeedLimits::default());
    let all = [
        ("`rpc::LinkConfig`", format!("{:?}", LinkConfig::default())),
        (
            "`rpc::ClientConfig`",
            format!("{:?}", ClientConfig::default()),
        ),
        (
            "`rpc::CallOptions`",
            format!("{:?}", CallOptions::default()),
        ),
        (
            "`rpc::SubscribeOptions`",
            format!("{:?}", SubscribeOptions::default()),
        ),
        ("`rpc::CallLimits`", format!("{:?}", CallLimits::default())),
        ("`rpc::TopicLimits`", format!("{feeds:?}")),
        ("`node::NodeConfig`", format!("{:?}", NodeConfig::default())),
        (
            "`node::book::BookConfig`",
            format!("{:?}", BookConfig::default()),
        ),
    ];
    for (settings, debug) in all {
        assert_told(settings, &debug);
    }
}

#[cfg(feature = "redis")]
#[test]
fn the_limits_of_topics_over_redis_are_those_in_the_code() {
    let config = sessionwire::rpc::RedisConfig::default();
    assert_told("`rpc::RedisConfig`", &format!("{config:?}"));
}

#[test]
fn the_diagram_is_the_one_of_the_program_above_it() {
    use sessionwire::protocol;
    protocol! {
        Measure = "measure" version 1;
        Idle: Client(secs(60), 4 * KIB) { 0 Text: String => Asked, 1 Bye: () => End }
        Asked: Server(secs(10), 16) { 0 Length: u64 => Idle }
    }
    let readme = include_str!("../README.md");
    assert!(readme.contains(&format!("```mermaid\n{}```", Measure::mermaid())));
}

#[test]
fn the_features_are_those_of_cargo() {
    let (_, features) = include_str!("../Cargo.toml")
        .split_once("[features]")
        .unwrap();
    let (features, _) = features.split_once("\n[").unwrap();
    let named = |line: &str| Some(line.split_once(" = ")?.0.to_owned());
    let mut known: Vec<String> = features.lines().filter_map(named).collect();
    known.retain(|name| name != "default" && !name.starts_with("__"));
    known.sort();
    let mut described: Vec<String> = rows("## Features").map(|row| name(row[0])).collect();
    described.sort();
    assert_eq!(described, known);
}

/// Each setting of a table has the value that is said there.
fn assert_told(settings: &str, debug: &str) {
    for (name, value) in table(&format!("set on {settings}")) {
        let field = format!("{name}: {value}");
        let found = debug.match_indices(&field).any(|(start, _)| {
            let before = debug[..start].ends_with(' ');
            before && debug[start + field.len()..].starts_with([',', ' '])
        });
        assert!(found, "{settings}: {field} is not in {debug}");
    }
}

/// The settings and values of the first table after `heading`, as `Debug` writes them.
fn table(heading: &str) -> BTreeMap<String, String> {
    rows(heading)
        .map(|row| (name(row[0]), value(row[1])))
        .collect()
}

fn rows(heading: &str) -> impl Iterator<Item = Vec<&'static str>> {
    let limits = include_str!("../docs/limits.md");
    let (_, rest) = [limits, include_str!("../README.md")]
        .iter()
        .find_map(|text| text.split_once(heading))
        .unwrap();
    rest.lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
}

/// The field that a setting is kept in.
fn name(cell: &str) -> String {
    let plain = cell.replace('`', "");
    match plain.strip_prefix("abuse_limit, ") {
        Some(part) => format!("abuse_{}", part.replace(' ', "_")),
        None => plain,
    }
}

fn value(cell: &str) -> String {
    let (number, unit) = cell.split_once(' ').unwrap_or((cell, ""));
    match cell {
        "rejected" => return format!("{:?}", WsText::Rejected),
        "any number" => return u32::MAX.to_string(),
        _ => {}
    }
    let number: u64 = number.parse().unwrap();
    match unit {
        "" => number.to_string(),
        "KiB" => (number * 1024).to_string(),
        "MiB" => (number * 1024 * 1024).to_string(),
        "s" => format!("{:?}", Duration::from_secs(number)),
        "ms" => format!("{:?}", Duration::from_millis(number)),
        other => panic!("unknown unit {other:?}"),
    }
}

/// The fields of a struct from what `Debug` writes of it.
fn fields(debug: &str) -> BTreeMap<String, String> {
    let (_, inner) = debug.split_once(" { ").unwrap();
    inner
        .trim_end_matches(" }")
        .split(", ")
        .map(|field| field.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}
