//! Clients and services of calls as services of tower.

use std::future::{Ready, poll_fn, ready};
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use sessionwire::rpc::{
    CallError, Client, ClientConfig, Fault, FaultKind, FromTower, Interface, Link, Never,
};
use sessionwire::{Config, Router};
use tower_service::Service;

use crate::support::stage::{Stage, poll_once};

enum Doubling {}

impl Interface for Doubling {
    const NAME: &'static str = "doubling/1";
    type Request = u32;
    type Response = u32;
    type Topic = Never;
    type Item = Never;
}

/// Counts the clones that were not ready when they were called.
#[derive(Debug, Default)]
struct Double {
    is_ready: bool,
    unready: Arc<AtomicUsize>,
}

impl Clone for Double {
    fn clone(&self) -> Self {
        Self {
            is_ready: false,
            unready: self.unready.clone(),
        }
    }
}

impl Service<u32> for Double {
    type Response = u32;
    type Error = Fault;
    type Future = Ready<Result<u32, Fault>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, number: u32) -> Self::Future {
        if !mem::take(&mut self.is_ready) {
            self.unready.fetch_add(1, Ordering::SeqCst);
        }
        ready(
            number
                .checked_mul(2)
                .ok_or_else(|| Fault::refused("too large")),
        )
    }
}

/// A client of so many calls at once.
fn client(stage: &Stage, service: Double, calls: usize) -> Client<Doubling> {
    let (here, there) = stage.pair(64 * 1024, &Config::default());
    let router = Router::new().on_service(FromTower::<Doubling, _>::new(service));
    stage.spawn(async move {
        let _ = router.serve(&there).await;
    });
    let config = ClientConfig::default().calls_at_once(calls);
    Client::with_config(&Link::over(here), &config)
}

#[test]
fn a_service_of_tower_answers_a_client_of_tower() {
    let stage = Stage::default();
    let service = Double::default();
    let mut client = client(&stage, service.clone(), 2);
    stage
        .run(poll_fn(|context| client.poll_ready(context)))
        .expect("a permit");
    let answer = stage.run(Service::call(&mut client, 21));
    assert_eq!(answer.expect("an answer"), 42);
    let error = stage.run(Service::call(&mut client, u32::MAX));
    let Err(CallError::Fault(fault)) = error else {
        panic!("{error:?}");
    };
    assert_eq!(fault.kind(), FaultKind::Refused);
    assert_eq!(service.unready.load(Ordering::SeqCst), 0);
}

#[test]
fn being_ready_holds_a_permit_that_clones_have_not() {
    let stage = Stage::default();
    let mut first = client(&stage, Double::default(), 1);
    let is_ready = |client: &mut Client<Doubling>| {
        poll_once(pin!(poll_fn(|context| client.poll_ready(context)))).is_ready()
    };
    assert!(is_ready(&mut first));
    assert!(is_ready(&mut first), "it is ready until it is used");
    let mut second = first.clone();
    assert!(!is_ready(&mut second));
    // The one that is ready goes with the call, and leaves its clone.
    let mut ready = mem::replace(&mut first, second.clone());
    let call = Service::call(&mut ready, 1);
    assert!(!is_ready(&mut second), "the call holds the permit");
    assert_eq!(stage.run(call).expect("an answer"), 2);
    assert!(is_ready(&mut second));
    drop(second);
    assert!(is_ready(&mut first), "dropping gives the permit back");
}
