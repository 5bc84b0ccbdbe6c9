use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::{Instant, Runtime, Task};

/// A [`Runtime`] for tests: time stands still until [`advance`](Self::advance) moves it, and tasks
/// run only inside [`run_until_stalled`](Self::run_until_stalled) and `advance`, on the calling
/// thread, first woken first polled.
///
/// Clones share one clock. A keep-alive of 15 s is tested in microseconds, and fails the same way
/// every time:
///
/// ```
/// use std::time::Duration;
/// use sessionwire::runtime::{Runtime, VirtualClock};
///
/// let clock = VirtualClock::new();
/// let start = clock.now();
/// let sleep = clock.sleep_until(start + Duration::from_secs(15));
/// clock.spawn(sleep);
/// clock.advance(Duration::from_secs(14));
/// assert_eq!(clock.run_until_stalled(), 1, "still asleep");
/// clock.advance(Duration::from_secs(1));
/// assert_eq!(clock.run_until_stalled(), 0, "awake and done");
/// ```
#[derive(Clone)]
pub struct VirtualClock {
    shared: Arc<Shared>,
}

impl VirtualClock {
    /// A clock that stands at the present moment, with no tasks.
    #[cfg_attr(
        target_family = "wasm",
        expect(
            clippy::arc_with_non_send_sync,
            reason = "tasks are not Send on the web, wakers are"
        )
    )]
    pub fn new() -> Self {
        let state = State {
            now: Instant::now(),
            sleepers: BTreeMap::new(),
            next_sleeper: 0,
            tasks: BTreeMap::new(),
            next_task: 0,
            running: false,
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                ready: Arc::default(),
            }),
        }
    }

    /// Polls the spawned tasks until each is done or waits for something else than another task, and
    /// tells how many are not done.
    ///
    /// Called from inside a task, it polls nothing.
    pub fn run_until_stalled(&self) -> usize {
        if std::mem::replace(&mut self.state().running, true) {
            return self.state().tasks.len();
        }
        while let Some(id) = self.shared.ready.pop() {
            self.run(id);
        }
        let mut state = self.state();
        state.running = false;
        state.tasks.len()
    }

    /// Moves the time forward, stopping at each deadline on the way to wake its sleepers, the
    /// earliest first, and to run the tasks until they stall.
    pub fn advance(&self, duration: Duration) {
        let Some(target) = self.now().checked_add(duration) else {
            return;
        };
        self.run_until_stalled();
        while let Some(due) = self.pass_next_deadline(target) {
            due.wake();
            self.run_until_stalled();
        }
        self.state().now = target;
        self.run_until_stalled();
    }

    fn run(&self, id: u64) {
        let Some(slot) = self.state().tasks.get_mut(&id).map(Option::take) else {
            return;
        };
        let Some(mut task) = slot else {
            return;
        };
        let waker = Waker::from(Arc::new(Ready {
            id,
            queue: self.shared.ready.clone(),
        }));
        if task
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
        {
            self.state().tasks.remove(&id);
        } else if let Some(slot) = self.state().tasks.get_mut(&id) {
            *slot = Some(task);
        }
    }

    fn pass_next_deadline(&self, target: Instant) -> Option<Waker> {
        let mut state = self.state();
        let first = state.sleepers.first_entry()?;
        let deadline = first.key().0;
        if deadline > target {
            return None;
        }
        let waker = first.remove();
        state.now = state.now.max(deadline);
        Some(waker)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for VirtualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for VirtualClock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        formatter
            .debug_struct("VirtualClock")
            .field("now", &state.now)
            .field("sleepers", &state.sleepers.len())
            .field("tasks", &state.tasks.len())
            .finish()
    }
}

impl Runtime for VirtualClock {
    fn spawn(&self, task: Task) {
        let mut state = self.state();
        let id = state.next_task;
        state.next_task = id.wrapping_add(1);
        state.tasks.insert(id, Some(task));
        drop(state);
        self.shared.ready.push(id);
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        Box::pin(Sleep {
            clock: self.clone(),
            deadline,
            key: None,
        })
    }

    fn now(&self) -> Instant {
        self.state().now
    }
}

struct Shared {
    state: Mutex<State>,
    ready: Arc<ReadyQueue>,
}

struct State {
    now: Instant,
    sleepers: BTreeMap<(Instant, u64), Waker>,
    next_sleeper: u64,
    tasks: BTreeMap<u64, Option<Task>>,
    next_task: u64,
    running: bool,
}

#[derive(Default)]
struct ReadyQueue(Mutex<VecDeque<u64>>);

impl ReadyQueue {
    fn push(&self, id: u64) {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !queue.contains(&id) {
            queue.push_back(id);
        }
    }

    fn pop(&self) -> Option<u64> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    }
}

struct Ready {
    id: u64,
    queue: Arc<ReadyQueue>,
}

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.queue.push(self.id);
    }
}

struct Sleep {
    clock: VirtualClock,
    deadline: Instant,
    key: Option<(Instant, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let mut state = this.clock.state();
        if state.now >= this.deadline {
            let waker = this.key.take().and_then(|key| state.sleepers.remove(&key));
            drop(state);
            drop(waker);
            return Poll::Ready(());
        }
        let key = *this.key.get_or_insert_with(|| {
            let number = state.next_sleeper;
            state.next_sleeper = number.wrapping_add(1);
            (this.deadline, number)
        });
        let replaced = state.sleepers.insert(key, context.waker().clone());
        // Dropping a waker can drop a task, whose sleeps lock the state.
        drop(state);
        drop(replaced);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            let waker = self.clock.state().sleepers.remove(&key);
            drop(waker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(
        clock: &VirtualClock,
        log: &Arc<Mutex<Vec<&'static str>>>,
        name: &'static str,
        seconds: u64,
    ) {
        let (log, sleeper) = (log.clone(), clock.clone());
        clock.spawn(Box::pin(async move {
            let deadline = sleeper.now() + Duration::from_secs(seconds);
            sleeper.sleep_until(deadline).await;
            assert_eq!(sleeper.now(), deadline, "time stops at each deadline");
            log.lock().unwrap().push(name);
        }));
    }

    #[test]
    fn sleepers_wake_in_order_of_deadline_not_of_spawn() {
        let clock = VirtualClock::new();
        let log = Arc::default();
        for (name, seconds) in [("third", 3), ("first", 1), ("second", 2), ("last", 9)] {
            note(&clock, &log, name, seconds);
        }
        clock.advance(Duration::from_secs(5));
        assert_eq!(*log.lock().unwrap(), ["first", "second", "third"]);
        assert_eq!(clock.run_until_stalled(), 1);
        clock.advance(Duration::from_secs(4));
        assert_eq!(clock.run_until_stalled(), 0);
    }

    #[test]
    fn a_task_that_sleeps_again_is_served_within_one_advance() {
        let clock = VirtualClock::new();
        let (count, sleeper) = (Arc::new(Mutex::new(0)), clock.clone());
        let counter = count.clone();
        clock.spawn(Box::pin(async move {
            for _ in 0..10 {
                sleeper
                    .sleep_until(sleeper.now() + Duration::from_secs(1))
                    .await;
                *counter.lock().unwrap() += 1;
            }
        }));
        clock.advance(Duration::from_secs(7));
        assert_eq!(*count.lock().unwrap(), 7);
    }

    #[test]
    fn a_dropped_sleep_leaves_nothing_behind() {
        let clock = VirtualClock::new();
        let mut sleep = clock.sleep_until(clock.now() + Duration::from_secs(1));
        assert!(
            sleep
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
        assert_eq!(clock.state().sleepers.len(), 1);
        drop(sleep);
        assert_eq!(clock.state().sleepers.len(), 0);
    }
}
