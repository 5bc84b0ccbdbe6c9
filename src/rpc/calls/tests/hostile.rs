//! Peers that break the rules, on either side.

use std::time::Duration;

use bytes::{BufMut, BytesMut};

use super::world::{Ask, World};
use crate::codec::{self, MaxMessageSize};
use crate::mux::{ChannelError, Code, Config, RawChannel};
use crate::rpc::calls::message::{
    Answered, put_answer, put_cancel, put_hello, put_request, put_welcome,
};
use crate::rpc::{CallError, CallLimits, CallOptions, ClientConfig, Delivery, FaultKind, Loss};

/// A client that says what the test wants.
struct Caller {
    channel: RawChannel,
}

fn message(write: impl FnOnce(&mut BytesMut)) -> bytes::Bytes {
    let mut buffer = BytesMut::new();
    write(&mut buffer);
    buffer.freeze()
}

fn request(id: u64, milliseconds: u32, ask: &Ask) -> bytes::Bytes {
    message(|buffer| {
        put_request(buffer, id, milliseconds, None);
        codec::encode(ask, buffer, MaxMessageSize::default()).unwrap();
    })
}

impl Caller {
    fn new(world: &World) -> Self {
        let (here, _) = world.ends.as_ref().unwrap();
        let channel = world.run(here.open_raw("asking/1.calls")).unwrap();
        Self { channel }
    }

    /// One that is welcome.
    fn greeted(world: &World) -> Self {
        let mut caller = Self::new(world);
        caller.say(world, message(|buffer| put_hello(buffer, 1, 0)));
        let welcome = world.run(caller.channel.recv()).unwrap().unwrap();
        assert!(matches!(
            Answered::take(&welcome),
            Ok(Answered::Welcome { .. })
        ));
        caller
    }

    fn say(&mut self, world: &World, message: bytes::Bytes) {
        world.run(self.channel.send(message)).unwrap();
        world.settle();
    }

    /// The id of the fault that comes next, and its kind.
    fn fault(&mut self, world: &World) -> (u64, FaultKind) {
        let heard = world.run(self.channel.recv()).unwrap().unwrap();
        match Answered::take(&heard) {
            Ok(Answered::Fault { id, fault }) => (id, fault.kind()),
            other => panic!("{other:?}"),
        }
    }

    /// The code that the service ended the channel with.
    fn end(&mut self, world: &World) -> Code {
        match world.run(self.channel.recv()) {
            Err(ChannelError::ResetByPeer { code, .. }) => code,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_service_clamps_the_time_of_a_call() {
    let mut world = World::new();
    world.connect();
    let mut caller = Caller::greeted(&world);
    caller.say(&world, request(1, u32::MAX, &Ask::Wait(1)));
    caller.say(&world, request(u64::MAX, 0, &Ask::Wait(2)));
    let five_minutes = Duration::from_mins(5);
    let deadlines = world.log.deadlines.lock().unwrap().clone();
    assert_eq!(deadlines, [five_minutes, Duration::ZERO]);
    assert_eq!(caller.fault(&world), (u64::MAX, FaultKind::DeadlinePassed));
    world.advance(299_999);
    assert_eq!(world.log.dropped(), [2]);
    world.advance(1);
    assert_eq!(world.log.dropped(), [2, 1]);
    assert_eq!(caller.fault(&world), (1, FaultKind::DeadlinePassed));
}

#[test]
fn what_breaks_the_rules_ends_the_channel_and_not_the_connection() {
    let mut world = World::new();
    world.connect();
    let broken: [&[bytes::Bytes]; 6] = [
        // An id that was used, one that is lower, two hellos, no message.
        &[
            request(5, 1000, &Ask::Echo(1)),
            request(5, 1000, &Ask::Echo(1)),
        ],
        &[
            request(5, 1000, &Ask::Wait(1)),
            request(4, 1000, &Ask::Echo(1)),
        ],
        &[message(|buffer| put_hello(buffer, 1, 0))],
        &[bytes::Bytes::from_static(&[99])],
        &[bytes::Bytes::new()],
        &[bytes::Bytes::from_static(&[1, 254])],
    ];
    for messages in broken {
        let mut caller = Caller::greeted(&world);
        for message in messages {
            caller.say(&world, message.clone());
        }
        let code = loop {
            match world.run(caller.channel.recv()) {
                Ok(Some(_)) => {}
                Err(ChannelError::ResetByPeer { code, .. }) => break code,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(code, Code::PROTOCOL_ERROR);
    }
    let mut rude = Caller::new(&world);
    rude.say(&world, request(1, 1000, &Ask::Echo(1)));
    while let Ok(Some(_)) = world.run(rude.channel.recv()) {}
    assert_eq!(rude.end(&world), Code::PROTOCOL_ERROR);
    assert!(world.ask(Ask::Echo(2)).output().unwrap().is_ok());
    assert!(!world.is_cut());
}

#[test]
fn a_cancel_of_an_unknown_call_is_ignored() {
    let mut world = World::new();
    world.connect();
    let mut caller = Caller::greeted(&world);
    for id in [0, 1, u64::MAX] {
        caller.say(&world, message(|buffer| put_cancel(buffer, id)));
    }
    caller.say(&world, request(1, 1000, &Ask::Refuse(String::new())));
    assert_eq!(caller.fault(&world), (1, FaultKind::Refused));
}

#[test]
fn a_request_that_does_not_decode_is_a_fault_of_its_own() {
    let mut world = World::new();
    world.connect();
    let mut caller = Caller::greeted(&world);
    let undecodable = message(|buffer| {
        put_request(buffer, 1, 1000, None);
        buffer.put_slice(&[250; 40]);
    });
    caller.say(&world, undecodable);
    assert_eq!(caller.fault(&world), (1, FaultKind::Undecodable));
    caller.say(&world, request(2, 1000, &Ask::Panic));
    assert_eq!(caller.fault(&world), (2, FaultKind::Panicked));
}

#[test]
fn one_call_more_than_the_limit_is_told_that_the_service_is_busy() {
    let limits = CallLimits::default().calls_at_once(4);
    let mut world = World::with(&ClientConfig::default(), limits);
    world.connect();
    let mut caller = Caller::greeted(&world);
    for id in 1..=5 {
        caller.say(&world, request(id, 1000, &Ask::Wait(id)));
    }
    assert_eq!(caller.fault(&world), (5, FaultKind::Busy));
    assert_eq!(*world.log.order.lock().unwrap(), [1, 2, 3, 4]);
    caller.say(&world, message(|buffer| put_cancel(buffer, 2)));
    caller.say(&world, request(6, 1000, &Ask::Wait(6)));
    assert_eq!(*world.log.order.lock().unwrap(), [1, 2, 3, 4, 6]);
}

/// Otherwise so many calls of a megabyte are held for as long as their handlers wait, over as many
/// channels as a connection has.
#[test]
fn requests_that_are_worked_on_are_bounded_in_bytes_over_a_whole_connection() {
    let hold = |number| Ask::Hold(number, vec![7; 40 * 1024]);
    let limits = CallLimits::default().request_bytes(90 * 1024);
    let mut world = World::with(&ClientConfig::default(), limits);
    world.connect();
    let (mut one, mut other) = (Caller::greeted(&world), Caller::greeted(&world));
    one.say(&world, request(1, 1000, &hold(1)));
    other.say(&world, request(2, 1000, &hold(2)));
    one.say(&world, request(3, 1000, &hold(3)));
    assert_eq!(one.fault(&world), (3, FaultKind::Busy));
    one.say(&world, request(4, 1000, &Ask::Wait(4)));
    assert_eq!(
        *world.log.order.lock().unwrap(),
        [1, 2, 4],
        "small ones go on"
    );
    other.say(&world, message(|buffer| put_cancel(buffer, 2)));
    one.say(&world, request(5, 1000, &hold(5)));
    assert_eq!(*world.log.order.lock().unwrap(), [1, 2, 4, 5]);
}

#[test]
fn a_request_larger_than_the_limit_is_worked_on_alone() {
    let limits = CallLimits::default().request_bytes(1);
    let mut world = World::with(&ClientConfig::default(), limits);
    world.connect();
    let mut caller = Caller::greeted(&world);
    for id in [1, 2] {
        let ask = Ask::Hold(id, vec![7; 10_000]);
        caller.say(&world, request(id, 1000, &ask));
    }
    assert_eq!(caller.fault(&world), (2, FaultKind::Busy));
    assert_eq!(world.log.runs(1), 1);
}

/// A call with a key runs on when it is cancelled: that must not make room for more.
#[test]
fn a_client_that_cancels_its_idempotent_calls_runs_no_more_of_them() {
    let limits = CallLimits::default().calls_at_once(2);
    let mut world = World::with(&ClientConfig::default(), limits);
    world.connect();
    let mut caller = Caller::greeted(&world);
    for id in 1..=3 {
        let keyed = message(|buffer| {
            put_request(buffer, id, 1000, Some(id.into()));
            codec::encode(&Ask::Wait(id), buffer, MaxMessageSize::default()).unwrap();
        });
        caller.say(&world, keyed);
        caller.say(&world, message(|buffer| put_cancel(buffer, id)));
    }
    assert_eq!(*world.log.order.lock().unwrap(), [1, 2]);
    assert_eq!(caller.fault(&world), (3, FaultKind::Busy));
}

#[test]
fn a_caller_that_reads_no_answers_is_read_no_further() {
    let mut world = World::new();
    world.config = Config::default().window(0).channel_send_buffer(16 * 1024);
    world.connect();
    let mut caller = Caller::greeted(&world);
    let mut said = 0_u64;
    loop {
        let mut send = Box::pin(
            caller
                .channel
                .send(request(said + 1, 10_000, &Ask::Long(5_000))),
        );
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let polled = send.as_mut().poll(&mut context);
        world.settle();
        if polled.is_pending() && send.as_mut().poll(&mut context).is_pending() {
            break;
        }
        said += 1;
        assert!(said < 1_000_000, "the service reads on and on");
    }
    let handled = world.log.deadlines.lock().unwrap().len();
    assert!(handled < 600, "{handled} answers wait to be read");
    let mut heard = 0;
    while let Ok(Some(_)) = {
        let mut receive = Box::pin(caller.channel.recv());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let polled = receive.as_mut().poll(&mut context);
        match polled {
            std::task::Poll::Ready(heard) => heard,
            std::task::Poll::Pending => Ok(None),
        }
    } {
        heard += 1;
        world.settle();
    }
    assert!(heard >= said, "{heard} answers to {said} requests");
}

#[test]
fn an_answer_or_request_that_is_too_large_fails_its_call_alone() {
    let mut world = World::new();
    world.config = Config::default().max_message_size(64 * 1024);
    world.connect();
    let waits = world.ask(Ask::Wait(1));
    let error = world
        .run(world.client.call(&Ask::Long(64 * 1024)))
        .unwrap_err();
    let CallError::Fault(fault) = error else {
        panic!("{error}");
    };
    assert_eq!(fault.kind(), FaultKind::Unencodable);
    let largest = vec![7; 64 * 1024];
    let error = world
        .run(world.client.call(&Ask::Bytes(largest)))
        .unwrap_err();
    assert!(
        matches!(error, CallError::TooLarge { max: 65_536, .. }),
        "{error}"
    );
    let large = vec![7; 60 * 1024];
    let answer = world.run(world.client.call(&Ask::Bytes(large.clone())));
    assert_eq!(answer.unwrap(), large);
    world.log.release();
    world.settle();
    assert!(waits.output().unwrap().is_ok());
    assert_eq!(world.client.calls().kept(), 0);
}

#[test]
fn a_message_beyond_the_service_s_limit_costs_the_channel_alone() {
    let mut world = World::new();
    world.config = Config::default().max_message_size(64 * 1024);
    world.connect();
    let mut caller = Caller::greeted(&world);
    let sent = world.run(caller.channel.send(vec![0; 64 * 1024 + 1].into()));
    assert!(matches!(
        sent.unwrap_err().error,
        ChannelError::TooLarge { .. }
    ));
    caller.say(&world, request(1, 1000, &Ask::Refuse(String::new())));
    assert_eq!(caller.fault(&world).0, 1);
}

#[test]
fn a_caller_that_has_finished_still_gets_its_answers() {
    let mut world = World::new();
    world.connect();
    let mut caller = Caller::greeted(&world);
    caller.say(&world, request(1, 1000, &Ask::Wait(1)));
    caller.channel.finish();
    world.settle();
    assert_eq!(world.log.dropped(), [0_u64; 0]);
    world.log.release();
    let answer = world.run(caller.channel.recv()).unwrap().unwrap();
    assert!(matches!(
        Answered::take(&answer),
        Ok(Answered::Answer { id: 1, .. })
    ));
    assert_eq!(world.run(caller.channel.recv()).unwrap(), None);
}

/// A service that says what the test wants: the channel that the client opened, greeted or not.
fn served(world: &mut World) -> RawChannel {
    world.connect_to_nobody();
    let (_, there) = world.ends.as_ref().unwrap();
    let incoming = world.run(there.accept()).unwrap().unwrap();
    assert_eq!(incoming.protocol(), "asking/1.calls");
    let mut channel = incoming.accept_raw();
    world.run(channel.recv()).unwrap().unwrap();
    channel
}

fn welcome() -> bytes::Bytes {
    message(|buffer| put_welcome(buffer, 1, 10))
}

#[test]
fn nothing_is_sent_before_the_service_has_welcomed_the_client() {
    let mut world = World::new();
    let call = world.ask(Ask::Echo(1));
    let mut service = served(&mut world);
    world.advance(100);
    world.run(service.send(welcome())).unwrap();
    let request = world.run(service.recv()).unwrap().unwrap();
    assert_eq!(request[0], 1);
    drop(service);
    world.settle();
    let error = call.output().unwrap().unwrap_err();
    assert!(
        matches!(error, CallError::Unknown(Loss::Channel(_))),
        "{error}"
    );
}

#[test]
fn answers_to_nothing_are_ignored() {
    let mut world = World::new();
    let call = world.ask(Ask::Echo(1));
    let mut service = served(&mut world);
    world.run(service.send(welcome())).unwrap();
    for id in [0, 7, u64::MAX] {
        let answer = message(|buffer| put_answer(buffer, id));
        world.run(service.send(answer)).unwrap();
    }
    world.settle();
    let answer = message(|buffer| {
        put_answer(buffer, 1);
        buffer.put_slice(&[1, 9]);
    });
    world.run(service.send(answer.clone())).unwrap();
    world.run(service.send(answer)).unwrap();
    world.settle();
    assert_eq!(call.output().unwrap().unwrap(), [9]);
}

#[test]
fn an_answer_that_does_not_decode_fails_its_call_alone() {
    let mut world = World::new();
    let calls = [1, 2].map(|number| world.ask(Ask::Echo(number)));
    let mut service = served(&mut world);
    world.run(service.send(welcome())).unwrap();
    world.settle();
    for (id, body) in [(1, [9, 9]), (2, [1, 9])] {
        let answer = message(|buffer| {
            put_answer(buffer, id);
            buffer.put_slice(&body);
        });
        world.run(service.send(answer)).unwrap();
    }
    world.settle();
    let error = calls[0].output().unwrap().unwrap_err();
    assert!(matches!(error, CallError::Undecodable(_)));
    assert_eq!(calls[1].output().unwrap().unwrap(), [9]);
}

#[test]
fn a_service_that_breaks_the_rules_is_left_and_tried_again_later() {
    let breaches = [
        message(|buffer| buffer.put_u8(99)),
        message(|buffer| put_answer(buffer, 1)),
        bytes::Bytes::new(),
    ];
    let mut world = World::new();
    let options = CallOptions::default().delivery(Delivery::AtLeastOnce);
    let call = world.ask_with(Ask::Echo(1), options);
    let mut service = served(&mut world);
    for breach in breaches {
        world.run(service.send(breach)).unwrap();
        world.settle();
        match world.run(service.recv()) {
            Err(ChannelError::ResetByPeer { code, .. }) => assert_eq!(code, Code::PROTOCOL_ERROR),
            other => panic!("{other:?}"),
        }
        let (_, there) = world.ends.as_ref().unwrap();
        world.advance(400);
        let incoming = world.run(there.accept()).unwrap().unwrap();
        service = incoming.accept_raw();
        world.run(service.recv()).unwrap().unwrap();
    }
    world.run(service.send(welcome())).unwrap();
    world.settle();
    assert!(call.output().is_none());
    assert_eq!(world.run(service.recv()).unwrap().unwrap()[0], 1);
    world.run(service.send(welcome())).unwrap();
    world.settle();
    assert!(world.run(service.recv()).is_err(), "two welcomes");
}
