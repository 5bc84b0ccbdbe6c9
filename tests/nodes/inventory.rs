//! Items that spread by being announced, asked for and handed out.

use std::time::Duration;

use sessionwire::node::{ItemId, Node, NodeConfig, Received, Select};
use sessionwire::runtime::Runtime;

use super::impostor::Impostor;
use super::stage::{SECOND, Say, Stage, Talk, id, poll_once};

fn item(number: u64) -> ItemId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    ItemId::new(bytes)
}

fn have(node: &Node<Talk>, number: u64) {
    let mut items = node.app().items.lock().expect("no panic");
    items.insert(item(number), Say::Data(number));
}

/// All that came, each of which must be the item that it says.
fn came(node: &Node<Talk>) -> Vec<u64> {
    let mut all = Vec::new();
    while let std::task::Poll::Ready(Some(received)) = poll_once(node.recv()) {
        let Received {
            message: Say::Data(number),
            item: Some(it),
            ..
        } = received
        else {
            panic!("{received:?}");
        };
        assert_eq!(it, item(number));
        all.push(number);
    }
    all
}

/// Takes what comes, keeps it and tells others of it; answers how much came.
fn relay(stage: &Stage, node: &Node<Talk>) -> std::sync::Arc<std::sync::atomic::AtomicUsize> {
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let (node, counter) = (node.clone(), count.clone());
    stage.clock.spawn(Box::pin(async move {
        while let Some(Received {
            from,
            message: Say::Data(number),
            ..
        }) = node.recv().await
        {
            have(&node, number);
            node.announce(&[item(number)], &Select::Except(from));
            counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }));
    count
}

#[test]
fn what_one_has_all_get_once() {
    let stage = Stage::default();
    let nodes: Vec<_> = (1..=8).map(|number| stage.node(number)).collect();
    // A ring with two shortcuts: most hear of everything from several sides.
    for (one, other) in [
        (0, 1),
        (1, 2),
        (2, 3),
        (3, 4),
        (4, 5),
        (5, 6),
        (6, 7),
        (7, 0),
        (0, 4),
        (2, 6),
    ] {
        stage.connect(&nodes[one], &nodes[other]);
    }
    let counts: Vec<_> = nodes.iter().map(|node| relay(&stage, node)).collect();
    for number in 0..200 {
        have(&nodes[0], number);
    }
    let all: Vec<_> = (0..200).map(item).collect();
    nodes[0].announce(&all, &Select::All);
    stage.advance(30 * SECOND);
    for (place, count) in counts.iter().enumerate().skip(1) {
        let count = count.load(std::sync::atomic::Ordering::SeqCst);
        assert_eq!(count, 200, "node {place}");
    }
    assert_eq!(counts[0].load(std::sync::atomic::Ordering::SeqCst), 0);
    let asked: u64 = nodes
        .iter()
        .flat_map(Node::peers)
        .map(|peer| peer.statistics().asked)
        .sum();
    assert_eq!(asked, 7 * 200, "each is asked for once");
}

#[test]
fn more_than_a_peer_may_ask_for_at_once_comes_all_the_same() {
    let stage = Stage::default();
    let (one, other) = (stage.node(1), stage.node(2));
    stage.connect(&one, &other);
    for number in 0..2000 {
        have(&one, number);
    }
    let all: Vec<_> = (0..2000).map(item).collect();
    one.announce(&all, &Select::All);
    let mut heard = Vec::new();
    while heard.len() < 2000 {
        stage.clock.run_until_stalled();
        let more = came(&other);
        assert!(!more.is_empty(), "stalls after {}", heard.len());
        heard.extend(more);
    }
    assert_eq!(heard, (0..2000).collect::<Vec<_>>());
    let statistics = other.peer(&id(1)).expect("a peer").statistics();
    assert_eq!((statistics.announced, statistics.answered), (2000, 2000));
    assert_eq!(statistics.unasked, 0);
}

#[test]
fn a_peer_that_does_not_hand_out_what_it_announced_is_passed_over() {
    let stage = Stage::default();
    let (one, other) = (stage.node(1), stage.node(2));
    let mut impostor = Impostor::peer(&stage, &other, id(3));
    stage.connect(&one, &other);
    have(&one, 7);
    let mut announcement = vec![1];
    announcement.extend(item(7).as_bytes());
    impostor.say(announcement.clone());
    announcement[0] = 2;
    assert_eq!(impostor.hear().expect("a request"), announcement);
    one.announce(&[item(7)], &Select::All);
    stage.advance(Duration::from_millis(9999));
    assert_eq!(came(&other), []);
    stage.advance(SECOND / 1000);
    assert_eq!(came(&other), [7]);
    // It was asked, so its answer is no misbehaviour, and nothing new.
    let mut late = vec![1];
    late.extend(item(7).as_bytes());
    late.extend([0, 7]);
    impostor.send(late.clone());
    assert_eq!(came(&other), []);
    assert_eq!(other.peers().len(), 2);
    for _ in 0..5 {
        impostor.send(late.clone());
    }
    stage.advance(SECOND);
    assert_eq!(other.peers().len(), 1, "five that nobody asked for");
}

#[test]
fn what_is_not_there_any_more_is_asked_for_elsewhere_at_once() {
    let stage = Stage::default();
    let (one, other, third) = (stage.node(1), stage.node(2), stage.node(3));
    stage.connect(&one, &other);
    stage.connect(&third, &other);
    have(&third, 7);
    one.announce(&[item(7)], &Select::All);
    third.announce(&[item(7)], &Select::All);
    stage.clock.run_until_stalled();
    assert_eq!(came(&other), [7]);
}

#[test]
fn a_flood_of_notices_leaves_other_tasks_their_turns() {
    const NOTICES: u64 = 1000;
    let stage = Stage::default();
    let node = stage.node(1);
    let mut flood = Impostor::peer(&stage, &node, id(2));
    let peer = node.peer(&id(2)).expect("a peer");
    for number in 0..NOTICES {
        let mut announce = vec![1];
        announce.extend([0; 24]);
        announce.extend(number.to_le_bytes());
        let sent = poll_once(flood.node.send(announce.into()));
        assert!(sent.is_ready(), "there is room");
    }
    let seen = stage.task(async move {
        let mut seen = vec![0];
        futures::future::poll_fn(move |context| {
            seen.push(peer.statistics().announced);
            context.waker().wake_by_ref();
            if seen.last() == Some(&NOTICES) {
                return std::task::Poll::Ready(std::mem::take(&mut seen));
            }
            std::task::Poll::Pending
        })
        .await
    });
    let seen = seen.output().expect("all notices are heard");
    let most = seen.windows(2).map(|pair| pair[1] - pair[0]).max();
    assert!(most <= Some(64), "{most:?} notices at once");
}

#[test]
fn peers_that_announce_what_they_do_not_have_leave_room_for_one_that_has() {
    let stage = Stage::default();
    let config = NodeConfig::default().wanted_items(16);
    let node = stage.node_with(1, Talk::default(), config);
    let mut liars: Vec<_> = (10..18)
        .map(|number| Impostor::peer(&stage, &node, id(number)))
        .collect();
    for (place, liar) in (0_u64..).zip(&mut liars) {
        for number in [2 * place, 2 * place + 1] {
            let announcement = [&[1][..], item(number).as_bytes()].concat();
            liar.say(announcement);
            assert!(liar.hear().is_some(), "it is asked, and never answers");
        }
    }
    let honest = stage.node(2);
    stage.connect(&honest, &node);
    for number in 100..110 {
        have(&honest, number);
        honest.announce(&[item(number)], &Select::All);
        stage.clock.run_until_stalled();
        assert_eq!(came(&node), [number]);
    }
    // The one whose place was taken answers after all: that is no fault of it.
    let late = [&[1][..], item(0).as_bytes(), &[0, 0]].concat();
    for liar in &mut liars {
        liar.send(late.clone());
    }
    assert_eq!(node.peers().len(), 9);
}
