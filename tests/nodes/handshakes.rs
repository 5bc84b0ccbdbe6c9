//! Who becomes a peer, and who does not.

use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt};
use sessionwire::node::{
    DialError, HandshakeError, NetworkId, Node, NodeConfig, Occupancy, Reason,
};
use sessionwire::transport::{MemoryStream, pipe};

use super::impostor::{Impostor, hello};
use super::stage::{SECOND, Stage, Talk, id, poll_once, received, told};

const MILLISECOND: Duration = Duration::from_millis(1);
const ALMOST_FIVE: Duration = Duration::from_millis(4999);

/// Why the other end did not want the dialer.
fn rejected(dialed: Result<impl std::fmt::Debug, DialError>) -> Reason {
    match dialed.expect_err("a refusal") {
        DialError::Handshake(HandshakeError::Rejected(rejection)) => rejection.reason().clone(),
        other => panic!("{other:?}"),
    }
}

/// Why this end did not want the one it dialed.
fn refused(dialed: Result<impl std::fmt::Debug, DialError>) -> Reason {
    match dialed.expect_err("a refusal") {
        DialError::Handshake(HandshakeError::Refused(rejection)) => rejection.reason().clone(),
        other => panic!("{other:?}"),
    }
}

/// Reads what is there; true if it ends then.
fn has_ended(stream: &mut MemoryStream) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match poll_once(stream.read(&mut buffer)) {
            std::task::Poll::Ready(Ok(1..)) => {}
            std::task::Poll::Ready(_) => return true,
            std::task::Poll::Pending => return false,
        }
    }
}

/// What a node writes on a connection before it hears anything.
fn first_words(stage: &Stage, dialer: Node<Talk>) -> Vec<u8> {
    let (here, mut far) = pipe(64 * 1024);
    let dialing = stage.task(async move { dialer.dial_over(here, None).await.is_ok() });
    let mut words = vec![0; 4096];
    let count = match poll_once(far.read(&mut words)) {
        std::task::Poll::Ready(Ok(count)) => count,
        other => panic!("{other:?}"),
    };
    drop((far, dialing));
    words.truncate(count);
    words
}

#[test]
fn two_nodes_are_peers_and_know_of_each_other_what_they_said() {
    let stage = Stage::default();
    let named = |name: &str| Talk {
        name: name.to_owned(),
        ..Talk::default()
    };
    let config = || NodeConfig::default().capabilities(5).versions(1, 3);
    let one = stage.node_with(1, named("one"), config());
    let other = stage.node_with(2, named("other"), config().versions(2, 9));
    let peer = stage.connect(&one, &other);
    assert_eq!(peer.introduction().hello, "other");
    assert_eq!(peer.introduction().version, 3);
    assert_eq!(peer.introduction().capabilities, 5);
    let back = other.peer(&id(1)).expect("a peer");
    assert_eq!(back.introduction().hello, "one");
    assert_eq!(one.peers().len(), 1);
}

#[test]
fn a_node_that_dials_itself_notices() {
    let stage = Stage::default();
    let node = stage.node(1);
    let mut events = node.events();
    assert_eq!(rejected(stage.dial(&node, &node)), Reason::SelfDial);
    assert_eq!(told(&mut events), ["peers []"]);
    assert_eq!(node.occupancy(), Occupancy::default());
}

#[test]
fn two_nodes_with_one_id_clash() {
    let stage = Stage::default();
    let (one, other) = (stage.node(1), stage.node(1));
    let mut events = one.events();
    assert_eq!(rejected(stage.dial(&one, &other)), Reason::IdentityClash);
    assert_eq!(told(&mut events), ["peers []"]);
}

#[test]
fn nodes_of_other_networks_and_versions_are_refused() {
    let stage = Stage::default();
    let node = stage.node_with(1, Talk::default(), NodeConfig::default().versions(1, 2));
    let newer = stage.node_with(2, Talk::default(), NodeConfig::default().versions(3, 4));
    assert_eq!(rejected(stage.dial(&newer, &node)), Reason::Version);
    let elsewhere = Node::with_runtime(
        id(3),
        NetworkId::new("elsewhere").expect("a short name"),
        Talk::default(),
        NodeConfig::default(),
        std::sync::Arc::new(stage.clock.clone()),
    );
    assert_eq!(rejected(stage.dial(&elsewhere, &node)), Reason::Network);
    assert_eq!(node.occupancy(), Occupancy::default());
}

#[test]
fn the_application_may_refuse_at_either_end_and_the_other_learns_why() {
    let stage = Stage::default();
    let picky = Talk {
        dislikes: Some("bob".to_owned()),
        ..Talk::default()
    };
    let bob = Talk {
        name: "bob".to_owned(),
        ..Talk::default()
    };
    let picky = stage.node_with(1, picky, NodeConfig::default());
    let bob = stage.node_with(2, bob, NodeConfig::default());
    let reason = Reason::Application {
        code: 7,
        text: "not you".to_owned(),
    };
    assert_eq!(rejected(stage.dial(&bob, &picky)), reason);
    assert_eq!(refused(stage.dial(&picky, &bob)), reason);
    assert_eq!(bob.occupancy(), Occupancy::default());
}

#[test]
fn a_node_that_is_turned_away_and_stays_takes_no_place() {
    let stage = Stage::default();
    let named = |name: &str| Talk {
        name: name.to_owned(),
        ..Talk::default()
    };
    let picky = Talk {
        dislikes: Some("bob".to_owned()),
        ..Talk::default()
    };
    let config = NodeConfig::default().inbound(1).pending(3);
    let picky = stage.node_with(1, picky, config);
    let bob = stage.node_with(2, named("bob"), NodeConfig::default());
    let said = first_words(&stage, bob);
    let mut unwanted = Vec::new();
    for number in 1..=5 {
        let (mut here, there) = pipe(64 * 1024);
        assert!(picky.accept_over(there));
        assert!(poll_once(here.write_all(&said)).is_ready());
        stage.clock.run_until_stalled();
        unwanted.push(here);
        let occupancy = picky.occupancy();
        assert_eq!((occupancy.pending, occupancy.inbound), (number.min(3), 0));
    }
    let have_ended: Vec<bool> = unwanted.iter_mut().map(has_ended).collect();
    assert_eq!(have_ended, [true, true, false, false, false]);
    let carol = stage.node_with(3, named("carol"), NodeConfig::default());
    stage.connect(&carol, &picky);
    assert_eq!(picky.occupancy().inbound, 1);
    stage.advance(5 * SECOND);
    assert_eq!(picky.occupancy().pending, 0, "they had their time");
}

#[test]
fn a_panic_over_one_node_refuses_that_node_alone() {
    let stage = Stage::default();
    let afraid = Talk {
        panics_at: Some("ghost".to_owned()),
        ..Talk::default()
    };
    let ghost = Talk {
        name: "ghost".to_owned(),
        ..Talk::default()
    };
    let afraid = stage.node_with(1, afraid, NodeConfig::default());
    let ghost = stage.node_with(2, ghost, NodeConfig::default());
    assert!(matches!(
        rejected(stage.dial(&ghost, &afraid)),
        Reason::Application { .. }
    ));
    assert_eq!(afraid.occupancy(), Occupancy::default());
    stage.connect(&stage.node(3), &afraid);
}

#[test]
fn another_peer_than_expected_is_refused() {
    let stage = Stage::default();
    let (one, other) = (stage.node(1), stage.node(2));
    let (here, there) = pipe(64 * 1024);
    other.accept_over(there);
    let dialed = stage.run(async move { one.dial_over(here, Some(id(3))).await });
    assert_eq!(refused(dialed), Reason::OtherPeer);
}

#[test]
fn a_thousand_strangers_who_say_nothing_keep_no_honest_node_out() {
    let stage = Stage::default();
    let node = stage.node(1);
    let mut strangers = Vec::new();
    for number in 0..1000 {
        let (here, there) = pipe(64);
        assert!(node.accept_over(there));
        stage.clock.run_until_stalled();
        assert!(node.occupancy().pending <= 64);
        strangers.push(here);
        if number % 100 == 99 {
            let honest = stage.node((2 + number / 100) as u8);
            stage.connect(&honest, &node);
            honest.disconnect(&node.id());
            stage.advance(MILLISECOND);
        }
    }
    assert_eq!(
        node.occupancy().pending,
        63,
        "the last honest one had a place"
    );
    let last = strangers.split_off(1000 - 63);
    for stranger in &mut strangers {
        assert!(has_ended(stranger), "it gave way");
    }
    let mut strangers = last;
    stage.advance(5 * SECOND);
    for stranger in &mut strangers {
        assert!(has_ended(stranger));
    }
    assert_eq!(node.occupancy(), Occupancy::default());
}

#[test]
fn a_handshake_has_five_seconds_however_it_dawdles() {
    let stage = Stage::default();
    let node = stage.node(1);
    // One says nothing at all, one is a connection and no node, one is a node that never answers.
    let (mut silent, there) = pipe(64 * 1024);
    node.accept_over(there);
    let (mut mute, there) = pipe(64 * 1024);
    node.accept_over(there);
    stage.clock.run_until_stalled();
    let hello = first_words(&stage, stage.node(2));
    let mut mute = stage.run(async move {
        mute.write_all(&hello).await.expect("to write");
        mute
    });
    stage.advance(ALMOST_FIVE);
    assert!(!has_ended(&mut silent));
    assert!(!has_ended(&mut mute));
    stage.advance(MILLISECOND);
    assert!(has_ended(&mut silent));
    assert!(has_ended(&mut mute));
    assert_eq!(node.occupancy(), Occupancy::default());
}

#[test]
fn a_dialed_node_that_never_answers_is_given_up() {
    let stage = Stage::default();
    let node = stage.node(1);
    let (here, _there) = pipe(64 * 1024);
    let dialing = node.clone();
    let dial = stage.task(async move { dialing.dial_over(here, None).await });
    stage.advance(ALMOST_FIVE);
    assert!(dial.output().is_none());
    stage.advance(MILLISECOND);
    let error = dial.output().expect("an end").expect_err("nobody there");
    assert!(matches!(
        error,
        DialError::Handshake(HandshakeError::TimedOut { .. })
    ));
    assert_eq!(node.occupancy(), Occupancy::default());
}

#[test]
fn of_200_nodes_128_find_a_place_and_places_come_back() {
    let stage = Stage::default();
    let node = stage.node(255);
    let dial = |number| {
        let other = stage.node(number);
        let dialed = stage.dial(&other, &node);
        (other, dialed)
    };
    let (mut here, mut refused) = (Vec::new(), 0);
    for number in 0..200 {
        let (other, dialed) = dial(number);
        if dialed.is_ok() {
            here.push(other);
        } else {
            assert_eq!(rejected(dialed), Reason::Full);
            refused += 1;
        }
        assert!(node.occupancy().inbound <= 128);
    }
    assert_eq!((here.len(), refused), (128, 72));
    here.drain(..50);
    stage.advance(SECOND);
    assert_eq!(node.occupancy().inbound, 78);
    for number in 128..178 {
        let (other, dialed) = dial(number);
        dialed.expect("a place");
        here.push(other);
    }
    assert_eq!(rejected(dial(199).1), Reason::Full);
    drop(here);
    stage.advance(SECOND);
    assert_eq!(node.occupancy(), Occupancy::default());
}

#[test]
fn a_node_dials_twelve_others_and_no_more() {
    let stage = Stage::default();
    let node = stage.node(255);
    let others: Vec<_> = (0..13).map(|number| stage.node(number)).collect();
    for other in &others[..12] {
        stage.connect(&node, other);
    }
    let error = stage.dial(&node, &others[12]).expect_err("no place");
    assert!(matches!(error, DialError::Full { most: 12 }), "{error:?}");
    node.disconnect(&others[0].id());
    stage.advance(SECOND);
    stage.connect(&node, &others[12]);
}

#[test]
fn what_is_no_handshake_is_no_node() {
    let stage = Stage::default();
    let node = stage.node(1);
    let too_long = hello(id(2), &[0; 5000]);
    let cut_short = hello(id(2), &[])[..40].to_vec();
    for wrong in [vec![], vec![2], vec![9], too_long, cut_short] {
        let mut impostor = Impostor::mute(&stage, &node);
        impostor.say(wrong);
        assert!(impostor.ended().is_some());
        assert_eq!(node.occupancy(), Occupancy::default());
    }
    let mut impostor = Impostor::mute(&stage, &node);
    impostor.say(hello(id(2), b"more than a string"));
    let answer = impostor.hear().expect("a rejection");
    assert_eq!(answer[..2], [1, 11], "undecodable");
}

#[test]
fn nothing_but_an_answer_is_taken_before_the_handshake_is_over() {
    let stage = Stage::default();
    let node = stage.node(1);
    let mut impostor = Impostor::mute(&stage, &node);
    impostor.send(vec![0, 0, 5]);
    impostor.say(hello(id(2), &[]));
    assert!(node.peers().is_empty());
    assert!(received(&node).is_empty());
    impostor.say(vec![2]);
    assert_eq!(received(&node).len(), 1, "it waited");
    impostor.say(vec![2]);
    assert!(impostor.ended().is_some(), "a second Ack is no notice");
}

#[test]
fn of_a_hello_that_is_too_long_no_more_is_taken_than_it_may_have() {
    let stage = Stage::default();
    let node = stage.node(1);
    for (length, end) in [(4096, "no part of a handshake"), (4097, "a first message")] {
        let mut impostor = Impostor::mute(&stage, &node);
        impostor.say(vec![9; length]);
        let told = match poll_once(impostor.node.recv()) {
            std::task::Poll::Ready(Err(error)) => format!("{error} {error:?}"),
            other => panic!("{other:?}"),
        };
        assert!(told.contains(end), "{length}: {told}");
        assert_eq!(node.occupancy(), Occupancy::default());
    }
    // What follows the handshake may be longer, and may come with its last word.
    let mut impostor = Impostor::mute(&stage, &node);
    impostor.say(hello(id(2), &[]));
    let announcement = [&[1][..], &[7; 32 * 500]].concat();
    for message in [vec![2], announcement] {
        assert!(poll_once(impostor.node.send(message.into())).is_ready());
    }
    stage.clock.run_until_stalled();
    let peer = node.peer(&id(2)).expect("a peer");
    assert_eq!(peer.statistics().announced, 500);
}

#[test]
fn a_stranger_may_open_sixteen_channels_and_a_peer_more() {
    let stage = Stage::default();
    let node = stage.node(1);
    let mut impostor = Impostor::mute(&stage, &node);
    stage.clock.run_until_stalled();
    let open = |connection: &sessionwire::Connection| {
        let connection = connection.clone();
        stage.task(async move { connection.open_raw("something/1").await })
    };
    let few: Vec<_> = (2..16)
        .map(|_| open(&impostor.connection).output().expect("a place"))
        .collect();
    let waiting = open(&impostor.connection);
    impostor.say(hello(id(2), &[]));
    assert!(waiting.output().is_none(), "it is no peer yet");
    impostor.say(vec![2]);
    waiting.output().expect("a place").expect("a channel");
    for mut channel in few.into_iter().flatten() {
        let told = poll_once(channel.recv());
        assert!(format!("{told:?}").contains("no protocol"), "{told:?}");
    }
}
