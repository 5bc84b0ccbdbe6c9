//! Calls that wait: for a connection, for a permit.

use std::time::Duration;

use super::world::{Ask, World};
use crate::rpc::{CallError, CallLimits, CallOptions, ClientConfig};

#[test]
fn ten_thousand_calls_wait_for_the_connection_and_are_answered_in_order() {
    const CALLS: u64 = 10_000;
    let mut world = World::new();
    let calls: Vec<_> = (0..CALLS)
        .map(|number| world.ask(Ask::Echo(number)))
        .collect();
    assert_eq!(world.client.calls().kept(), 256);
    world.advance(2_000);
    world.connect();
    for (number, call) in (0_u64..).zip(&calls) {
        assert_eq!(call.output().unwrap().unwrap(), number.to_le_bytes());
    }
    let order: Vec<u64> = (0..CALLS).collect();
    assert_eq!(*world.log.order.lock().unwrap(), order);
    assert_eq!(world.client.calls().kept(), 0);
}

#[test]
fn deadlines_shorter_than_the_outage_pass_on_time() {
    let mut world = World::new();
    let options = CallOptions::default().deadline(Duration::from_millis(1_500));
    let calls: Vec<_> = (0..1_000)
        .map(|number| world.ask_with(Ask::Echo(number), options))
        .collect();
    world.advance(1_499);
    assert!(calls.iter().all(|call| call.output().is_none()));
    world.advance(1);
    for call in &calls {
        let error = call.output().unwrap().unwrap_err();
        assert!(matches!(error, CallError::NoConnection { why: None }));
    }
    world.connect();
    assert_eq!(*world.log.order.lock().unwrap(), []);
    assert_eq!(world.client.calls().kept(), 0);
    assert!(world.ask(Ask::Echo(1)).output().unwrap().is_ok());
}

#[test]
fn an_earlier_deadline_is_kept_beside_a_later_one() {
    let world = World::new();
    let late = world.ask(Ask::Echo(1));
    let options = CallOptions::default().deadline(Duration::from_millis(100));
    let early = world.ask_with(Ask::Echo(2), options);
    world.advance(100);
    assert!(early.output().unwrap().is_err());
    assert!(late.output().is_none());
}

#[test]
fn a_client_keeps_to_what_the_service_does_at_once() {
    let limits = CallLimits::default().calls_at_once(3);
    let mut world = World::with(&ClientConfig::default(), limits);
    world.connect();
    let calls: Vec<_> = (0..5).map(|number| world.ask(Ask::Wait(number))).collect();
    assert_eq!(*world.log.order.lock().unwrap(), [0, 1, 2]);
    calls[1].drop_future();
    world.settle();
    assert_eq!(*world.log.order.lock().unwrap(), [0, 1, 2, 3]);
    world.log.release();
    world.settle();
    for number in [0, 2, 3, 4] {
        assert!(calls[number].output().unwrap().is_ok());
    }
}

#[test]
fn a_permit_is_granted_in_the_order_of_asking() {
    let config = ClientConfig::default().calls_at_once(1);
    let mut world = World::with(&config, CallLimits::default());
    world.connect();
    let calls: Vec<_> = (0..4).map(|number| world.ask(Ask::Wait(number))).collect();
    assert_eq!(*world.log.order.lock().unwrap(), [0]);
    calls[0].drop_future();
    world.settle();
    assert_eq!(*world.log.order.lock().unwrap(), [0, 1]);
    calls[2].drop_future();
    calls[1].drop_future();
    world.settle();
    assert_eq!(*world.log.order.lock().unwrap(), [0, 1, 3]);
    world.log.release();
    world.settle();
    assert!(calls[3].output().unwrap().is_ok());
}

#[test]
fn waiting_for_a_permit_ends_with_the_deadline() {
    let config = ClientConfig::default().calls_at_once(1);
    let mut world = World::with(&config, CallLimits::default());
    world.connect();
    let long = CallOptions::default().deadline(Duration::from_mins(1));
    let first = world.ask_with(Ask::Wait(1), long);
    let second = world.ask(Ask::Wait(2));
    world.advance(10_000);
    let error = second.output().unwrap().unwrap_err();
    assert!(matches!(error, CallError::DeadlinePassed { sent: false }));
    world.log.release();
    world.settle();
    assert!(first.output().unwrap().is_ok());
    assert_eq!(world.log.runs(2), 0);
}

#[test]
fn a_handler_that_takes_long_keeps_the_connection_alive() {
    let mut world = World::new();
    world.connect();
    let options = CallOptions::default().deadline(Duration::from_secs(100));
    let call = world.ask_with(Ask::Wait(1), options);
    world.advance(99_000);
    world.log.release();
    world.settle();
    assert!(call.output().unwrap().is_ok());
    assert!(!world.is_cut());
}
