//! Connections that drain: what they have is answered on them, and the next one takes the rest.

use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use event_listener::Event;
use futures_util::future::{AbortHandle, Abortable};

use super::world::{Ask, Running, World};
use crate::codec::{self, MaxMessageSize};
use crate::mux::{ChannelError, Config, Router};
use crate::rpc::calls::message::{put_answer, put_welcome};
use crate::rpc::{CallError, CallLimits, CallOptions, ClientConfig, Delivery, LinkError, Loss};

type Asked = Running<Result<Vec<u8>, CallError>>;

fn welcome() -> Bytes {
    let mut message = BytesMut::new();
    put_welcome(&mut message, 7, 256);
    message.freeze()
}

/// A peer whose service welcomes clients and reads nothing from them.
fn deaf() -> Router {
    Router::new().on_raw("asking/1.calls", |mut channel| async move {
        channel.recv().await?;
        channel.send(welcome()).await.unwrap();
        pending::<Result<(), ChannelError>>().await
    })
}

#[test]
fn a_connection_that_drains_answers_what_it_has_and_the_next_one_takes_the_rest() {
    let mut world = World::new();
    world.connect();
    let first = world.ask(Ask::Wait(1));
    let drained = world.drain();
    let second = world.ask(Ask::Echo(2));
    world.settle();
    assert_eq!(
        world.log.runs(2),
        0,
        "nothing new goes to a peer that drains"
    );
    world.connect();
    assert!(second.output().unwrap().is_ok(), "it waits for nobody");
    assert!(first.output().is_none() && drained.output().is_none());
    world.log.release();
    world.settle();
    assert!(first.output().unwrap().is_ok());
    assert!(drained.output().unwrap().is_ok(), "nothing had to be cut");
    assert_eq!((world.log.runs(1), world.log.runs(2)), (1, 1));
}

#[test]
fn a_call_that_a_drain_holds_up_is_not_told_that_there_are_too_many() {
    let mut world = World::new();
    world.connect();
    let first = world.ask(Ask::Wait(1));
    let _drained = world.drain();
    let options = CallOptions::default().deadline(Duration::from_secs(1));
    let second = world.ask_with(Ask::Echo(2), options);
    world.advance(1_000);
    let error = second.output().unwrap().unwrap_err();
    assert!(matches!(error, CallError::NoConnection { .. }), "{error}");
    assert!(error.is_not_run());
    drop(first);
}

#[test]
fn a_call_that_is_given_up_on_a_connection_that_drains_is_cancelled_there() {
    let mut world = World::new();
    world.connect();
    let first = world.ask(Ask::Wait(1));
    let drained = world.drain();
    world.connect();
    first.drop_future();
    world.settle();
    assert_eq!(world.log.dropped(), [1]);
    assert!(drained.output().unwrap().is_ok());
}

#[test]
fn what_is_lost_on_a_connection_that_drains_is_repeated_beside_newer_calls() {
    let mut world = World::new();
    world.connect();
    let options = |delivery| CallOptions::default().delivery(delivery);
    let once = world.ask(Ask::Wait(1));
    let repeated = world.ask_with(Ask::Wait(2), options(Delivery::AtLeastOnce));
    let keyed = world.ask_with(Ask::Wait(3), options(Delivery::Idempotent(3)));
    let (_drained, cable) = (world.drain(), world.cable());
    world.connect();
    let newer = world.ask(Ask::Wait(4));
    cable.cut();
    world.settle();
    let error = once.output().unwrap().unwrap_err();
    assert!(matches!(error, CallError::Unknown(Loss::Channel(_))));
    let newest = world.ask(Ask::Wait(5));
    world.settle();
    assert_eq!(
        [1, 2, 3, 4, 5].map(|call| world.log.runs(call)),
        [1, 2, 1, 1, 1]
    );
    world.log.release();
    world.settle();
    for call in [repeated, keyed, newer, newest] {
        assert!(call.output().unwrap().is_ok());
    }
}

#[test]
fn a_keyed_call_that_a_server_takes_with_it_is_not_run_by_the_next_one() {
    let mut world = World::new();
    world.connect();
    let options = CallOptions::default().delivery(Delivery::Idempotent(1));
    let call = world.ask_with(Ask::Wait(1), options);
    let (_drained, cable) = (world.drain(), world.cable());
    world.restart_service();
    world.connect();
    assert!(world.ask(Ask::Echo(2)).output().unwrap().is_ok());
    assert!(call.output().is_none(), "it is still asked");
    cable.cut();
    world.settle();
    let error = call.output().unwrap().unwrap_err();
    assert!(matches!(error, CallError::Unknown(Loss::Restarted)));
    assert_eq!(world.log.runs(1), 1);
}

/// A connection beside four that drain, each of which has run one call and not answered it.
fn beside_four() -> (World, Vec<Asked>) {
    let mut world = World::new();
    let mut calls = Vec::new();
    for number in 0..4 {
        world.connect();
        calls.push(world.ask(Ask::Wait(number)));
        world.settle();
        assert_eq!(world.log.runs(number), 1);
        let _drained = world.drain();
    }
    world.connect();
    (world, calls)
}

#[test]
fn calls_go_on_beside_three_connections_that_drain_and_wait_beside_four() {
    let (world, mut calls) = beside_four();
    let options = CallOptions::default().deadline(Duration::from_secs(1));
    let late = world.ask_with(Ask::Echo(5), options);
    world.advance(1_000);
    let error = late.output().unwrap().unwrap_err();
    assert!(matches!(error, CallError::NoConnection { .. }), "{error}");
    let next = world.ask(Ask::Echo(4));
    assert_eq!(world.log.runs(4), 0);
    calls.remove(2).drop_future();
    world.settle();
    assert!(next.output().unwrap().is_ok());
    world.log.release();
    world.settle();
    for call in calls {
        assert!(call.output().unwrap().is_ok());
    }
}

#[test]
fn who_waits_for_room_is_told_when_the_link_is_down_and_the_others_are_answered() {
    let (world, calls) = beside_four();
    let waiting = world.ask(Ask::Echo(4));
    world.down(LinkError::Closed);
    let error = waiting.output().unwrap().unwrap_err();
    assert!(matches!(error, CallError::NotSent(LinkError::Closed)));
    world.log.release();
    world.settle();
    for call in calls {
        assert!(call.output().unwrap().is_ok());
    }
}

#[test]
fn an_idle_client_lets_its_connection_drain_at_once() {
    let mut world = World::new();
    world.connect();
    assert!(world.ask(Ask::Echo(1)).output().unwrap().is_ok());
    let (here, _) = world.ends.clone().unwrap();
    let drained = world.spawn(async move { here.drain(Duration::from_secs(20)).await });
    assert!(drained.output().unwrap().is_ok());
    world.connect();
    assert!(world.ask(Ask::Echo(2)).output().unwrap().is_ok());
}

/// More than a peer that reads nothing takes.
fn fill(world: &World) -> [Asked; 4] {
    [(); 4].map(|()| world.ask(Ask::Bytes(vec![7; 512 * 1024])))
}

#[test]
fn a_peer_that_drains_and_reads_nothing_holds_up_no_call_on_the_next_connection() {
    let mut world = World::new();
    world.config = Config::default().channel_send_buffer(16 * 1024);
    world.connect_to(deaf());
    let large = fill(&world);
    let _drained = world.drain();
    world.connect();
    // Its cancel cannot be written.
    large[0].drop_future();
    world.settle();
    assert!(world.ask(Ask::Echo(1)).output().unwrap().is_ok());
}

#[test]
fn a_peer_that_reads_nothing_holds_up_no_cancel_on_a_connection_that_drains() {
    let mut world = World::new();
    world.connect();
    let call = world.ask(Ask::Wait(1));
    let drained = world.drain();
    world.config = Config::default().channel_send_buffer(16 * 1024);
    world.connect_to(deaf());
    let _large = fill(&world);
    call.drop_future();
    world.settle();
    assert_eq!(world.log.dropped(), [1]);
    assert!(drained.output().unwrap().is_ok());
}

/// A service that ends a channel when the test says so, and in time each as soon as the next one has a
/// request.
#[derive(Clone, Default)]
struct Fickle {
    channels: Arc<Mutex<Vec<AbortHandle>>>,
    is_at_it: Arc<AtomicBool>,
}

impl Fickle {
    const MOST: usize = 100;

    fn router(&self) -> Router {
        let this = self.clone();
        Router::new().on_raw("asking/1.calls", move |mut channel| {
            let this = this.clone();
            async move {
                let (abort, registration) = AbortHandle::new_pair();
                let number = this.count();
                this.channels.lock().unwrap().push(abort);
                let work = async {
                    channel.recv().await?;
                    channel.send(welcome()).await.unwrap();
                    channel.recv().await?;
                    if number < Self::MOST && this.is_at_it.load(Ordering::SeqCst) {
                        this.end(number - 1);
                    }
                    pending::<Result<(), ChannelError>>().await
                };
                Abortable::new(work, registration).await.unwrap_or(Ok(()))
            }
        })
    }

    fn count(&self) -> usize {
        self.channels.lock().unwrap().len()
    }

    fn end(&self, number: usize) {
        self.channels.lock().unwrap()[number].abort();
    }
}

#[test]
fn a_service_that_ends_one_channel_after_the_other_is_asked_again_after_a_pause() {
    let mut world = World::new();
    let service = Fickle::default();
    let ask = |world: &World| {
        let options = CallOptions::default().delivery(Delivery::AtLeastOnce);
        world.ask_with(Ask::Echo(1), options)
    };
    world.connect_to(service.router());
    let _first = ask(&world);
    let _drained = world.drain();
    world.connect_to(service.router());
    let _second = ask(&world);
    service.end(0);
    world.advance(100);
    assert_eq!(service.count(), 3, "the first call is repeated");
    let _third = ask(&world);
    service.is_at_it.store(true, Ordering::SeqCst);
    service.end(1);
    world.advance(5_000);
    let count = service.count();
    assert!((5..15).contains(&count), "{count} channels");
}

#[test]
fn a_service_takes_as_many_idempotent_calls_on_the_next_connection_while_one_drains() {
    let limits = CallLimits::default().calls_at_once(2);
    let mut world = World::with(&ClientConfig::default(), limits);
    let ask = |world: &World, number: u64| {
        let options = CallOptions::default().delivery(Delivery::Idempotent(number.into()));
        world.ask_with(Ask::Wait(number), options)
    };
    world.connect();
    let mut calls = vec![ask(&world, 1), ask(&world, 2)];
    let _drained = world.drain();
    world.connect();
    calls.extend([ask(&world, 3), ask(&world, 4), ask(&world, 5)]);
    assert_eq!(*world.log.order.lock().unwrap(), [1, 2, 3, 4]);
    world.log.release();
    world.settle();
    for call in calls {
        assert!(call.output().unwrap().is_ok());
    }
}

#[test]
fn an_answer_on_a_connection_that_drains_may_be_as_long_as_that_one_takes() {
    let mut world = World::new();
    let answer = Arc::new(Event::new());
    let released = Arc::clone(&answer);
    world.connect_to(Router::new().on_raw("asking/1.calls", move |mut channel| {
        let released = released.listen();
        async move {
            channel.recv().await?;
            channel.send(welcome()).await.unwrap();
            channel.recv().await?;
            released.await;
            let mut message = BytesMut::new();
            put_answer(&mut message, 1);
            let body = vec![7_u8; 100_000];
            codec::encode(&body, &mut message, MaxMessageSize::default()).unwrap();
            channel.send(message.freeze()).await.unwrap();
            channel.recv().await.map(drop)
        }
    }));
    let call = world.ask(Ask::Wait(1));
    let _drained = world.drain();
    world.config = Config::default().max_message_size(4096);
    world.connect();
    assert!(world.ask(Ask::Echo(2)).output().unwrap().is_ok());
    answer.notify(usize::MAX);
    world.settle();
    assert_eq!(call.output().unwrap().unwrap().len(), 100_000);
}
