//! Futures of calls that are dropped, at every point of their life.

use std::task::{Context, Waker};

use super::world::{Ask, World};
use crate::rpc::{CallLimits, ClientConfig};

#[test]
fn before_it_is_polled_it_has_done_nothing() {
    let mut world = World::new();
    world.connect();
    drop(world.client.call(&Ask::Echo(1)));
    world.settle();
    assert_eq!(world.log.runs(1), 0);
}

#[test]
fn while_it_waits_for_a_permit_nothing_goes() {
    let config = ClientConfig::default().calls_at_once(1);
    let mut world = World::with(&config, CallLimits::default());
    world.connect();
    let first = world.ask(Ask::Wait(1));
    let second = world.ask(Ask::Wait(2));
    second.drop_future();
    world.log.release();
    world.settle();
    assert!(first.output().unwrap().is_ok());
    assert_eq!(world.log.runs(2), 0);
    assert!(world.ask(Ask::Echo(3)).output().unwrap().is_ok());
    assert_eq!(world.client.calls().kept(), 0);
}

#[test]
fn with_a_permit_that_was_just_granted_the_next_one_has_it() {
    let config = ClientConfig::default().calls_at_once(1);
    let mut world = World::with(&config, CallLimits::default());
    world.connect();
    let first = world.ask(Ask::Wait(1));
    let second = world.ask(Ask::Wait(2));
    let third = world.ask(Ask::Echo(3));
    first.drop_future();
    second.drop_future();
    world.settle();
    assert!(third.output().unwrap().is_ok());
    assert_eq!(world.log.runs(2), 0);
}

#[test]
fn while_it_waits_for_a_connection_nothing_goes() {
    let mut world = World::new();
    let calls: Vec<_> = (0..300)
        .map(|number| world.ask(Ask::Echo(number)))
        .collect();
    calls.iter().for_each(super::world::Running::drop_future);
    world.settle();
    assert_eq!(world.client.calls().kept(), 0);
    world.connect();
    assert_eq!(*world.log.order.lock().unwrap(), []);
}

#[test]
fn before_it_was_written_nothing_goes() {
    let mut world = World::new();
    world.connect();
    assert!(world.ask(Ask::Echo(0)).output().unwrap().is_ok());
    let ask = Ask::Echo(1);
    let mut call = Box::pin(world.client.call(&ask));
    let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
    drop(call);
    world.settle();
    assert_eq!(world.log.runs(1), 0);
    assert_eq!(world.client.calls().kept(), 0);
}

#[test]
fn while_the_handler_runs_it_is_dropped() {
    let mut world = World::new();
    world.connect();
    let calls: Vec<_> = (0..3).map(|number| world.ask(Ask::Wait(number))).collect();
    calls[1].drop_future();
    world.settle();
    assert_eq!(world.log.dropped(), [1]);
    assert_eq!(world.client.calls().kept(), 2);
    world.log.release();
    world.settle();
    assert!(calls[0].output().unwrap().is_ok());
    assert!(calls[2].output().unwrap().is_ok());
}

#[test]
fn after_its_answer_came_nothing_is_left() {
    let mut world = World::new();
    world.connect();
    let ask = Ask::Echo(1);
    let mut call = Box::pin(world.client.call(&ask));
    let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
    world.settle();
    assert_eq!((world.log.runs(1), world.client.calls().kept()), (1, 1));
    drop(call);
    world.settle();
    assert_eq!(world.client.calls().kept(), 0);
    assert_eq!(world.log.dropped(), [0_u64; 0]);
}

#[test]
fn a_cancel_never_overtakes_its_request() {
    let mut world = World::new();
    world.connect();
    for number in 0..2_000 {
        let call = world.ask(Ask::Wait(number));
        call.drop_future();
        if number % 3 == 0 {
            world.settle();
        }
    }
    world.settle();
    let begun = world.log.order.lock().unwrap().clone();
    assert_eq!(
        world.log.dropped(),
        begun,
        "each one that was begun was dropped"
    );
    assert_eq!(world.client.calls().kept(), 0);
}

#[test]
fn a_call_that_is_given_up_is_told_to_the_next_connection_by_nobody() {
    let mut world = World::new();
    world.connect();
    let call = world.ask(Ask::Wait(1));
    world.cut();
    call.drop_future();
    world.settle();
    world.connect();
    assert!(world.ask(Ask::Echo(2)).output().unwrap().is_ok());
    assert_eq!(world.log.runs(1), 1);
    assert_eq!(
        world.log.dropped(),
        [1],
        "the handler went with its connection"
    );
}
