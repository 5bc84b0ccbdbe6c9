use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use event_listener::Event;
use rustc_hash::FxHashMap;

use super::machine::Machine;

/// What a client's handles and its pump share: the rules behind one short lock, and the wakers.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// A subscription is on the wire no more.
    pub(super) confirmed: Event,
}

#[derive(Debug)]
struct State {
    machine: Machine,
    /// By the numbers of subscribers.
    readers: FxHashMap<u64, Waker>,
    pump: Option<Waker>,
    is_pumped: bool,
    is_closed: bool,
}

impl Shared {
    pub(super) fn new(machine: Machine) -> Self {
        Self {
            state: Mutex::new(State {
                machine,
                readers: FxHashMap::default(),
                pump: None,
                is_pumped: false,
                is_closed: false,
            }),
            confirmed: Event::new(),
        }
    }

    /// Does something to the machine, then wakes whom it concerns.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Machine) -> T) -> T {
        self.with_state(|state| act(&mut state.machine))
    }

    /// The same for a subscriber, which waits unless `act` answers something.
    pub(super) fn poll_with<T>(
        &self,
        context: &mut Context<'_>,
        number: u64,
        act: impl FnOnce(&mut Machine) -> Option<T>,
    ) -> Poll<T> {
        let (found, before) = self.with_state(|state| {
            if let Some(found) = act(&mut state.machine) {
                return (Poll::Ready(found), None);
            }
            let waker = context.waker().clone();
            (Poll::Pending, state.readers.insert(number, waker))
        });
        drop(before);
        found
    }

    /// A subscriber is gone. Answers the id that the server is to confirm the end of, if it must.
    pub(super) fn leave(&self, number: u64) -> Option<u64> {
        let (waker, id) = self.with_state(|state| {
            let waker = state.readers.remove(&number);
            (waker, state.machine.leave(number))
        });
        drop(waker);
        id
    }

    /// Whether the pump is to be started now.
    pub(super) fn start_pump(&self) -> bool {
        !std::mem::replace(&mut self.lock().is_pumped, true)
    }

    /// The pump's task is woken when there is something to send, or everything is over.
    ///
    /// Ready when everything is over.
    pub(super) fn poll_pump(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.is_closed {
            return Poll::Ready(());
        }
        let before = state.pump.replace(context.waker().clone());
        drop(state);
        drop(before);
        Poll::Pending
    }

    /// All handles are gone.
    pub(super) fn close(&self) {
        let pump = {
            let mut state = self.lock();
            state.is_closed = true;
            state.pump.take()
        };
        if let Some(pump) = pump {
            pump.wake();
        }
    }

    fn with_state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let before = state.machine.needs();
        let result = act(&mut state);
        let after = state.machine.needs();
        let needs_more = after.0 && !before.0 || after.1 && !before.1;
        let (woken, is_confirmed) = (state.machine.take_woken(), state.machine.take_confirmed());
        let readers: Vec<Waker> = woken
            .iter()
            .filter_map(|number| state.readers.remove(number))
            .collect();
        let pump = state.pump.take_if(|_| needs_more);
        drop(state);
        readers.into_iter().chain(pump).for_each(Waker::wake);
        if is_confirmed {
            self.confirmed.notify(usize::MAX);
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::FutureExt;

    use super::*;
    use crate::rpc::fault::Fault;
    use crate::rpc::topics::cursor::Cursor;
    use crate::rpc::topics::event::EndReason;
    use crate::rpc::topics::options::SubscribeOptions;
    use crate::rpc::topics::wire::FromServer;

    #[test]
    fn who_unsubscribes_is_told_however_that_comes_to_its_end() {
        let lost: fn(&mut Machine, u64) = |machine, _| machine.link_lost();
        let confirmed = |machine: &mut Machine, id| {
            let received = machine.receive(FromServer::Unsubscribed { id });
            received.expect("no broken rule");
        };
        let unsendable = |machine: &mut Machine, id| {
            let reason = EndReason::Refused(Fault::refused("too large"));
            machine.refuse(id, &reason);
        };
        for end in [lost, confirmed, unsendable] {
            let shared = Shared::new(Machine::new(1));
            let (number, id) = shared.with(|machine| {
                machine.link_up();
                let options = SubscribeOptions::default();
                let number = machine.subscribe(&Bytes::new(), &options).expect("a place");
                let id = machine.poll_transmit().expect("a subscription").id();
                let cursor = Cursor::new(7, 0);
                let accepted = FromServer::Accepted {
                    id,
                    cursor,
                    newest: 0,
                };
                machine.receive(accepted).expect("no broken rule");
                (number, id)
            });
            assert_eq!(shared.leave(number), Some(id));
            let mut told = shared.confirmed.listen();
            assert_eq!((&mut told).now_or_never(), None);
            shared.with(|machine| end(machine, id));
            assert_eq!(told.now_or_never(), Some(()));
            assert!(!shared.with(|machine| machine.is_on_wire(id)));
        }
    }
}
