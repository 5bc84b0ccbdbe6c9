//! What peers hear of each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pharos::{Channel, Observable, ObserveConfig};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use sessionwire::Router;
use sessionwire::node::{
    App, Direction, Node, NodeConfig, NodeError, Occupancy, Peer, PeerChange, Select, Slow,
};
use sessionwire::transport::pharos;

use super::impostor::{Impostor, hello};
use super::stage::{SECOND, Say, Stage, Talk, id, network, poll_once, received, report, told};

/// A node in the middle, and so many others that dialed it.
fn star(stage: &Stage, config: NodeConfig, others: u8) -> (Node<Talk>, Vec<Node<Talk>>) {
    let middle = stage.node_with(255, Talk::default(), config);
    let others: Vec<_> = (1..=others).map(|number| stage.node(number)).collect();
    for other in &others {
        stage.connect(other, &middle);
    }
    (middle, others)
}

fn numbers(node: &Node<Talk>) -> Vec<u64> {
    let number = |(_, say): (_, Say)| match say {
        Say::Data(number) | Say::Control(number) => number,
        Say::Bytes(bytes) => bytes.len() as u64,
    };
    received(node).into_iter().map(number).collect()
}

#[test]
fn messages_go_both_ways_in_order() {
    let stage = Stage::default();
    let (one, other) = (stage.node(1), stage.node(2));
    stage.connect(&one, &other);
    for (from, to) in [(&one, &other), (&other, &one)] {
        let (from, to_id) = (from.clone(), to.id());
        stage.run(async move {
            for number in 0..50 {
                from.send(&to_id, &Say::Data(number))
                    .await
                    .expect("to send");
            }
        });
        assert_eq!(numbers(to), (0..50).collect::<Vec<_>>());
    }
    let nobody = stage.run(async move { one.send(&id(9), &Say::Data(1)).await });
    assert!(matches!(nobody, Err(NodeError::NotConnected(_))));
}

#[test]
fn a_message_goes_to_those_that_are_selected() {
    let stage = Stage::default();
    let (middle, others) = star(&stage, NodeConfig::default(), 3);
    let able = stage.node_with(9, Talk::default(), NodeConfig::default().capabilities(6));
    stage.connect(&middle, &able);
    let heard = |to: Select| {
        let report = middle.broadcast(&Say::Data(7), &to).expect("to encode");
        stage.clock.run_until_stalled();
        let all = others.iter().chain([&able]);
        let who: Vec<u8> = all
            .filter(|node| !received(node).is_empty())
            .map(|node| node.id().as_bytes()[0])
            .collect();
        (who, report)
    };
    assert_eq!(heard(Select::All), (vec![1, 2, 3, 9], report(4, 0, 0)));
    assert_eq!(heard(Select::Inbound), (vec![1, 2, 3], report(3, 0, 1)));
    assert_eq!(heard(Select::Outbound), (vec![9], report(1, 0, 3)));
    assert_eq!(heard(Select::Capabilities(4)), (vec![9], report(1, 0, 3)));
    assert_eq!(heard(Select::Capabilities(5)), (vec![], report(0, 0, 4)));
    let ids = Select::Ids(vec![id(2), id(77)]);
    assert_eq!(heard(ids), (vec![2], report(1, 0, 1)));
    assert_eq!(
        heard(Select::Except(id(2))),
        (vec![1, 3, 9], report(3, 0, 1))
    );
    let (who, some) = heard(Select::Random(2));
    assert_eq!((who.len(), some), (2, report(2, 0, 2)));
    assert_eq!(heard(Select::Random(99)).0.len(), 4);
}

#[test]
fn a_peer_that_takes_nothing_costs_the_others_nothing() {
    let stage = Stage::default();
    let config = NodeConfig::default().queue(16, 1024 * 1024);
    let (middle, others) = star(&stage, config, 49);
    let hole = stage.node(100);
    let (here, there, cable) = stage.cable(&mut SmallRng::seed_from_u64(1), 0);
    middle.accept_over(there);
    let dial = stage.dial_over(&hole, here);
    dial.output().expect("an end").expect("a peer");
    cable.stall();
    // What its connection holds by itself fills first, then its queue.
    let message = Say::Bytes(vec![1; 16 * 1024]);
    let (mut shed, sent) = (0, 100);
    for _ in 0..sent {
        let report = middle.broadcast(&message, &Select::All).expect("to encode");
        assert_eq!(report.queued, 50, "the oldest gives way");
        shed += report.shed;
        stage.clock.run_until_stalled();
        for other in &others {
            assert_eq!(numbers(other), [16 * 1024]);
        }
    }
    let statistics = middle.peer(&id(100)).expect("a peer").statistics();
    assert_eq!(statistics.messages_shed, shed as u64);
    assert_eq!(statistics.waiting.0, 16);
    let held = statistics.messages_sent as usize;
    // One waits for room in the connection.
    assert_eq!(held + 1 + 16 + shed, sent, "every message is somewhere");
    assert!(shed > 50, "only {shed} were shed");
    stage.advance(30 * SECOND);
    assert!(middle.peer(&id(100)).is_none(), "it is given up");
}

#[test]
fn a_peer_is_disconnected_rather_than_left_without_control_messages() {
    let stage = Stage::default();
    let config = NodeConfig::default().queue(16, 1024 * 1024);
    let (middle, _others) = star(&stage, config, 1);
    let mut reports = (0..1000).map(|number| {
        let message = Say::Control(number);
        middle.broadcast(&message, &Select::All).expect("to encode")
    });
    // Nobody runs meanwhile: the queue has room for 16.
    assert!(
        reports
            .by_ref()
            .take(16)
            .all(|sent| sent == report(1, 0, 0))
    );
    assert_eq!(reports.next(), Some(report(0, 1, 0)));
    stage.advance(SECOND);
    assert!(middle.peers().is_empty());
}

#[test]
fn a_peer_may_be_disconnected_when_it_is_slow_for_long() {
    let stage = Stage::default();
    let slow = Slow::Disconnect { after: SECOND };
    let config = NodeConfig::default().queue(1, 1024).slow(slow);
    let (middle, others) = star(&stage, config, 1);
    let send = || middle.broadcast(&Say::Bytes(vec![1; 100_000]), &Select::All);
    while send().expect("to encode").shed == 0 {
        stage.clock.run_until_stalled();
    }
    stage.advance(SECOND / 2);
    assert_eq!(send().expect("to encode"), report(0, 1, 0));
    assert_eq!(middle.peers().len(), 1);
    stage.advance(SECOND / 2);
    send().expect("to encode");
    stage.advance(SECOND / 10);
    assert!(middle.peers().is_empty());
    drop(others);
}

#[test]
fn what_is_not_received_makes_the_sender_wait_and_is_not_lost() {
    let stage = Stage::default();
    let (one, other) = (stage.node(1), stage.node(2));
    stage.connect(&one, &other);
    let sent = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&sent);
    let task = stage.task(async move {
        for number in 0..100 {
            let say = Say::Bytes(vec![number; 50_000]);
            one.send(&id(2), &say).await.expect("to send");
            counter.fetch_add(1, Ordering::SeqCst);
        }
        one
    });
    stage.advance(SECOND);
    let waiting = sent.load(Ordering::SeqCst);
    assert!(
        task.output().is_none() && waiting < 60,
        "{waiting} were sent"
    );
    let mut all = Vec::new();
    while all.len() < 100 {
        let more = received(&other);
        assert!(!more.is_empty(), "stalls after {}", all.len());
        all.extend(more.into_iter().map(|(_, say)| say));
        stage.clock.run_until_stalled();
    }
    let expected = (0..100).map(|number| Say::Bytes(vec![number; 50_000]));
    assert!(all.into_iter().eq(expected));
    assert!(task.output().is_some());
}

#[test]
fn a_message_that_cannot_be_decoded_concerns_nothing_else() {
    /// Says something that [`Talk`] does not understand, now and then.
    struct Babble;
    impl App for Babble {
        type Message = (u8, u64);
        type Hello = String;
        fn hello(&self, _: Direction) -> String {
            String::new()
        }
    }
    let stage = Stage::default();
    let runtime = Arc::new(stage.clock.clone());
    let babble = Node::with_runtime(id(2), network(), Babble, NodeConfig::default(), runtime);
    let node = stage.node(1);
    let (here, there) = sessionwire::transport::pipe(64 * 1024);
    node.accept_over(there);
    stage.run(async move {
        babble.dial_over(here, None).await.expect("a peer");
        for message in [(0, 1), (77, 2), (1, 3)] {
            babble.send(&id(1), &message).await.expect("to send");
        }
        std::mem::forget(babble);
    });
    let heard: Vec<Say> = received(&node).into_iter().map(|(_, say)| say).collect();
    assert_eq!(heard, [Say::Data(1), Say::Control(3)]);
    let statistics = node.peer(&id(2)).expect("a peer").statistics();
    assert_eq!(
        (statistics.undecodable, statistics.messages_received),
        (1, 2)
    );
}

#[test]
fn control_overtakes_data() {
    let stage = Stage::default();
    let (middle, others) = star(&stage, NodeConfig::default(), 1);
    for number in 0..3 {
        middle
            .broadcast(&Say::Data(number), &Select::All)
            .expect("to encode");
    }
    middle
        .broadcast(&Say::Control(9), &Select::All)
        .expect("to encode");
    stage.clock.run_until_stalled();
    assert_eq!(numbers(&others[0]), [9, 0, 1, 2]);
}

#[test]
fn a_goodbye_comes_after_all_that_was_sent() {
    let stage = Stage::default();
    let (one, other) = (stage.node(1), stage.node(2));
    let mut events = [one.events(), other.events()];
    stage.connect(&one, &other);
    for number in 0..100 {
        one.broadcast(&Say::Data(number), &Select::All)
            .expect("to encode");
        other
            .broadcast(&Say::Data(number), &Select::All)
            .expect("to encode");
    }
    assert!(one.disconnect(&id(2)));
    let late = one.send(&id(2), &Say::Data(100));
    assert!(stage.run(late).is_err());
    stage.advance(SECOND);
    assert_eq!(numbers(&other).len(), 64, "as much as there is room for");
    stage.clock.run_until_stalled();
    assert_eq!(numbers(&other).len(), 36);
    assert_eq!(numbers(&one).len(), 64);
    stage.clock.run_until_stalled();
    assert_eq!(numbers(&one).len(), 36);
    assert_eq!(told(&mut events[0]), ["peers []", "up 2", "down 2"]);
    assert_eq!(told(&mut events[1]), ["peers []", "up 1", "down 1"]);
    assert!(!one.disconnect(&id(2)));
    assert_eq!(one.occupancy(), Occupancy::default());
    assert_eq!(other.occupancy(), Occupancy::default());
}

#[test]
fn a_goodbye_that_is_not_answered_takes_five_seconds() {
    let stage = Stage::default();
    let (one, other) = (stage.node(1), stage.node(2));
    let (here, there, cable) = stage.cable(&mut SmallRng::seed_from_u64(1), 0);
    other.accept_over(there);
    let dial = stage.dial_over(&one, here);
    dial.output().expect("an end").expect("a peer");
    cable.swallow();
    one.disconnect(&id(2));
    stage.advance(Duration::from_millis(4999));
    assert_eq!(one.peers().len(), 1);
    stage.advance(SECOND / 1000);
    assert!(one.peers().is_empty());
    stage.advance(25 * SECOND);
    assert!(other.peers().is_empty(), "it hears nothing for 25 s");
}

#[test]
fn a_node_that_is_shut_down_delivers_and_stops() {
    let stage = Stage::default();
    let (middle, others) = star(&stage, NodeConfig::default(), 3);
    for number in 0..10 {
        middle
            .broadcast(&Say::Data(number), &Select::All)
            .expect("to encode");
    }
    let stopping = middle.clone();
    let stopped = stage.task(async move { stopping.shutdown(30 * SECOND).await });
    stage.advance(SECOND);
    assert!(stopped.output().is_some());
    for other in &others {
        assert_eq!(numbers(other), (0..10).collect::<Vec<_>>());
        assert!(other.peers().is_empty());
    }
    assert!(stage.run(async move { middle.recv().await }).is_none());
}

#[test]
fn a_node_stops_with_its_last_handle() {
    let stage = Stage::default();
    let (one, other) = (stage.node(1), stage.node(2));
    stage.connect(&one, &other);
    let clone = one.clone();
    drop(one);
    stage.advance(SECOND);
    assert_eq!(other.peers().len(), 1);
    drop(clone);
    stage.advance(SECOND);
    assert!(other.peers().is_empty());
    drop(other);
    stage.advance(SECOND);
    assert_eq!(stage.clock.run_until_stalled(), 0, "no task is left");
}

#[test]
fn who_follows_events_late_is_told_so_and_misses_nothing_that_counts() {
    let stage = Stage::default();
    let middle = stage.node_with(255, Talk::default(), NodeConfig::default().events(4));
    let mut events = middle.events();
    let others: Vec<_> = (1..=3).map(|number| stage.node(number)).collect();
    for other in &others {
        stage.connect(other, &middle);
    }
    assert_eq!(told(&mut events), ["peers []", "up 1", "up 2", "up 3"]);
    let four: Vec<_> = (4..=7).map(|number| stage.node(number)).collect();
    for other in &four {
        stage.connect(other, &middle);
    }
    assert_eq!(
        told(&mut events),
        ["up 4", "up 5", "up 6", "up 7"],
        "as many as fit"
    );
    for other in others.iter().chain(&four[..2]) {
        middle.disconnect(&other.id());
        stage.advance(SECOND);
    }
    assert_eq!(told(&mut events), ["lagged 5", "peers [6, 7]"]);
    middle.disconnect(&id(7));
    stage.advance(SECOND);
    assert_eq!(told(&mut events), ["down 7"]);
}

#[test]
fn events_can_be_observed() {
    let stage = Stage::default();
    let (mut one, other) = (stage.node(1), stage.node(2));
    let options = ObserveConfig::default().channel(Channel::Bounded(8));
    let observing = one.observe(options);
    let mut observed = match poll_once(observing) {
        std::task::Poll::Ready(observed) => observed.expect("a channel"),
        std::task::Poll::Pending => panic!("waits"),
    };
    stage.connect(&other, &one);
    one.disconnect(&id(2));
    stage.advance(SECOND);
    let mut next = || match poll_once(futures::StreamExt::next(&mut observed)) {
        std::task::Poll::Ready(change) => change,
        std::task::Poll::Pending => None,
    };
    assert_eq!(next(), Some(PeerChange::Up(id(2))));
    assert_eq!(next(), Some(PeerChange::Down(id(2))));
    assert_eq!(next(), None);
}

#[test]
fn a_panic_of_an_observers_filter_costs_that_observer_alone() {
    let stage = Stage::default();
    let (mut one, other) = (stage.node(1), stage.node(2));
    let options = || ObserveConfig::default().channel(Channel::Bounded(8));
    let mut observe = |options| match poll_once(one.observe(options)) {
        std::task::Poll::Ready(observed) => observed.expect("a channel"),
        std::task::Poll::Pending => panic!("waits"),
    };
    let _faulty = observe(options().filter(|_: &PeerChange| panic!("on purpose")));
    let mut observed = observe(options());
    stage.connect(&other, &one);
    other.disconnect(&id(1));
    stage.advance(SECOND);
    assert_eq!(one.occupancy(), Occupancy::default());
    let mut next = || match poll_once(futures::StreamExt::next(&mut observed)) {
        std::task::Poll::Ready(change) => change,
        std::task::Poll::Pending => None,
    };
    assert_eq!(next(), Some(PeerChange::Up(id(2))));
    assert_eq!(next(), Some(PeerChange::Down(id(2))));
}

#[test]
fn a_shutdown_is_not_over_while_something_waits_to_be_sent() {
    for (drain, reads) in [(30, true), (1, false)] {
        let stage = Stage::default();
        let (one, other) = (stage.node(1), stage.node(2));
        let peer = stage.connect(&one, &other);
        for _ in 0..8 {
            let large = Say::Bytes(vec![7; 100_000]);
            let sent = one.broadcast(&large, &Select::All).expect("to encode");
            assert_eq!(sent.queued, 1);
        }
        let stopping = one.clone();
        let stopped = stage.task(async move { stopping.shutdown(drain * SECOND).await });
        assert!(stopped.output().is_none(), "the other has room for some");
        for _ in 0..if reads { 8 } else { 0 } {
            assert!(poll_once(other.recv()).is_ready(), "it has come");
            stage.clock.run_until_stalled();
        }
        if !reads {
            stage.advance(drain * SECOND);
        }
        assert!(stopped.output().is_some(), "all is read, or it is cut off");
        stage.clock.run_until_stalled();
        assert!(poll_once(peer.connection().closed()).is_ready());
    }
}

#[test]
fn as_many_connections_as_there_are_places_may_take_their_time_to_end() {
    async fn hold(channel: sessionwire::RawChannel) -> Result<(), sessionwire::ChannelError> {
        let _channel = channel;
        std::future::pending().await
    }
    let stage = Stage::default();
    let router = Router::new().on_raw("hold/1", hold);
    let config = NodeConfig::default().inbound(2).outbound(1).router(router);
    let one = stage.node_with(1, Talk::default(), config);
    let mut ended: Vec<_> = (2..=6)
        .map(|number| {
            let other = stage.node(number);
            let peer = stage.connect(&other, &one);
            let opening = peer.connection();
            let held = stage.run(async move { opening.open_raw("hold/1").await });
            other.disconnect(&id(1));
            stage.clock.run_until_stalled();
            assert_eq!(one.occupancy(), Occupancy::default(), "its place is free");
            (peer, held)
        })
        .collect();
    stage.clock.run_until_stalled();
    let still_open = |all: &[(Peer<Talk>, _)]| {
        let ended = all
            .iter()
            .map(|(peer, _)| poll_once(peer.connection().closed()));
        ended.filter(std::task::Poll::is_pending).count()
    };
    assert_eq!(still_open(&ended), 3);
    ended.drain(..2);
    assert_eq!(still_open(&ended), 3, "those are the newest");
    stage.advance(6 * SECOND);
    assert_eq!(still_open(&ended), 0);
}

#[test]
fn everything_else_goes_on_over_the_same_connection() {
    async fn double(
        mut channel: sessionwire::Channel<u64, u64>,
    ) -> Result<(), sessionwire::ChannelError> {
        while let Some(number) = channel.recv().await? {
            channel.send(&(number * 2)).await?;
        }
        channel.finish();
        Ok(())
    }
    async fn ask(peer: Peer<Talk>) -> Option<u64> {
        let connection = peer.connection();
        let mut channel: sessionwire::Channel<u64, u64> =
            connection.open("double/1").await.expect("a channel");
        channel.send(&21).await.expect("to send");
        channel.recv().await.expect("an answer")
    }
    let stage = Stage::default();
    let config = || NodeConfig::default().router(Router::new().on("double/1", double));
    let one = stage.node_with(1, Talk::default(), config());
    let other = stage.node_with(2, Talk::default(), config());
    let peer = stage.connect(&one, &other);
    assert_eq!(stage.run(ask(peer)), Some(42));
    let back = other.peer(&id(1)).expect("a peer");
    assert_eq!(stage.run(ask(back)), Some(42), "whoever dialed");
}

/// What a peer left in the inbox is not its own any more when it comes back, or another in its place.
#[test]
fn peers_that_come_and_go_do_not_fill_the_inbox_beyond_its_bound() {
    let stage = Stage::default();
    let config = NodeConfig::default().inbound(2).outbound(1).inbox(4, 1024);
    let node = stage.node_with(1, Talk::default(), config);
    for number in 2..20 {
        let mut peer = Impostor::mute(&stage, &node);
        peer.say(hello(id(number), &[]));
        if peer.hear().expect("a word")[0] != 0 {
            continue;
        }
        peer.say(vec![2]);
        for _ in 0..4 {
            peer.send(vec![0, 0, number]);
        }
    }
    stage.advance(30 * SECOND);
    assert_eq!(received(&node).len(), 3 * 4, "as much as all peers at once");
    let mut peer = Impostor::peer(&stage, &node, id(99));
    peer.send(vec![0, 0, 99]);
    assert_eq!(received(&node), [(id(99), Say::Data(99))]);
}
