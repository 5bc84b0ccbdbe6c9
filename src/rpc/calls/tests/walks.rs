//! Walks at random: calls of every delivery, made of two processes of a service, over connections that are cut anywhere.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::world::{Ask, Running, World};
use crate::mux::Router;
use crate::rpc::cable::Cable;
use crate::rpc::{CallError, CallLimits, CallOptions, ClientConfig, Delivery};

#[derive(Debug, Clone)]
enum Act {
    /// A call that takes so many milliseconds at the service, and so many at most in all.
    Call(Kind, u64, u64),
    /// A call with the key of an earlier one, if it is not known what came of that.
    Again(usize, u64),
    Drop(usize),
    /// A connection to one of the two, which is cut behind so many bytes in either direction.
    Connect(usize, usize, usize),
    Cut,
    /// The service drains the connection, which may live on for a while.
    Drain,
    Restart(usize),
    Pass(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    AtMostOnce,
    AtLeastOnce,
    Idempotent,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    use Kind::{AtLeastOnce, AtMostOnce, Idempotent};
    let kind = prop::sample::select(vec![AtMostOnce, AtLeastOnce, Idempotent, Idempotent]);
    let takes = prop::sample::select(vec![0, 0, 3, 100]);
    let bytes = || prop_oneof![Just(usize::MAX), 1..600_usize];
    let act = prop_oneof![
        6 => (kind, takes, 1..300_u64).prop_map(|(kind, takes, time)| Act::Call(kind, takes, time)),
        3 => (0..30_usize, 1..300_u64).prop_map(|(nth, time)| Act::Again(nth, time)),
        1 => (0..30_usize).prop_map(Act::Drop),
        4 => (0..2_usize, bytes(), bytes())
            .prop_map(|(to, forth, back)| Act::Connect(to, forth, back)),
        1 => Just(Act::Cut),
        1 => Just(Act::Drain),
        1 => (0..2_usize).prop_map(Act::Restart),
        2 => (1..60_u64).prop_map(Act::Pass),
    ];
    prop::collection::vec(act, 1..40)
}

/// A call that was made.
struct Made {
    kind: Kind,
    /// What is asked, and the key.
    number: u64,
    takes: u64,
    running: Running<Result<Vec<u8>, CallError>>,
    outcome: Option<Result<Vec<u8>, CallError>>,
    is_dropped: bool,
    /// Another call with its key went on at the same time.
    is_beside: bool,
}

impl Made {
    fn is_over(&self) -> bool {
        self.outcome.is_some() || self.is_dropped
    }

    fn is_known(&self) -> bool {
        matches!(self.outcome, Some(Ok(_)))
    }
}

struct Walk {
    world: World,
    /// The processes of the service.
    services: [Router; 2],
    made: Vec<Made>,
    /// Connections that drain.
    cables: Vec<Cable>,
    has_connection: bool,
}

impl Walk {
    fn new() -> Self {
        let config = ClientConfig::default().calls_at_once(2);
        let world = World::with(&config, CallLimits::default().calls_at_once(2));
        let services = [(); 2].map(|()| world.another_service());
        Self {
            world,
            services,
            made: Vec::new(),
            cables: Vec::new(),
            has_connection: false,
        }
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Call(kind, takes, time) => {
                let number = self.made.len() as u64;
                self.call(kind, number, takes, time, false);
            }
            Act::Again(nth, time) => {
                let Some(Made {
                    kind: Kind::Idempotent,
                    number,
                    takes,
                    ..
                }) = self.made.get(nth)
                else {
                    return;
                };
                let (number, takes) = (*number, *takes);
                let made = self.made.iter_mut();
                let mut same: Vec<&mut Made> = made.filter(|made| made.number == number).collect();
                if same.iter().all(|made| !made.is_known()) {
                    let is_beside = !same.iter().all(|made| made.is_over());
                    for made in &mut same {
                        made.is_beside |= is_beside;
                    }
                    self.call(Kind::Idempotent, number, takes, time, is_beside);
                }
            }
            Act::Drop(nth) => {
                if let Some(made) = self.made.get_mut(nth).filter(|made| !made.is_over()) {
                    made.is_dropped = true;
                    made.running.drop_future();
                    self.world.settle();
                }
            }
            Act::Connect(to, forth, back) => {
                self.cut();
                let router = self.services[to].clone();
                self.world.connect_with(forth, back, Some(router));
                self.has_connection = true;
            }
            Act::Cut => self.cut(),
            Act::Drain => {
                if self.has_connection && !self.world.is_cut() {
                    self.world.drain();
                    self.cables.push(self.world.cable());
                    self.has_connection = false;
                }
            }
            Act::Restart(nth) => self.services[nth] = self.world.another_service(),
            Act::Pass(time) => {
                self.world.advance(time);
                if time % 3 == 0 && !self.cables.is_empty() {
                    self.cables.remove(0).cut();
                    self.world.settle();
                }
            }
        }
        self.look();
    }

    fn call(&mut self, kind: Kind, number: u64, takes: u64, time: u64, is_beside: bool) {
        let delivery = match kind {
            Kind::AtMostOnce => Delivery::AtMostOnce,
            Kind::AtLeastOnce => Delivery::AtLeastOnce,
            Kind::Idempotent => Delivery::Idempotent(number.into()),
        };
        let options = CallOptions::default()
            .delivery(delivery)
            .deadline(Duration::from_millis(time));
        let running = self.world.ask_with(Ask::Take(number, takes), options);
        self.made.push(Made {
            kind,
            number,
            takes,
            running,
            outcome: None,
            is_dropped: false,
            is_beside,
        });
    }

    fn cut(&mut self) {
        if std::mem::take(&mut self.has_connection) {
            self.world.cut();
        }
    }

    /// Takes outcomes. What is said not to have been run is never run, unless it is called again.
    fn look(&mut self) {
        for made in &mut self.made {
            if let Some(outcome) = made.running.output() {
                let runs = self.world.log.runs(made.number);
                match &outcome {
                    Ok(answer) => {
                        assert_eq!(*answer, made.number.to_le_bytes());
                        assert!(runs > 0);
                    }
                    Err(error) if error.is_not_run() && !made.is_beside => {
                        assert_eq!(runs, 0, "{error}");
                    }
                    Err(_) => {}
                }
                made.outcome = Some(outcome);
            }
        }
    }

    /// With a connection that stays, all that is asked is answered, and the rest was.
    fn end(mut self) {
        self.act(&Act::Connect(0, usize::MAX, usize::MAX));
        for _ in 0..20 {
            self.act(&Act::Pass(30));
        }
        let mut calls: BTreeMap<u64, usize> = BTreeMap::new();
        for made in &self.made {
            assert!(made.is_over(), "each call has an outcome by its deadline");
            *calls.entry(made.number).or_default() += 1;
        }
        for made in &self.made {
            let runs = self.world.log.runs(made.number);
            assert!(runs <= 1 || made.kind == Kind::AtLeastOnce, "{runs} runs");
            if let Some(Err(error)) = &made.outcome
                && calls[&made.number] == 1
            {
                assert!(runs == 0 || !error.is_not_run(), "{error}");
            }
        }
        assert_eq!(self.world.client.calls().kept(), 0);
    }
}

proptest! {
    /// Each call has one outcome by its deadline, and what that says of its runs is true; at most once, and with a key,
    /// it is run no more than once.
    #[test]
    fn calls_are_run_as_they_say_whatever_the_connections_do(acts in acts()) {
        let mut walk = Walk::new();
        for act in &acts {
            walk.act(act);
        }
        walk.end();
    }
}
