use super::world::{Ask, World};
use crate::rpc::{CallError, FaultKind};

#[test]
fn a_call_is_answered() {
    let mut world = World::new();
    world.connect();
    let answer = world.run(world.client.call(&Ask::Echo(7)));
    assert_eq!(answer.unwrap(), 7_u64.to_le_bytes());
}

#[test]
fn a_call_waits_for_a_connection() {
    let mut world = World::new();
    let call = world.ask(Ask::Echo(7));
    world.advance(9_000);
    assert!(call.output().is_none());
    world.connect();
    assert_eq!(call.output().unwrap().unwrap(), 7_u64.to_le_bytes());
}

#[test]
fn a_deadline_passes_in_every_state_of_the_link() {
    let mut world = World::new();
    let unsent = world.ask(Ask::Wait(1));
    world.advance(9_999);
    assert!(unsent.output().is_none());
    world.advance(1);
    let error = unsent.output().unwrap().unwrap_err();
    assert!(matches!(error, CallError::NoConnection { why: None }));
    world.connect();
    let sent = world.ask(Ask::Wait(2));
    world.advance(10_000);
    let error = sent.output().unwrap().unwrap_err();
    assert!(matches!(error, CallError::DeadlinePassed { sent: true }));
    assert_eq!(world.log.dropped(), [2]);
    assert_eq!(world.log.runs(1), 0);
}

#[test]
fn calls_at_once_are_answered_each() {
    let mut world = World::new();
    world.connect();
    let calls: Vec<_> = (0..1000)
        .map(|number| world.ask(Ask::Wait(number)))
        .collect();
    assert_eq!(world.log.order.lock().unwrap().len(), 256);
    world.log.release();
    world.settle();
    for (number, call) in (0_u64..).zip(&calls) {
        assert_eq!(call.output().unwrap().unwrap(), number.to_le_bytes());
    }
    let order: Vec<u64> = (0..1000).collect();
    assert_eq!(*world.log.order.lock().unwrap(), order);
}

#[test]
fn a_panic_is_a_fault_of_its_call_alone() {
    let mut world = World::new();
    world.connect();
    let waits = world.ask(Ask::Wait(1));
    for ask in [Ask::Panic, Ask::PanicLater] {
        let error = world.run(world.client.call(&ask)).unwrap_err();
        let CallError::Fault(fault) = error else {
            panic!("{error}");
        };
        assert_eq!(fault.kind(), FaultKind::Panicked);
    }
    world.log.release();
    world.settle();
    assert!(waits.output().unwrap().is_ok());
}
