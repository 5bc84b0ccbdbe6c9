//! Many ask over one connection: what is asked while Redis answers others goes to it together, as soon
//! as it has answered them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use event_listener::Event;
use redis::Value;
use tokio::sync::oneshot;

use super::commands::Question;
use super::config::RedisConfig;
use super::connection::{Connection, Opened, driven, lost};
use super::queue::Queue;
use super::server::Server;
use crate::rpc::topics::backplane::error::BackplaneError;
use crate::runtime::{SharedRuntime, timeout};

/// The questions of all handles of a backplane, and the way to its task.
#[derive(Debug)]
pub(super) struct Asks {
    state: Mutex<State>,
    more: Event,
    time: Duration,
    runtime: SharedRuntime,
}

#[derive(Debug)]
struct State {
    queue: Queue<Ask>,
    closed: bool,
}

#[derive(Debug)]
struct Ask {
    question: Question,
    answer: oneshot::Sender<Result<Value, BackplaneError>>,
}

/// Whoever has it waits for an answer.
struct Place<'asks> {
    asks: &'asks Asks,
    number: u64,
}

impl Asks {
    pub(super) fn new(config: &RedisConfig, runtime: SharedRuntime) -> Self {
        Self {
            state: Mutex::new(State {
                queue: Queue::new(config.publishes_at_once, config.publish_bytes),
                closed: false,
            }),
            more: Event::new(),
            time: config.answer_timeout,
            runtime,
        }
    }

    /// Asks, behind all that were polled before. What is not asked yet when this is dropped, is not asked.
    pub(super) async fn ask(
        &self,
        weight: usize,
        question: Question,
    ) -> Result<Value, BackplaneError> {
        let (answer, answered) = oneshot::channel();
        let ask = Ask { question, answer };
        let number = self.lock().queue.push(weight, ask);
        let place = Place { asks: self, number };
        self.more.notify(1);
        match timeout(&*self.runtime, self.time, answered).await {
            Some(Ok(answer)) => answer,
            Some(Err(_)) => Err(lost()),
            None if place.withdraw() => Err(BackplaneError::NotSent { after: self.time }),
            None => Err(BackplaneError::TimedOut { after: self.time }),
        }
    }

    /// Nobody is left to ask.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.more.notify(usize::MAX);
    }

    /// Whether there is something to ask, once there is; or else nobody who could.
    async fn wait(&self) -> bool {
        loop {
            let listener = self.more.listen();
            {
                let state = self.lock();
                if state.closed || !state.queue.is_empty() {
                    return !state.closed;
                }
            }
            listener.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place<'_> {
    /// Whether it was not asked yet, and will not be.
    fn withdraw(&self) -> bool {
        let withdrawn = self.asks.lock().queue.withdraw(self.number);
        withdrawn.is_some()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.withdraw();
    }
}

/// Asks what is to be asked, over one connection after the other, until nobody is left to ask.
pub(super) async fn run(asks: Arc<Asks>, server: Arc<Server>, first: Opened) {
    let mut opened = Some(first);
    loop {
        if let Some(Opened {
            connection, driver, ..
        }) = opened.take()
        {
            driven(driver, ask_over(&asks, connection)).await;
        }
        if !asks.wait().await {
            return;
        }
        match server.connect().await {
            Ok(connected) => opened = Some(connected),
            Err(error) => {
                let all = asks.lock().queue.take_all();
                for ask in all {
                    ask.answer.send(Err(error.clone())).ok();
                }
            }
        }
    }
}

/// Asks until the connection can be used no more.
async fn ask_over(asks: &Asks, connection: Connection) {
    while asks.wait().await {
        let taken = asks.lock().queue.take();
        if taken.is_empty() {
            // Who waited has given up since.
            continue;
        }
        let taken = taken.into_iter().map(|ask| (ask.question, ask.answer));
        let (questions, waiting): (Vec<_>, Vec<_>) = taken.unzip();
        let mut is_usable = true;
        match connection.ask_all(questions).await {
            Ok(answers) => {
                for (answer, waiting) in answers.into_iter().zip(waiting) {
                    // The primary may be another server now.
                    is_usable &= !matches!(answer, Err(BackplaneError::ReadOnly(_)));
                    waiting.send(answer).ok();
                }
            }
            Err(error) => {
                is_usable = false;
                for waiting in waiting {
                    waiting.send(Err(error.clone())).ok();
                }
            }
        }
        if !is_usable {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::runtime::VirtualClock;

    const TIME: Duration = Duration::from_secs(5);

    fn asks(clock: &VirtualClock) -> Asks {
        let config = RedisConfig::default()
            .publishes_at_once(2)
            .publish_bytes(10)
            .answer_timeout(TIME);
        Asks::new(&config, Arc::new(clock.clone()))
    }

    fn number(number: usize) -> Question {
        redis::cmd("ECHO").arg(number).take().into()
    }

    fn packed(question: Question) -> Vec<u8> {
        question.command("").get_packed_command()
    }

    fn taken(asks: &Asks) -> Vec<Ask> {
        asks.lock().queue.take()
    }

    #[test]
    fn those_that_ask_are_asked_in_the_order_of_their_first_polls() {
        let clock = VirtualClock::new();
        let asks = asks(&clock);
        let mut all: Vec<_> = (0..3).map(|n| Box::pin(asks.ask(1, number(n)))).collect();
        for asking in all.iter_mut().rev() {
            assert!(asking.now_or_never().is_none());
        }
        for (ask, n) in taken(&asks).into_iter().zip([2, 1]) {
            assert_eq!(packed(ask.question), packed(number(n)));
            let answer = i64::try_from(n * 10).unwrap();
            ask.answer.send(Ok(Value::Int(answer))).unwrap();
        }
        for ask in taken(&asks) {
            assert_eq!(packed(ask.question), packed(number(0)));
        }
        let answers: Vec<_> = all.into_iter().map(FutureExt::now_or_never).collect();
        let lost = answers[0].as_ref().unwrap().as_ref().unwrap_err();
        assert!(lost.may_have_been_published(), "{lost}");
        assert!(matches!(answers[1], Some(Ok(Value::Int(10)))));
        assert!(matches!(answers[2], Some(Ok(Value::Int(20)))));
    }

    #[test]
    fn the_error_says_whether_the_time_passed_before_it_was_asked_or_after() {
        let clock = VirtualClock::new();
        let asks = asks(&clock);
        let mut all: Vec<_> = (0..3).map(|n| Box::pin(asks.ask(1, number(n)))).collect();
        for asking in &mut all {
            assert!(asking.now_or_never().is_none());
        }
        let sent = taken(&asks);
        clock.advance(TIME);
        let errors = all
            .into_iter()
            .map(|asking| asking.now_or_never().unwrap().unwrap_err());
        let sent_or_not = errors.map(|error| match error {
            BackplaneError::TimedOut { after: TIME } => true,
            BackplaneError::NotSent { after: TIME } => false,
            other => panic!("{other}"),
        });
        assert!(sent_or_not.eq([true, true, false]));
        assert_eq!(sent.len(), 2);
        assert!(
            taken(&asks).is_empty(),
            "what was given up is not asked later"
        );
    }

    #[test]
    fn who_asks_no_more_is_not_asked_for() {
        let clock = VirtualClock::new();
        let asks = asks(&clock);
        for n in 0..1000 {
            assert!(asks.ask(1, number(n)).now_or_never().is_none());
        }
        assert!(asks.lock().queue.is_empty(), "nothing is left behind");
    }

    #[test]
    fn the_task_sleeps_until_there_is_something_to_ask_or_nobody_to_ask_it() {
        let clock = VirtualClock::new();
        let asks = asks(&clock);
        let mut waiting = Box::pin(asks.wait());
        assert_eq!((&mut waiting).now_or_never(), None);
        let mut asking = Box::pin(asks.ask(1, number(0)));
        assert!((&mut asking).now_or_never().is_none());
        assert_eq!(waiting.now_or_never(), Some(true));
        drop(asking);
        let mut waiting = Box::pin(asks.wait());
        assert_eq!((&mut waiting).now_or_never(), None);
        asks.close();
        assert_eq!(waiting.now_or_never(), Some(false));
    }
}
