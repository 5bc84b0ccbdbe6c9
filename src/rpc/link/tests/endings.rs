use std::sync::{Arc, Mutex};

use super::{Dial, Fate, World, fatal, passing, poll, seconds, up};
use crate::mux::{Code, ConnectionError, Timeout};
use crate::rpc::link::{DialError, Link, LinkConfig, LinkError, LinkState};
use crate::runtime::{Instant, Runtime, Task};
use crate::transport::{CertificateProblem, Endpoint, TransportError};

#[test]
fn what_trying_again_does_not_mend_is_tried_once_and_told_to_all() {
    let world = World::new();
    world.always(Fate::Fails(fatal()));
    let link = world.link();
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    for _ in 0..3 {
        let (link, told) = (link.clone(), Arc::clone(&told));
        world.clock.spawn(Box::pin(async move {
            let error = link.connection().await.unwrap_err();
            told.lock().unwrap().push(error.to_string());
        }));
    }
    let mut watch = link.watch();
    world.pass(seconds(600));
    assert_eq!(world.dials(), 1);
    assert_eq!(told.lock().unwrap().len(), 3);
    let LinkState::Down(LinkError::Unreachable { attempts: 1, last }) =
        world.run(watch.changed()).expect("a state")
    else {
        panic!("{:?}", link.state());
    };
    assert!(matches!(
        last.error,
        DialError::Connection(ConnectionError::Version { min: 9, .. })
    ));
    let late = world.run(link.connection()).expect("at once").unwrap_err();
    assert_eq!(late.to_string(), told.lock().unwrap()[0]);
    assert_eq!(world.settle(), 0, "its task is gone");
}

#[test]
fn a_goodbye_that_the_dialer_calls_fatal_ends_it() {
    let world = World::new();
    let link = world.link();
    world.pass(seconds(60));
    world.there().close(Code::application(7), "banned");
    world.pass(seconds(600));
    assert_eq!(world.dials(), 1);
    let LinkState::Down(LinkError::Ended(ConnectionError::ClosedByPeer { code, .. })) =
        link.state()
    else {
        panic!("{:?}", link.state());
    };
    assert_eq!(code, Code::application(7));
}

#[test]
fn nothing_of_it_is_left_when_its_last_handle_is_dropped() {
    for (name, fate) in [
        ("waiting", Fate::Fails(passing())),
        ("dialling", Fate::Hangs),
        ("waiting for a hello", Fate::Silent),
        ("up", Fate::Up),
    ] {
        let world = World::new();
        world.always(fate);
        let link = world.link();
        let (other, mut watch) = (link.clone(), link.watch());
        world.settle();
        drop(link);
        world.settle();
        assert!(world.settle() > 0, "{name}: a handle is left");
        drop(other);
        let error = world.run(watch.down()).expect("an end");
        assert!(matches!(error, LinkError::Closed), "{name}: {error}");
        world.peer.silent.lock().unwrap().clear();
        world.settle();
        assert_eq!(world.settle(), 0, "{name}: a task is left");
        assert_eq!(world.dials(), 1, "{name}");
        assert_eq!(
            Arc::strong_count(&world.peer),
            1,
            "{name}: its dialer is left"
        );
    }
}

#[test]
fn a_watch_and_a_router_do_not_keep_it_alive() {
    let world = World::new();
    let link = world.link();
    let mut watch = link.watch();
    link.serve(crate::Router::new());
    world.settle();
    let there = world.there();
    drop(link);
    assert!(matches!(world.run(watch.down()), Some(LinkError::Closed)));
    assert!(world.run(there.closed()).expect("its end").is_clean());
    assert_eq!(world.settle(), 0, "a task is left");
}

#[test]
fn closing_lets_open_channels_finish_and_makes_no_other_connection() {
    let world = World::new();
    let link = world.link();
    world.settle();
    let (_, connection) = up(&link).expect("a connection");
    let mut channel = world
        .run(connection.open_raw("a/1"))
        .expect("at once")
        .unwrap();
    world
        .run(channel.send("first".into()))
        .expect("room")
        .unwrap();
    world.settle();
    let opened = world.run(world.there().accept()).expect("at once").unwrap();
    let mut accepted = opened.expect("a channel").accept_raw();

    let mut closing = Box::pin(link.close());
    assert!(poll(closing.as_mut()).is_pending());
    world.pass(seconds(5));
    assert!(poll(closing.as_mut()).is_pending(), "a channel is open");
    world
        .run(channel.send("last".into()))
        .expect("room")
        .unwrap();
    channel.finish();
    for expected in ["first", "last"] {
        let heard = world.run(accepted.recv()).expect("a message").unwrap();
        assert_eq!(heard.expect("a message"), expected);
    }
    drop((channel, accepted));
    assert!(world.run(closing).is_some());
    assert!(matches!(link.state(), LinkState::Down(LinkError::Closed)));
    world.pass(seconds(600));
    assert_eq!(world.dials(), 1);
}

#[test]
fn closing_cuts_what_takes_longer_than_it_may() {
    let world = World::new();
    let link = world.link_with(LinkConfig::default().drain_timeout(seconds(3)));
    world.settle();
    let (_, connection) = up(&link).expect("a connection");
    let mut channel = world
        .run(connection.open_raw("a/1"))
        .expect("at once")
        .unwrap();
    world
        .run(channel.send("first".into()))
        .expect("room")
        .unwrap();
    let mut closing = Box::pin(link.close());
    assert!(poll(closing.as_mut()).is_pending());
    world.pass(seconds(2));
    assert!(poll(closing.as_mut()).is_pending());
    world.pass(seconds(1));
    assert!(world.run(closing).is_some());
    assert!(world.run(channel.recv()).expect("an end").is_err());
}

#[test]
fn closing_ends_a_pause_and_an_attempt_at_once() {
    for fate in [Fate::Fails(passing()), Fate::Hangs] {
        let world = World::new();
        world.always(fate);
        let link = world.link();
        world.settle();
        assert!(world.run(link.close()).is_some());
        assert!(world.run(link.close()).is_some(), "a second time too");
        assert_eq!(world.settle(), 0);
        assert_eq!(world.dials(), 1);
    }
}

fn refused(status: u16) -> TransportError {
    let text = String::new();
    TransportError::Refused { status, text }
}

fn proxy_refused(status: u16) -> TransportError {
    TransportError::ProxyRefused {
        proxy: "http://proxy:3128".to_owned(),
        endpoint: Box::new("tcp://example.org:1".parse().unwrap()),
        status,
        text: String::new(),
    }
}

/// What went wrong on the way to a proxy.
fn to_proxy(cause: TransportError) -> TransportError {
    TransportError::Proxy {
        proxy: "http://proxy:3128".to_owned(),
        cause: Arc::new(cause),
    }
}

fn tls_refused(alert: &str) -> TransportError {
    TransportError::TlsRefused {
        alert: alert.to_owned(),
        advice: "",
    }
}

#[test]
fn an_error_is_fatal_if_someone_must_change_something_first() {
    let certificate = TransportError::Certificate {
        problem: CertificateProblem::UnknownIssuer,
    };
    let hung = TransportError::HandshakeTimeout {
        protocol: "tls",
        after: seconds(10),
    };
    let goodbye = |code| ConnectionError::ClosedByPeer {
        code,
        reason: "".into(),
    };
    let lost = ConnectionError::TimedOut(Timeout::Silence);
    let fatal: [DialError; 13] = [
        TransportError::InvalidProxy { problem: "none" }.into(),
        proxy_refused(407).into(),
        to_proxy("no endpoint".parse::<Endpoint>().unwrap_err()).into(),
        certificate.into(),
        "no endpoint".parse::<Endpoint>().unwrap_err().into(),
        refused(400).into(),
        refused(401).into(),
        refused(404).into(),
        refused(499).into(),
        tls_refused("UnknownCA").into(),
        tls_refused("ProtocolVersion").into(),
        ConnectionError::Version { min: 9, max: 9 }.into(),
        goodbye(Code::VERSION).into(),
    ];
    let passing: [DialError; 16] = [
        // What Privoxy says of a name that it cannot look up, as without a network.
        proxy_refused(404).into(),
        proxy_refused(503).into(),
        to_proxy(hung.clone()).into(),
        hung.into(),
        refused(302).into(),
        refused(408).into(),
        refused(425).into(),
        refused(429).into(),
        refused(500).into(),
        refused(503).into(),
        tls_refused("InternalError").into(),
        goodbye(Code::NONE).into(),
        goodbye(Code::application(1)).into(),
        lost.into(),
        DialError::TimedOut { after: seconds(10) },
        DialError::other("anything"),
    ];
    for (errors, expected) in [(&fatal[..], true), (&passing[..], false)] {
        for error in errors {
            assert_eq!(error.is_fatal(), expected, "{error}");
        }
    }
}

/// Drops its tasks.
#[derive(Debug)]
struct Gone;

impl Runtime for Gone {
    fn spawn(&self, task: Task) {
        drop(task);
    }

    fn sleep_until(&self, _: Instant) -> Task {
        Box::pin(std::future::pending())
    }
}

#[test]
fn whoever_waits_is_told_when_its_task_is_dropped() {
    let world = World::new();
    let dial = Dial(Arc::clone(&world.peer));
    let link = Link::with_runtime(dial, LinkConfig::default(), Arc::new(Gone));
    let error = world.run(link.connection()).expect("an end").unwrap_err();
    assert!(matches!(error, LinkError::Abandoned), "{error}");
}
