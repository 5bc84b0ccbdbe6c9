//! All small tables: what the check says of each is what a model written anew says.

use std::collections::BTreeSet;
use std::time::Duration;

use sessionwire::session::{Edge, Row, Table, Turn};

const NAMES: [&str; 4] = ["A", "B", "C", "End"];
const MESSAGES: [&str; 2] = ["One", "Other"];

/// A state of a small table: its messages, each a tag, a name and where it leads.
type Messages = Vec<(u8, usize, usize)>;

/// All ways for a state to have up to two messages that lead to one of `targets`.
fn choices(targets: usize) -> Vec<Messages> {
    let single: Vec<_> = (0..2_u8)
        .flat_map(|tag| (0..2).map(move |name| (tag, name)))
        .flat_map(|(tag, name)| (0..targets).map(move |to| (tag, name, to)))
        .collect();
    let mut all = vec![vec![]];
    // The first message is tag 0 and name 0 but for symmetry.
    let firsts = single
        .iter()
        .filter(|(tag, name, _)| (*tag, *name) == (0, 0));
    for first in firsts {
        all.push(vec![*first]);
        all.extend(single.iter().map(|second| vec![*first, *second]));
    }
    all
}

/// What a table is, by following it: the model.
fn is_protocol(states: &[Messages]) -> bool {
    let end = states.len();
    for messages in states {
        if let [(tag, name, _), (other_tag, other_name, _)] = messages[..]
            && (tag == other_tag || name == other_name)
        {
            return false;
        }
    }
    let walk_from = |start: usize| {
        let (mut seen, mut waiting) = (BTreeSet::from([start]), vec![start]);
        while let Some(state) = waiting.pop() {
            for (_, _, to) in states.get(state).into_iter().flatten() {
                if seen.insert(*to) {
                    waiting.push(*to);
                }
            }
        }
        seen
    };
    let from_first = walk_from(0);
    (0..end).all(|state| from_first.contains(&state) && walk_from(state).contains(&end))
}

fn checked(states: &[Messages]) -> Result<(), String> {
    let name = |place: usize| {
        if place == states.len() {
            "End"
        } else {
            NAMES[place]
        }
    };
    let rows: Vec<Row> = (0..states.len())
        .map(|place| Row {
            state: name(place),
            turn: if place % 2 == 0 {
                Turn::Client
            } else {
                Turn::Server
            },
            deadline: Duration::from_secs(1),
            max_size: 1,
        })
        .collect();
    let edges: Vec<Edge> = (0..states.len())
        .flat_map(|place| {
            states[place].iter().map(move |(tag, message, to)| Edge {
                from: name(place),
                tag: *tag,
                message: MESSAGES[*message],
                to: name(*to),
            })
        })
        .collect();
    Table::check(&rows, &edges)
}

#[test]
fn every_table_of_up_to_three_states_is_judged_right() {
    let (mut good, mut bad) = (0, BTreeSet::new());
    let mut judge = |states: &[Messages]| {
        let verdict = checked(states);
        assert_eq!(
            verdict.is_ok(),
            is_protocol(states),
            "{states:?}: {verdict:?}"
        );
        match verdict {
            Ok(()) => good += 1,
            Err(sentence) => {
                // What is wrong, without the names.
                let words = sentence.split('`').step_by(2).collect::<String>();
                bad.insert(words.replace(|letter: char| letter.is_ascii_digit(), ""));
            }
        }
    };
    for one in choices(2) {
        judge(&[one]);
    }
    for one in choices(3) {
        for two in choices(3) {
            judge(&[one.clone(), two]);
        }
    }
    let all = choices(4);
    for one in &all {
        for two in &all {
            for three in &all {
                judge(&[one.clone(), two.clone(), three.clone()]);
            }
        }
    }
    assert!(good > 1_000, "{good} protocols");
    assert_eq!(bad.len(), 4, "tag, message, unreachable, endless: {bad:?}");
}

fn row(state: &'static str) -> Row {
    Row {
        state,
        turn: Turn::Client,
        deadline: Duration::from_secs(1),
        max_size: 1,
    }
}

fn edge(from: &'static str, tag: u8, message: &'static str, to: &'static str) -> Edge {
    Edge {
        from,
        tag,
        message,
        to,
    }
}

#[test]
fn each_fault_has_its_sentence() {
    let end = edge("A", 0, "One", "End");
    let late = Row {
        deadline: Duration::ZERO,
        ..row("A")
    };
    let wide = Row {
        max_size: (1 << 30) + 1,
        ..row("A")
    };
    let cases: [(&[Row], &[Edge], &str); 10] = [
        (&[], &[], "a protocol has a state to begin in"),
        (
            &[row("A")],
            &[edge("A", 0, "One", "B")],
            "state `B` is not in the table",
        ),
        (
            &[row("A")],
            &[edge("B", 0, "One", "A")],
            "state `B` is not in the table",
        ),
        (
            &[row("A"), row("A")],
            &[end],
            "state `A` is in the table twice, or is called like the end",
        ),
        (
            &[row("End")],
            &[],
            "state `End` is in the table twice, or is called like the end",
        ),
        (
            &[row("A")],
            &[end, edge("A", 0, "Other", "End")],
            "state `A` has the tag 0 twice: for `One` and `Other`",
        ),
        (
            &[row("A")],
            &[end, edge("A", 1, "One", "End")],
            "state `A` has the message `One` twice",
        ),
        (
            &[row("A"), row("B")],
            &[end, edge("B", 0, "One", "End")],
            "state `B` is unreachable: no messages lead to it from `A`, the first state",
        ),
        (&[late], &[end], "state `A` has a deadline of no time"),
        (&[wide], &[end], "state `A` has messages of more than 1 GiB"),
    ];
    for (states, edges, sentence) in cases {
        assert_eq!(Table::check(states, edges), Err(sentence.to_owned()));
    }
    let endless = Table::check(&[row("A")], &[edge("A", 0, "One", "A")]);
    assert_eq!(
        endless.expect_err("it goes on for ever"),
        "state `A` has no way to `End`: a session in it could never be closed"
    );
    assert_eq!(Table::check(&[row("A")], &[end]), Ok(()));
    let largest = Row {
        max_size: 1 << 30,
        ..row("A")
    };
    assert_eq!(Table::check(&[largest], &[end]), Ok(()));
}

#[test]
fn a_table_may_have_1024_states_and_messages_and_no_more() {
    let names: Vec<&'static str> = (0..1025)
        .map(|number| &*format!("S{number}").leak())
        .collect();
    let chain = |length: usize| {
        let rows: Vec<Row> = names[..length].iter().map(|name| row(name)).collect();
        let target = |place: usize| {
            if place + 1 == length {
                "End"
            } else {
                names[place + 1]
            }
        };
        let edges: Vec<Edge> = (0..length)
            .map(|place| edge(names[place], 0, "Next", target(place)))
            .collect();
        Table::check(&rows, &edges)
    };
    assert_eq!(chain(1024), Ok(()));
    assert_eq!(
        chain(1025),
        Err("a protocol has at most 1024 states and as many messages".to_owned())
    );
}

#[test]
fn a_name_fits_on_the_wire_or_is_refused() {
    let of = |name: &'static str| {
        let row: &'static [Row] = Box::leak(Box::new([row("A")]));
        let edges: &'static [Edge] = Box::leak(Box::new([edge("A", 0, "One", "End")]));
        std::panic::catch_unwind(|| {
            let table = Table::new(name, 1, row, edges);
            table.validate();
            table.wire_name().len()
        })
    };
    let longest: &'static str = "n".repeat(238).leak();
    assert_eq!(of(longest).expect("238 bytes fit"), 255);
    for refused in ["n".repeat(239).leak(), "", "a#b"] {
        assert!(of(refused).is_err(), "{refused:?}");
    }
}
