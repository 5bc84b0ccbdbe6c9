//! Connections that are cut under a call.

use std::time::Duration;

use super::world::{Ask, Asking, World};
use crate::rpc::{
    CallError, CallLimits, CallOptions, Client, ClientConfig, Delivery, DialError, FaultKind, Loss,
};

const KEY: u128 = 77;

fn with(delivery: Delivery) -> CallOptions {
    CallOptions::default().delivery(delivery)
}

/// Makes a call on a connection that is cut after so many bytes, then gives it another one; answers what
/// came of it and how often it was run.
fn cut_after(forth: usize, back: usize, delivery: Delivery) -> (Result<Vec<u8>, CallError>, usize) {
    let mut world = World::new();
    world.connect_until(forth, back);
    let call = world.ask_with(Ask::Echo(1), with(delivery));
    if world.is_cut() {
        world.cut();
        world.connect();
    }
    (call.output().unwrap(), world.log.runs(1))
}

/// Every place where either direction can be cut, from the first byte to the last one that matters.
fn every_cut() -> impl Iterator<Item = (usize, usize)> {
    const MOST: usize = 300;
    let forth = (1..MOST).map(|bytes| (bytes, usize::MAX));
    forth.chain((1..MOST).map(|bytes| (usize::MAX, bytes)))
}

#[test]
fn the_cuts_reach_from_before_the_call_to_after_its_answer() {
    let outcomes = every_cut().map(|(forth, back)| cut_after(forth, back, Delivery::AtMostOnce));
    let (mut lost, mut run_and_lost) = (0, 0);
    for (outcome, runs) in outcomes {
        match (outcome, runs) {
            (Ok(_), _) => {}
            (Err(_), 0) => lost += 1,
            (Err(_), _) => run_and_lost += 1,
        }
    }
    assert!(lost > 5 && run_and_lost > 5, "{lost}, {run_and_lost}");
    for (forth, back) in [(299, usize::MAX), (usize::MAX, 299)] {
        let mut world = World::new();
        world.connect_until(forth, back);
        assert!(world.ask(Ask::Echo(1)).output().unwrap().is_ok());
        assert!(
            !world.is_cut(),
            "the call fits into the bytes that are tried"
        );
    }
}

#[test]
fn at_most_once_is_never_run_twice_wherever_the_connection_is_cut() {
    for (forth, back) in every_cut() {
        let (outcome, runs) = cut_after(forth, back, Delivery::AtMostOnce);
        match outcome {
            Ok(_) => assert_eq!(runs, 1, "{forth} {back}"),
            Err(CallError::Unknown(Loss::Channel(_))) => assert!(runs <= 1, "{forth} {back}"),
            Err(error) => panic!("{forth} {back}: {error}"),
        }
    }
}

#[test]
fn at_least_once_is_run_and_answered_wherever_the_connection_is_cut() {
    let mut twice = 0;
    for (forth, back) in every_cut() {
        let (outcome, runs) = cut_after(forth, back, Delivery::AtLeastOnce);
        assert!(outcome.is_ok() && runs >= 1, "{forth} {back}");
        twice += usize::from(runs == 2);
    }
    assert!(twice > 0);
}

#[test]
fn an_idempotent_call_is_run_once_wherever_the_connection_is_cut() {
    for (forth, back) in every_cut() {
        let (outcome, runs) = cut_after(forth, back, Delivery::Idempotent(KEY));
        assert!(outcome.is_ok(), "{forth} {back}");
        assert_eq!(runs, 1, "{forth} {back}");
    }
}

#[test]
fn an_idempotent_call_runs_on_while_its_connection_is_gone() {
    let mut world = World::new();
    world.connect();
    let call = world.ask_with(Ask::Wait(1), with(Delivery::Idempotent(KEY)));
    for _ in 0..5 {
        world.cut();
        assert_eq!(world.log.dropped(), [0_u64; 0]);
        world.connect();
    }
    assert!(call.output().is_none());
    world.log.release();
    world.settle();
    assert_eq!(call.output().unwrap().unwrap(), 1_u64.to_le_bytes());
    assert_eq!(world.log.runs(1), 1);
}

#[test]
fn an_idempotent_call_that_ended_meanwhile_is_answered_from_memory() {
    let mut world = World::new();
    world.connect();
    let call = world.ask_with(Ask::Wait(1), with(Delivery::Idempotent(KEY)));
    world.cut();
    world.log.release();
    world.settle();
    world.connect();
    assert_eq!(call.output().unwrap().unwrap(), 1_u64.to_le_bytes());
    assert_eq!(world.log.runs(1), 1);
}

#[test]
fn an_idempotent_call_is_not_run_by_another_start_of_the_service() {
    let mut world = World::new();
    world.connect();
    let sent = world.ask_with(Ask::Wait(1), with(Delivery::Idempotent(KEY)));
    world.cut();
    let unsent = world.ask_with(Ask::Echo(2), with(Delivery::Idempotent(KEY + 1)));
    world.restart_service();
    world.connect();
    let error = sent.output().unwrap().unwrap_err();
    assert!(matches!(error, CallError::Unknown(Loss::Restarted)));
    assert_eq!(world.log.runs(1), 1);
    unsent.output().unwrap().unwrap();
}

#[test]
fn an_idempotent_call_that_is_forgotten_is_not_run_again() {
    let mut world = World::new();
    world.connect();
    let options = with(Delivery::Idempotent(KEY)).deadline(Duration::from_secs(200));
    let call = world.ask_with(Ask::Wait(1), options);
    world.cut();
    world.log.release();
    world.advance(60_000);
    world.connect();
    let CallError::Fault(fault) = call.output().unwrap().unwrap_err() else {
        panic!("a fault of the service");
    };
    assert_eq!(fault.kind(), FaultKind::KeyForgotten);
    assert_eq!(world.log.runs(1), 1);
}

/// Its time was long enough, had the link stayed.
#[test]
fn a_call_that_is_not_sent_again_in_time_says_why_there_was_no_connection() {
    let mut world = World::new();
    world.connect();
    let call = world.ask_with(Ask::Wait(1), with(Delivery::AtLeastOnce));
    world.advance(1_000);
    world.cut();
    world.fail(DialError::other("no route"));
    world.advance(8_999);
    assert!(call.output().is_none());
    world.advance(1);
    let error = call.output().unwrap().unwrap_err();
    assert!(!error.is_not_run());
    let text = "the call was sent and its answer lost, whether it was run is unknown: its time was up before it was sent again: no route";
    assert_eq!(error.to_string(), text);
}

/// As with a key of an HTTP API: the caller does not know what came of it, and tries again by hand.
#[test]
fn a_key_that_is_used_again_is_never_run_by_another_start_of_the_service() {
    let keyed = || with(Delivery::Idempotent(KEY)).deadline(Duration::from_secs(1));
    let gives_up: [fn(&mut World); 3] = [
        |world| {
            let call = world.ask_with(Ask::Wait(1), with(Delivery::Idempotent(KEY)));
            call.drop_future();
        },
        |world| world.advance(1_000),
        |world| {
            world.cut();
            world.advance(1_000);
        },
    ];
    for (way, give_up) in gives_up.into_iter().enumerate() {
        let mut world = World::new();
        world.connect();
        let first = world.ask_with(Ask::Wait(1), keyed());
        give_up(&mut world);
        world.cut();
        world.restart_service();
        for try_ in 0..3 {
            let early = world.ask_with(Ask::Echo(1), keyed());
            world.connect();
            let late = world.ask_with(Ask::Echo(1), keyed());
            for again in [early, late] {
                let error = again.output().unwrap().unwrap_err();
                let is_unknown = matches!(error, CallError::Unknown(Loss::Restarted));
                assert!(is_unknown && !error.is_not_run(), "{way} {try_}: {error}");
            }
            world.cut();
        }
        drop(first);
        assert_eq!(world.log.runs(1), 1, "{way}");
    }
}

#[test]
fn a_key_that_is_used_again_is_answered_by_the_start_that_ran_it_and_is_settled_then() {
    let mut world = World::new();
    world.connect();
    let options = with(Delivery::Idempotent(KEY));
    let first = world.ask_with(Ask::Wait(1), options);
    first.drop_future();
    world.settle();
    world.log.release();
    world.settle();
    world.cut();
    world.connect();
    let again = world.ask_with(Ask::Wait(1), options);
    assert_eq!(again.output().unwrap().unwrap(), 1_u64.to_le_bytes());
    world.restart_service();
    world.cut();
    world.connect();
    let another = world.ask_with(Ask::Echo(2), options);
    assert_eq!(another.output().unwrap().unwrap(), 2_u64.to_le_bytes());
    assert_eq!(world.log.runs(1), 1);
}

#[test]
fn equal_keys_are_one_call() {
    let mut world = World::new();
    world.connect();
    let calls =
        [1, 2].map(|number| world.ask_with(Ask::Wait(number), with(Delivery::Idempotent(KEY))));
    world.log.release();
    world.settle();
    for call in calls {
        assert_eq!(call.output().unwrap().unwrap(), 1_u64.to_le_bytes());
    }
    assert_eq!((world.log.runs(1), world.log.runs(2)), (1, 0));
}

#[test]
fn what_is_sent_again_goes_first_and_in_order() {
    let mut world = World::new();
    world.connect();
    let sent: Vec<_> = (0..10)
        .map(|number| world.ask_with(Ask::Wait(number), with(Delivery::AtLeastOnce)))
        .collect();
    world.cut();
    let queued: Vec<_> = (10..20)
        .map(|number| world.ask(Ask::Wait(number)))
        .collect();
    world.log.order.lock().unwrap().clear();
    world.connect();
    let order: Vec<u64> = (0..20).collect();
    assert_eq!(*world.log.order.lock().unwrap(), order);
    world.log.release();
    world.settle();
    for call in sent.iter().chain(&queued) {
        assert!(call.output().unwrap().is_ok());
    }
}

#[test]
fn an_answer_that_came_is_delivered_though_the_connection_is_gone() {
    let mut world = World::new();
    world.connect();
    let mut call = Box::pin(world.client.call(&Ask::Echo(1)));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(call.as_mut().poll(&mut context).is_pending());
    world.settle();
    world.clock.run_until_stalled();
    // Neither borrows what the other needs: the future holds the client alone.
    drop(world.ends.take());
    assert!(call.as_mut().poll(&mut context).is_ready());
}

#[test]
fn an_idempotent_call_that_panicked_is_not_run_again() {
    let mut world = World::new();
    world.connect();
    for ask in [Ask::PanicLater, Ask::Echo(1)] {
        let call = world.ask_with(ask, with(Delivery::Idempotent(KEY)));
        world.settle();
        let CallError::Fault(fault) = call.output().unwrap().unwrap_err() else {
            panic!("a fault of the service");
        };
        assert_eq!(fault.kind(), FaultKind::Panicked);
    }
    assert_eq!(world.log.runs(1), 0);
}

#[test]
fn a_greedy_client_has_no_key_of_another_forgotten() {
    let limits = CallLimits::default().key_memory(64 * 1024);
    let mut world = World::with(&ClientConfig::default(), limits);
    world.connect();
    let honest = || world.ask_with(Ask::Echo(7), with(Delivery::Idempotent(KEY)));
    assert!(honest().output().unwrap().is_ok());
    let greedy: Client<Asking> = Client::new(&world.link);
    for key in 0..500 {
        let options = with(Delivery::Idempotent(key));
        world
            .run(greedy.call_with(&Ask::Long(1000), options))
            .unwrap();
    }
    assert!(honest().output().unwrap().is_ok());
    assert_eq!(world.log.runs(7), 1, "it was answered from memory");
}

#[test]
fn a_key_that_waits_in_vain_to_be_used_again_is_no_proof_that_it_was_not() {
    let limits = CallLimits::default();
    let mut world = World::with(&ClientConfig::default().calls_at_once(1), limits);
    world.connect();
    let again = || with(Delivery::Idempotent(KEY)).deadline(Duration::from_millis(100));
    world.ask_with(Ask::Wait(1), again()).drop_future();
    world.settle();
    let _other = world.ask(Ask::Wait(2));
    let [known, new] = [KEY, KEY + 1].map(|key| {
        let options = again().delivery(Delivery::Idempotent(key));
        world.ask_with(Ask::Wait(1), options)
    });
    world.advance(100);
    let [known, new] = [known, new].map(|call| call.output().unwrap().unwrap_err());
    assert!(
        matches!(known, CallError::Unknown(Loss::NotSentAgain(None))),
        "{known}"
    );
    assert!(new.is_not_run(), "{new}");
    assert_eq!(world.log.runs(1), 1);
}
