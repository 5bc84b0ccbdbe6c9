//! What makes a table a protocol. The compiler runs this for every `protocol!`.

use super::table::{END, Edge, MAX_NAME, Row};
use super::text::{Text, equal};

/// A sentence about what is wrong with a table.
pub(super) type Fault = Text<256>;

/// As many states or messages as a table may have.
const MOST: usize = 1024;

/// The largest message that a connection can be set to take, in bytes.
const MAX_SIZE: usize = 1024 * 1024 * 1024;

/// Which states are in a set, by their place in the table.
type Set = [bool; MOST];

/// The place of the state that an edge leads to; this for the end.
const END_PLACE: usize = usize::MAX;

/// What is wrong with a protocol's name, if anything is.
pub(super) const fn name(name: &str) -> Option<Fault> {
    let bytes = name.as_bytes();
    if bytes.is_empty() {
        return Some(Fault::new().and("a protocol has a name"));
    }
    if bytes.len() > MAX_NAME {
        let fault = Fault::new().and("the name of a protocol has at most ");
        return Some(fault.and_number(MAX_NAME as u64).and(" bytes"));
    }
    let mut index = 0;
    while index < bytes.len() {
        if bytes[index] == b'#' {
            return Some(Fault::new().and("the name of a protocol has no `#`"));
        }
        index += 1;
    }
    None
}

/// Why states and messages make no protocol, if they make none.
pub(super) const fn states(states: &[Row], edges: &[Edge]) -> Option<Fault> {
    if states.is_empty() {
        return Some(Fault::new().and("a protocol has a state to begin in"));
    }
    if states.len() > MOST || edges.len() > MOST {
        let fault = Fault::new().and("a protocol has at most ");
        let fault = fault.and_number(MOST as u64);
        return Some(fault.and(" states and as many messages"));
    }
    let (mut from, mut to) = ([0; MOST], [0; MOST]);
    let mut index = 0;
    while index < edges.len() {
        let edge = &edges[index];
        match (place_of(states, edge.from), place_of(states, edge.to)) {
            (Some(start), Some(end)) if start != END_PLACE => {
                from[index] = start;
                to[index] = end;
            }
            (Some(_), None) => return Some(unknown(edge.to)),
            _ => return Some(unknown(edge.from)),
        }
        index += 1;
    }
    if let Some(fault) = duplicate_state(states) {
        return Some(fault);
    }
    if let Some(fault) = duplicate_message(edges, &from) {
        return Some(fault);
    }
    let reached = reached(states.len(), edges.len(), &from, &to);
    let ending = ending(edges.len(), &from, &to);
    let mut row = 0;
    while row < states.len() {
        let sentence = Fault::new().and("state `").and(states[row].state);
        if !reached[row] {
            let sentence = sentence.and("` is unreachable: no messages lead to it from `");
            return Some(sentence.and(states[0].state).and("`, the first state"));
        }
        if !ending[row] {
            let sentence = sentence.and("` has no way to `End`: ");
            return Some(sentence.and("a session in it could never be closed"));
        }
        if states[row].deadline.is_zero() {
            return Some(sentence.and("` has a deadline of no time"));
        }
        if states[row].max_size > MAX_SIZE {
            return Some(sentence.and("` has messages of more than 1 GiB"));
        }
        row += 1;
    }
    None
}

const fn unknown(state: &str) -> Fault {
    let sentence = Fault::new().and("state `").and(state);
    sentence.and("` is not in the table")
}

const fn place_of(states: &[Row], name: &str) -> Option<usize> {
    if equal(name, END) {
        return Some(END_PLACE);
    }
    let mut row = 0;
    while row < states.len() {
        if equal(states[row].state, name) {
            return Some(row);
        }
        row += 1;
    }
    None
}

const fn duplicate_state(states: &[Row]) -> Option<Fault> {
    let mut row = 0;
    while row < states.len() {
        let state = states[row].state;
        let is_first = match place_of(states, state) {
            Some(place) => place == row,
            None => false,
        };
        if !is_first {
            let sentence = Fault::new().and("state `").and(state);
            return Some(sentence.and("` is in the table twice, or is called like the end"));
        }
        row += 1;
    }
    None
}

/// Messages of one state differ by their tags and by their names.
const fn duplicate_message(edges: &[Edge], from: &[usize; MOST]) -> Option<Fault> {
    let mut one = 0;
    while one < edges.len() {
        let mut other = 0;
        while other < one {
            if from[one] == from[other] {
                let (later, earlier) = (&edges[one], &edges[other]);
                let sentence = Fault::new().and("state `").and(later.from);
                if later.tag == earlier.tag {
                    let sentence = sentence.and("` has the tag ").and_number(later.tag as u64);
                    let sentence = sentence.and(" twice: for `").and(earlier.message);
                    return Some(sentence.and("` and `").and(later.message).and("`"));
                }
                if equal(later.message, earlier.message) {
                    let sentence = sentence.and("` has the message `").and(later.message);
                    return Some(sentence.and("` twice"));
                }
            }
            other += 1;
        }
        one += 1;
    }
    None
}

/// The states that a session can come to.
const fn reached(states: usize, edges: usize, from: &[usize; MOST], to: &[usize; MOST]) -> Set {
    let mut set = [false; MOST];
    set[0] = states > 0;
    let mut grows = true;
    while grows {
        grows = false;
        let mut index = 0;
        while index < edges {
            let (start, end) = (from[index], to[index]);
            if set[start] && end != END_PLACE && !set[end] {
                set[end] = true;
                grows = true;
            }
            index += 1;
        }
    }
    set
}

/// The states from which a session can come to its end.
const fn ending(edges: usize, from: &[usize; MOST], to: &[usize; MOST]) -> Set {
    let mut set = [false; MOST];
    let mut grows = true;
    while grows {
        grows = false;
        let mut index = 0;
        while index < edges {
            let (start, end) = (from[index], to[index]);
            if !set[start] && (end == END_PLACE || set[end]) {
                set[start] = true;
                grows = true;
            }
            index += 1;
        }
    }
    set
}
