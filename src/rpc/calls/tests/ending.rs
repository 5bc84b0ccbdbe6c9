//! What ends, and what that ends.

use super::world::{Ask, World};
use crate::mux::Code;
use crate::rpc::{CallError, CallOptions, Delivery, LinkError, Loss};

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
