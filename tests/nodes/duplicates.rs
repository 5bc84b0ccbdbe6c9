//! Nodes that dial each other at once.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use sessionwire::node::{Node, NodeEvent, PeerId};
use sessionwire::runtime::Runtime;

use sessionwire::transport::pipe;

use super::impostor::{Impostor, hello};
use super::stage::{SECOND, Say, Stage, Talk, id, received, told};

const MESSAGES: u64 = 20;

/// Rounds of a race: enough to find what is rare, `SESSIONWIRE_ROUNDS` for more.
fn rounds(default: u64) -> u64 {
    let set = std::env::var("SESSIONWIRE_ROUNDS").ok();
    set.map_or(default, |text| text.parse().expect("a number"))
}

/// Every node dials every other at some moment, and sends numbers from the first moment on.
fn race(seed: u64, count: u8) {
    let random = &mut SmallRng::seed_from_u64(seed);
    let stage = Stage::default();
    let nodes: Vec<Node<Talk>> = (1..=count).map(|number| stage.node(number)).collect();
    let mut events = Vec::new();
    for node in &nodes {
        events.push(node.events());
        greet_all(&stage, node, random.random());
    }
    let mut dials = Vec::new();
    for (place, one) in nodes.iter().enumerate() {
        for (other_place, other) in nodes.iter().enumerate() {
            if place == other_place {
                continue;
            }
            let (here, there, _) = stage.cable(random, 20);
            let delay = Duration::from_millis(random.random_range(0..100));
            let (one, other, clock) = (one.clone(), other.clone(), stage.clock.clone());
            dials.push(stage.task(async move {
                clock.sleep_until(clock.now() + delay).await;
                other.accept_over(there);
                let peer = one.dial_over(here, None).await;
                (other.id(), peer.map(|peer| peer.id()))
            }));
        }
    }
    stage.advance(20 * SECOND);
    for dial in dials {
        let (expected, dialed) = dial.output().expect("an end of the dial");
        assert_eq!(dialed.expect("a peer"), expected, "seed {seed}");
    }
    let others = usize::from(count) - 1;
    for (node, mut events) in nodes.iter().zip(events) {
        let occupancy = node.occupancy();
        let places = occupancy.inbound + occupancy.outbound + occupancy.pending;
        assert_eq!(places, others, "seed {seed}: one connection each");
        let happened = told(&mut events);
        let mut ups: Vec<_> = happened[1..].to_vec();
        ups.sort();
        let all = (1..=count).filter(|number| id(*number) != node.id());
        let expected: Vec<_> = all.map(|number| format!("up {number}")).collect();
        assert_eq!(ups, expected, "seed {seed}: nobody goes, each comes once");
        let heard = received(node);
        for number in (1..=count).filter(|number| id(*number) != node.id()) {
            let from = heard.iter().filter(|(from, _)| *from == id(number));
            let from: Vec<&Say> = from.map(|(_, say)| say).collect();
            let expected: Vec<Say> = (1..=MESSAGES).map(Say::Data).collect();
            assert!(
                from.iter().copied().eq(&expected),
                "seed {seed}: from {number} came {from:?}"
            );
        }
    }
}

/// Sends numbers to each peer as soon as it is one, with pauses.
fn greet_all(stage: &Stage, node: &Node<Talk>, seed: u64) {
    let (node, stage, mut events) = (node.clone(), stage.clone(), node.events());
    let spawner = stage.clone();
    let mut random = SmallRng::seed_from_u64(seed);
    let greeting = async move {
        while let Some(event) = events.next().await {
            let NodeEvent::Up(peer) = event else {
                continue;
            };
            let (node, clock, seed) = (node.clone(), stage.clock.clone(), random.random());
            stage.clock.spawn(Box::pin(async move {
                let mut random = SmallRng::seed_from_u64(seed);
                for number in 1..=MESSAGES {
                    // What is for one session is not for the next.
                    if !peer.is_connected() {
                        return;
                    }
                    if node.send(&peer.id(), &Say::Data(number)).await.is_err() {
                        return;
                    }
                    let pause = Duration::from_millis(random.random_range(0..15));
                    clock.sleep_until(clock.now() + pause).await;
                }
            }));
        }
    };
    spawner.clock.spawn(Box::pin(greeting));
}

/// As [`race`], over cables that fail; then both are peers again by a cable that does not. If they part,
/// each says goodbye to the other at some moment.
fn race_with_failures(seed: u64, they_part: bool) {
    let random = &mut SmallRng::seed_from_u64(seed);
    let stage = Stage::default();
    let nodes = [stage.node(1), stage.node(2)];
    let mut events = nodes.each_ref().map(Node::events);
    for node in &nodes {
        greet_all(&stage, node, random.random());
    }
    for _ in 0..4 {
        let (here, there, cable) = stage.cable(random, 20);
        let (dialing, failing) = (random.random_range(0..200), random.random_range(0..300));
        let how = random.random_range(0..4);
        let (one, other) = if random.random() { (0, 1) } else { (1, 0) };
        let (one, other) = (nodes[one].clone(), nodes[other].clone());
        let clock = stage.clock.clone();
        stage.clock.spawn(Box::pin(async move {
            clock
                .sleep_until(clock.now() + Duration::from_millis(dialing))
                .await;
            other.accept_over(there);
            // Whether it comes to anything is what is not known.
            let _ = one.dial_over(here, None).await;
        }));
        let clock = stage.clock.clone();
        stage.clock.spawn(Box::pin(async move {
            clock
                .sleep_until(clock.now() + Duration::from_millis(failing))
                .await;
            match how {
                0 => cable.cut(),
                1 => cable.stall(),
                2 => cable.swallow(),
                _ => {}
            }
        }));
    }
    if they_part {
        for (one, other) in [(0, 1), (1, 0)] {
            let (one, other) = (nodes[one].clone(), nodes[other].id());
            let (leaving, clock) = (random.random_range(0..300), stage.clock.clone());
            stage.clock.spawn(Box::pin(async move {
                clock
                    .sleep_until(clock.now() + Duration::from_millis(leaving))
                    .await;
                one.disconnect(&other);
            }));
        }
    }
    stage.advance(120 * SECOND);
    let [one, other] = &nodes;
    assert_eq!(one.peers().len(), other.peers().len(), "seed {seed}");
    if one.peers().is_empty() {
        stage.connect(one, other);
    }
    stage.advance(SECOND);
    for (node, events) in nodes.iter().zip(&mut events) {
        let happened = told(events);
        let expected = ["up", "down"].into_iter().cycle();
        for (event, expected) in happened[1..].iter().zip(expected) {
            assert!(event.starts_with(expected), "seed {seed}: {happened:?}");
        }
        let sessions = happened
            .iter()
            .filter(|event| event.starts_with("up"))
            .count();
        assert!(
            sessions >= 1 && happened.len() == 2 * sessions,
            "seed {seed}: {happened:?}"
        );
        check_sessions(&received(node), &happened, seed);
        let occupancy = node.occupancy();
        assert_eq!(occupancy.inbound + occupancy.outbound, 1, "seed {seed}");
        assert_eq!(occupancy.pending, 0, "seed {seed}");
    }
}

/// Each session's numbers begin with 1 and leave none out, though their end may be lost; the last
/// session's come to their end.
fn check_sessions(heard: &[(PeerId, Say)], happened: &[String], seed: u64) {
    let says: Vec<&Say> = heard.iter().map(|(_, say)| say).collect();
    let mut last = 0;
    for say in &says {
        let Say::Data(number) = say else {
            panic!("seed {seed}: {say:?}");
        };
        if *number != 1 {
            assert_eq!(*number, last + 1, "seed {seed}: {happened:?} {says:?}");
        }
        last = *number;
    }
    let begun = says.iter().filter(|say| ***say == Say::Data(1)).count();
    assert!(
        begun < happened.len(),
        "seed {seed}: {begun} of {happened:?}"
    );
    assert_eq!(last, MESSAGES, "seed {seed}");
}

#[test]
fn cables_that_fail_lose_the_end_of_a_session_and_nothing_else() {
    // The last one left a gap once.
    for seed in (0..rounds(300)).chain([2485]) {
        race_with_failures(seed, false);
    }
}

#[test]
fn nodes_that_part_while_cables_fail_lose_the_end_of_a_session_and_nothing_else() {
    // The last one fails if a goodbye lets messages move.
    for seed in (0..rounds(300)).chain([462]) {
        race_with_failures(seed, true);
    }
}

#[test]
fn a_session_does_not_go_on_when_its_first_connection_was_never_open_at_the_other_end() {
    let stage = Stage::default();
    let (one, two) = (stage.node(1), stage.node(2));
    let (mut at_one, mut at_two) = (one.events(), two.events());
    let (here, there, cable) = stage.cable(&mut SmallRng::seed_from_u64(1), 20);
    one.accept_over(there);
    let dial = stage.dial_over(&two, here);
    while two.peers().is_empty() {
        stage.advance(Duration::from_millis(1));
    }
    // What says that the connection is open is on its way, and never arrives.
    cable.stall();
    let peer = dial.output().expect("an end").expect("a peer");
    let say = |number| {
        let (two, to) = (two.clone(), peer.id());
        stage.run(async move { two.send(&to, &Say::Data(number)).await })
    };
    say(1).expect("a peer");
    stage.advance(6 * SECOND);
    assert_eq!(one.occupancy().inbound, 0, "the handshake is over");
    stage.connect(&one, &two);
    say(2).expect("still a peer");
    stage.advance(20 * SECOND);
    assert_eq!(received(&one), [], "1 is lost, so 2 does not arrive");
    assert_eq!(told(&mut at_two), ["peers []", "up 1", "down 1"]);
    assert_eq!(told(&mut at_one), ["peers []", "up 2", "down 2"]);
    stage.connect(&one, &two);
    say(3).expect("a peer again");
    stage.advance(SECOND);
    assert_eq!(received(&one), [(two.id(), Say::Data(3))]);
}

#[test]
fn two_nodes_that_dial_at_once_keep_one_connection_and_lose_nothing() {
    for seed in 0..rounds(300) {
        race(seed, 2);
    }
}

#[test]
fn five_nodes_that_dial_at_once_keep_one_connection_each_and_lose_nothing() {
    for seed in 0..rounds(300) / 10 {
        race(seed, 5);
    }
}

#[test]
fn a_second_dial_by_the_same_node_is_a_duplicate_while_the_first_answers() {
    let stage = Stage::default();
    let (one, other) = (stage.node(1), stage.node(2));
    stage.connect(&one, &other);
    let mut events = other.events();
    let error = stage.dial(&one, &other).expect_err("a duplicate");
    assert!(format!("{error:?}").contains("Duplicate"), "{error:?}");
    assert_eq!(told(&mut events), ["peers [1]"]);
    assert_eq!(one.occupancy().outbound, 1);
}

/// A node whose first run has a connection, over a cable that can fail; then a second run dials.
fn dialed_again(fails: bool) -> (Vec<String>, bool) {
    let stage = Stage::default();
    let (first, other) = (stage.node(1), stage.node(2));
    let mut events = other.events();
    let (here, there, cable) = stage.cable(&mut SmallRng::seed_from_u64(1), 0);
    other.accept_over(there);
    let first_dial = stage.dial_over(&first, here);
    first_dial.output().expect("an end").expect("a peer");
    if fails {
        cable.swallow();
    }
    let second = stage.node(1);
    let (here, there) = pipe(64 * 1024);
    other.accept_over(there);
    let dial = stage.dial_over(&second, here);
    stage.advance(2 * SECOND);
    (told(&mut events), dial.output().expect("an end").is_ok())
}

#[test]
fn a_dead_connection_gives_way_to_a_new_one() {
    let (events, dialed) = dialed_again(true);
    assert!(dialed);
    assert_eq!(events, ["peers []", "up 1", "down 1", "up 1"]);
}

#[test]
fn a_living_connection_does_not_give_way_to_whoever_has_the_same_id() {
    let (events, dialed) = dialed_again(false);
    assert!(!dialed);
    assert_eq!(events, ["peers []", "up 1"]);
}

/// Each of them has the node ask the peer whether it lives, and a peer that is asked too often thinks that
/// it is under attack.
#[test]
fn a_thousand_impostors_do_not_cut_a_peer_off() {
    let stage = Stage::default();
    let (one, other) = (stage.node(1), stage.node(2));
    let peer = stage.connect(&one, &other);
    for _ in 0..1000 {
        let mut impostor = Impostor::mute(&stage, &other);
        impostor.say(hello(id(1), &[]));
        assert_eq!(impostor.hear().expect("a word")[..2], [1, 9], "a duplicate");
    }
    assert!(one.peer(&id(2)).is_some() && other.peer(&id(1)).is_some());
    drop(peer);
}
