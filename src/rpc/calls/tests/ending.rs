//! What ends, and what that ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::BytesMut;

use super::world::{Ask, World};
use crate::mux::{ChannelError, Code, Router};
use crate::rpc::calls::message::put_welcome;
use crate::rpc::{
    CallError, CallLimits, CallOptions, ClientConfig, Delivery, DialError, LinkError, Loss,
};

#[test]
fn a_link_that_is_down_tells_every_call() {
    let mut world = World::new();
    world.connect();
    let sent = world.ask(Ask::Wait(1));
    world.cut();
    assert!(matches!(
        sent.output().unwrap(),
        Err(CallError::Unknown(Loss::Channel(_)))
    ));
    let resent = {
        world.connect();
        let options = CallOptions::default().delivery(Delivery::AtLeastOnce);
        let call = world.ask_with(Ask::Wait(2), options);
        world.cut();
        call
    };
    let queued = world.ask(Ask::Echo(3));
    world.down(LinkError::Closed);
    let is_not_sent = |outcome| matches!(outcome, Err(CallError::NotSent(LinkError::Closed)));
    assert!(is_not_sent(queued.output().unwrap()));
    assert!(is_not_sent(world.ask(Ask::Echo(4)).output().unwrap()));
    let error = resent.output().unwrap().unwrap_err();
    assert!(matches!(error, CallError::Unknown(Loss::Link(_))));
    assert!(!error.is_not_run());
    assert_eq!(world.client.calls().kept(), 0);
}

#[test]
fn those_who_wait_for_a_permit_are_told_that_the_link_is_down() {
    let world = World::new();
    let calls: Vec<_> = (0..300)
        .map(|number| world.ask(Ask::Echo(number)))
        .collect();
    world.down(LinkError::Closed);
    for call in calls {
        let error = call.output().unwrap().unwrap_err();
        assert!(matches!(error, CallError::NotSent(_)) && error.is_not_run());
    }
}

#[test]
fn a_peer_that_does_not_serve_the_interface_is_said() {
    let mut world = World::new();
    world.connect_to_nothing();
    let calls: Vec<_> = (0..300)
        .map(|number| world.ask(Ask::Echo(number)))
        .collect();
    for call in calls {
        let error = call.output().unwrap().unwrap_err();
        let CallError::NotServed { code, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(code, Code::UNKNOWN_PROTOCOL);
    }
    world.cut();
    world.connect();
    assert!(world.ask(Ask::Echo(1)).output().unwrap().is_ok());
}

#[test]
fn the_tasks_end_with_the_last_client_and_call() {
    let mut world = World::new();
    world.connect();
    let before = world.settle();
    let waiting = world.ask(Ask::Wait(1));
    let clone = world.client.clone();
    drop(std::mem::replace(
        &mut world.client,
        crate::rpc::Client::new(&world.link),
    ));
    assert!(world.run(clone.call(&Ask::Echo(2))).is_ok());
    drop(clone);
    assert!(world.settle() > before);
    world.log.release();
    world.settle();
    assert!(
        waiting.output().unwrap().is_ok(),
        "a call keeps the client alive"
    );
    assert_eq!(world.settle(), before);
}

#[test]
fn the_tasks_end_while_there_is_no_connection() {
    let mut world = World::new();
    let before = world.settle();
    let call = world.ask(Ask::Echo(1));
    world.client = crate::rpc::Client::new(&world.link);
    assert!(world.settle() > before);
    call.drop_future();
    assert_eq!(world.settle(), before);
}

/// Accepts channels of calls, the first of them in silence; answers how many there were.
fn silent_at_first(openings: &Arc<AtomicUsize>) -> Router {
    let openings = Arc::clone(openings);
    Router::new().on_raw("asking/1.calls", move |mut channel| {
        let is_first = openings.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            if !is_first {
                let mut welcome = BytesMut::new();
                put_welcome(&mut welcome, 7, 256);
                channel.send(welcome.freeze()).await.unwrap();
            }
            loop {
                if channel.recv().await?.is_none() {
                    return Ok::<(), ChannelError>(());
                }
            }
        }
    })
}

#[test]
fn a_service_that_says_nothing_is_greeted_anew_and_calls_go_there_then() {
    let mut world = World::new();
    let openings = Arc::new(AtomicUsize::new(0));
    world.connect_to(silent_at_first(&openings));
    let call = world.ask(Ask::Echo(1));
    world.advance(4_999);
    assert_eq!(openings.load(Ordering::Relaxed), 1);
    world.advance(1 + 100);
    assert_eq!(openings.load(Ordering::Relaxed), 2);
    world.advance(60_000);
    assert_eq!(openings.load(Ordering::Relaxed), 2, "it was welcomed");
    let error = call.output().unwrap().unwrap_err();
    assert!(matches!(error, CallError::DeadlinePassed { sent: true }));
}

#[test]
fn calls_to_a_service_that_says_nothing_fail_with_what_was_waited_for() {
    let config = ClientConfig::default().calls_at_once(2);
    let mut world = World::with(&config, CallLimits::default());
    world.connect_to(silent_at_first(&Arc::default()));
    let ask = |seconds| {
        let options = CallOptions::default().deadline(Duration::from_secs(seconds));
        world.ask_with(Ask::Echo(1), options)
    };
    // The third waits for a permit.
    let calls = [ask(3), ask(4), ask(2)];
    world.advance(4_000);
    for call in calls {
        let error = call.output().unwrap().unwrap_err();
        assert!(matches!(error, CallError::NoWelcome), "{error}");
        assert!(error.is_not_run());
    }
    world.cut();
    let options = CallOptions::default().deadline(Duration::from_secs(1));
    let call = world.ask_with(Ask::Echo(1), options);
    world.advance(1_000);
    let error = call.output().unwrap().unwrap_err();
    assert!(matches!(error, CallError::NoConnection { .. }));
}

#[test]
fn when_a_silent_service_is_gone_too_calls_do_not_say_that_there_is_a_connection() {
    let mut world = World::new();
    world.connect_to(silent_at_first(&Arc::default()));
    let options = CallOptions::default().deadline(Duration::from_secs(6));
    let call = world.ask_with(Ask::Echo(1), options);
    world.advance(5_000);
    world.cut();
    world.advance(1_000);
    let error = call.output().unwrap().unwrap_err();
    let is_right = matches!(error, CallError::NoConnection { .. });
    assert!(is_right, "{error}");
}

#[test]
fn a_call_that_had_no_connection_says_why_there_is_none() {
    let config = ClientConfig::default().calls_at_once(1);
    let mut world = World::with(&config, CallLimits::default());
    let ask = |world: &World| {
        let options = CallOptions::default().deadline(Duration::from_secs(1));
        // The second waits for a permit.
        [1, 2].map(|number| world.ask_with(Ask::Echo(number), options))
    };
    let fails = |world: &World, expected: &str| {
        let calls = ask(world);
        world.advance(1_000);
        for call in calls {
            let error = call.output().unwrap().unwrap_err();
            assert!(matches!(error, CallError::NoConnection { .. }), "{error}");
            assert!(error.is_not_run());
            let text = "the time for the call was up before it was sent: there is no connection that takes it";
            assert_eq!(error.to_string(), format!("{text}{expected}"));
        }
    };
    fails(&world, "");
    world.fail(DialError::other("no route"));
    fails(&world, ": no route");
    // The channel of the calls is gone and its connection is not.
    let router = Router::new().on_raw("asking/1.calls", |channel| async move {
        channel.reset(Code::application(1), "");
        Ok::<_, ChannelError>(())
    });
    world.connect_to(router);
    let calls = ask(&world);
    world.advance(1_000);
    for call in calls {
        let error = call.output().unwrap().unwrap_err();
        assert!(matches!(error, CallError::NoWelcome), "{error}");
    }
    world.cut();
    fails(&world, "");
}
