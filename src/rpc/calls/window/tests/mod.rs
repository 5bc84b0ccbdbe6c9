mod walks;

use super::*;
use crate::rpc::FaultKind;

const CLIENT_ONE: u128 = 1;
const CLIENT_TWO: u128 = 2;

struct Desk {
    window: Window<u64>,
    now: Instant,
}

impl Desk {
    fn new(limits: CallLimits) -> Self {
        Self {
            window: Window::new(limits),
            now: Instant::now(),
        }
    }

    fn enter(&mut self, client: u128, sent_up_to: u64) {
        self.window.enter(self.now, client, sent_up_to);
    }

    fn begin(&mut self, id: u64, key: u128) -> Begin<u64> {
        self.begin_of(CLIENT_ONE, id, 0, key)
    }

    fn begin_of(&mut self, client: u128, id: u64, request: usize, key: u128) -> Begin<u64> {
        self.window.begin(self.now, client, id, key, request, || id)
    }

    fn finish(&mut self, key: u128, answer: Remembered) {
        self.window.finish(self.now, CLIENT_ONE, key, answer);
    }

    /// Another client runs a call that is answered with so many bytes.
    fn run_of(&mut self, client: u128, id: u64, bytes: usize) {
        let begun = self.begin_of(client, id, 0, id.into());
        assert_eq!(begun, Begin::Run(id));
        let answer = Ok(vec![0; bytes].into());
        self.window.finish(self.now, client, id.into(), answer);
    }

    /// Begins and finishes a call, whose answer is its id.
    fn run(&mut self, id: u64, key: u128) {
        assert_eq!(self.begin(id, key), Begin::Run(id));
        self.finish(key, answer(id));
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it is what is remembered")]
fn answer(id: u64) -> Remembered {
    Ok(Bytes::copy_from_slice(&id.to_le_bytes()))
}

#[test]
fn a_key_is_run_once() {
    let mut desk = Desk::new(CallLimits::default());
    desk.enter(CLIENT_ONE, 0);
    assert_eq!(desk.begin(1, 7), Begin::Run(1));
    assert_eq!(desk.begin(1, 7), Begin::Wait(1));
    assert_eq!(desk.begin(2, 7), Begin::Wait(1));
    desk.finish(7, answer(1));
    assert_eq!(desk.begin(3, 7), Begin::Answer(answer(1)));
    assert_eq!(desk.begin(4, 8), Begin::Run(4));
    let fault = Fault::new(FaultKind::Panicked, "");
    desk.finish(8, Err(fault.clone()));
    assert_eq!(desk.begin(4, 8), Begin::Answer(Err(fault)));
}

#[test]
fn clients_have_their_own_keys() {
    let mut desk = Desk::new(CallLimits::default());
    desk.enter(CLIENT_ONE, 0);
    desk.enter(CLIENT_TWO, 0);
    desk.run(1, 7);
    let begin = desk.window.begin(desk.now, CLIENT_TWO, 1, 7, 0, || 2);
    assert_eq!(begin, Begin::Run(2));
}

#[test]
fn a_call_that_never_came_is_run_when_it_is_sent_again() {
    let mut desk = Desk::new(CallLimits::default());
    desk.enter(CLIENT_ONE, 0);
    desk.window.leave(desk.now, CLIENT_ONE);
    desk.pass(500);
    desk.enter(CLIENT_ONE, 1);
    assert_eq!(desk.begin(1, 7), Begin::Run(1));
}

#[test]
fn an_unknown_client_is_not_served_what_it_sent_before() {
    let mut desk = Desk::new(CallLimits::default());
    assert_eq!(desk.begin(1, 7), Begin::Full);
    desk.enter(CLIENT_ONE, 5);
    assert_eq!(desk.begin(5, 7), Begin::Forgotten);
    assert_eq!(desk.begin(6, 8), Begin::Run(6));
}

#[test]
fn an_answer_is_kept_for_its_time_and_then_never_run_again() {
    let mut desk = Desk::new(CallLimits::default());
    desk.enter(CLIENT_ONE, 0);
    desk.run(1, 7);
    desk.pass(59);
    assert_eq!(desk.begin(1, 7), Begin::Answer(answer(1)));
    desk.pass(1);
    assert_eq!(desk.begin(1, 7), Begin::Forgotten);
    assert_eq!(desk.begin(2, 7), Begin::Run(2));
}

#[test]
fn the_oldest_key_makes_room_for_one_more_than_the_limit() {
    let mut desk = Desk::new(CallLimits::default().keys_per_client(3));
    desk.enter(CLIENT_ONE, 0);
    for id in 1..=3 {
        desk.run(id, id.into());
    }
    assert_eq!(desk.begin(1, 1), Begin::Answer(answer(1)));
    desk.run(4, 4);
    assert_eq!(desk.begin(1, 1), Begin::Forgotten);
    assert_eq!(desk.begin(2, 2), Begin::Answer(answer(2)));
}

#[test]
fn running_calls_are_not_forgotten_for_others() {
    let mut desk = Desk::new(CallLimits::default().keys_per_client(2));
    desk.enter(CLIENT_ONE, 0);
    assert_eq!(desk.begin(1, 1), Begin::Run(1));
    assert_eq!(desk.begin(2, 2), Begin::Run(2));
    assert_eq!(desk.begin(3, 3), Begin::Full);
    desk.finish(1, answer(1));
    assert_eq!(desk.begin(4, 4), Begin::Run(4));
    assert_eq!(desk.begin(2, 2), Begin::Wait(2));
}

#[test]
fn no_more_run_at_once_than_allowed() {
    let mut desk = Desk::new(CallLimits::default().keyed_at_once(1));
    desk.enter(CLIENT_ONE, 0);
    assert_eq!(desk.begin(1, 1), Begin::Run(1));
    assert_eq!(desk.begin(2, 2), Begin::Full);
    desk.finish(1, answer(1));
    assert_eq!(desk.begin(3, 3), Begin::Run(3));
}

#[test]
fn the_requests_of_running_calls_count() {
    let most = CLIENT + 2 * KEY + 100;
    let mut desk = Desk::new(CallLimits::default().key_memory(most));
    desk.enter(CLIENT_ONE, 0);
    let mut begin = |id: u64, request| {
        desk.window
            .begin(desk.now, CLIENT_ONE, id, id.into(), request, || id)
    };
    assert_eq!(begin(1, 101 + KEY), Begin::Full);
    assert_eq!(begin(1, 60), Begin::Run(1));
    assert_eq!(begin(2, 41), Begin::Full);
    assert_eq!(begin(2, 40), Begin::Run(2));
    assert_eq!(desk.window.memory, most);
    desk.finish(1, answer(1));
    assert_eq!(desk.window.memory, most - 60 + 8);
}

#[test]
fn memory_is_bounded() {
    let most = CLIENT + 3 * (KEY + 8);
    let mut desk = Desk::new(CallLimits::default().key_memory(most));
    desk.enter(CLIENT_ONE, 0);
    for id in 1..=3 {
        desk.run(id, id.into());
    }
    assert_eq!(desk.window.memory, most);
    assert_eq!(desk.begin(1, 1), Begin::Answer(answer(1)));
    desk.run(4, 4);
    assert!(desk.window.memory <= most);
    assert_eq!(desk.begin(1, 1), Begin::Forgotten);
    // An answer that is too large by itself is forgotten with its end.
    assert_eq!(desk.begin(5, 5), Begin::Run(5));
    desk.finish(5, Ok(vec![0; most].into()));
    assert!(desk.window.memory <= most);
    assert_eq!(desk.begin(5, 5), Begin::Forgotten);
}

#[test]
fn clients_that_are_gone_are_forgotten() {
    let mut desk = Desk::new(CallLimits::default());
    desk.enter(CLIENT_ONE, 0);
    desk.run(1, 1);
    assert_eq!(desk.begin(2, 2), Begin::Run(2));
    desk.window.leave(desk.now, CLIENT_ONE);
    desk.pass(600);
    desk.enter(CLIENT_TWO, 0);
    assert_eq!(desk.window.clients.len(), 2, "one has a call that runs");
    desk.finish(2, answer(2));
    desk.pass(600);
    desk.enter(CLIENT_TWO, 0);
    assert_eq!(desk.window.clients.len(), 1);
    assert_eq!(desk.window.memory, CLIENT);
    assert_eq!(
        (desk.window.absent.len(), desk.window.finished.len()),
        (0, 0)
    );
    desk.enter(CLIENT_ONE, 2);
    assert_eq!(desk.begin(2, 2), Begin::Forgotten);
}

#[test]
fn a_flood_of_clients_pushes_out_those_that_are_gone() {
    let mut desk = Desk::new(CallLimits::default().key_memory(10 * CLIENT));
    for client in 0..1000 {
        desk.enter(client, 0);
        desk.window.leave(desk.now, client);
        assert!(desk.window.clients.len() <= 10);
    }
    for client in 2000..2020 {
        desk.enter(client, 0);
    }
    assert_eq!(desk.window.clients.len(), 20, "those present are all kept");
}

/// Far more than fits, of which nothing is kept but what fits.
const FLOOD: u64 = 10_000;

#[test]
fn a_greedy_client_pushes_out_its_own_answers_only() {
    let most = 64 * 1024;
    let mut desk = Desk::new(CallLimits::default().key_memory(most));
    desk.enter(CLIENT_ONE, 0);
    desk.enter(CLIENT_TWO, 0);
    desk.run(1, 7);
    for id in 1..FLOOD {
        desk.run_of(CLIENT_TWO, id, 1000);
        assert!(desk.window.memory <= most);
    }
    assert_eq!(desk.begin(1, 7), Begin::Answer(answer(1)));
    let newest = desk.begin_of(CLIENT_TWO, FLOOD - 1, 0, (FLOOD - 1).into());
    assert!(matches!(newest, Begin::Answer(_)), "it has the rest");
}

#[test]
fn clients_that_come_and_go_push_out_each_other_only() {
    let mut desk = Desk::new(CallLimits::default().key_memory(64 * 1024));
    desk.enter(CLIENT_ONE, 0);
    desk.run(1, 7);
    desk.window.leave(desk.now, CLIENT_ONE);
    for client in 0..u128::from(FLOOD) {
        desk.enter(1000 + client, 0);
        desk.window.leave(desk.now, 1000 + client);
        assert!(desk.window.memory <= 64 * 1024);
    }
    desk.enter(CLIENT_ONE, 1);
    assert_eq!(desk.begin(1, 7), Begin::Answer(answer(1)));
}

#[test]
fn a_greedy_client_leaves_others_as_many_running_calls_as_it_takes() {
    let mut desk = Desk::new(CallLimits::default().keyed_at_once(10));
    desk.enter(CLIENT_ONE, 0);
    desk.enter(CLIENT_TWO, 0);
    for id in 1..=5 {
        assert_eq!(desk.begin_of(CLIENT_TWO, id, 0, id.into()), Begin::Run(id));
    }
    assert_eq!(desk.begin_of(CLIENT_TWO, 6, 0, 6), Begin::Full);
    for id in 1..=3 {
        assert_eq!(desk.begin(id, id.into()), Begin::Run(id));
    }
    assert_eq!(desk.begin(4, 4), Begin::Full);
    desk.window.finish(desk.now, CLIENT_TWO, 1, answer(1));
    desk.window.finish(desk.now, CLIENT_TWO, 2, answer(2));
    assert_eq!(desk.begin(4, 4), Begin::Run(4), "as others take less");
    assert_eq!(desk.window.running, 7);
}

#[test]
fn a_greedy_client_leaves_others_as_much_memory_as_its_running_calls_take() {
    let most = 64 * 1024;
    let mut desk = Desk::new(CallLimits::default().key_memory(most));
    desk.enter(CLIENT_ONE, 0);
    desk.enter(CLIENT_TWO, 0);
    desk.run(1, 7);
    let request = 8 * 1024 - KEY;
    for id in 1..=4 {
        let begun = desk.begin_of(CLIENT_TWO, id, request, id.into());
        assert_eq!(begun, Begin::Run(id));
    }
    assert_eq!(desk.begin_of(CLIENT_TWO, 5, request, 5), Begin::Full);
    assert_eq!(desk.begin(1, 7), Begin::Answer(answer(1)));
    let begun = desk.begin_of(CLIENT_ONE, 2, request, 2);
    assert_eq!(begun, Begin::Run(2));
    assert!(desk.window.memory <= most);
}

#[test]
fn a_request_that_does_not_fit_costs_nobody_an_answer() {
    let most = 64 * 1024;
    let mut desk = Desk::new(CallLimits::default().key_memory(most));
    desk.enter(CLIENT_ONE, 0);
    desk.enter(CLIENT_TWO, 0);
    desk.run(1, 7);
    assert_eq!(desk.begin_of(CLIENT_TWO, 1, most, 1), Begin::Full);
    assert_eq!(desk.begin(1, 7), Begin::Answer(answer(1)));
    assert_eq!((desk.window.running, desk.window.running_memory), (0, 0));
    assert_eq!(desk.window.memory, 2 * CLIENT + KEY + 8);
}

#[test]
fn a_call_gets_all_that_can_be_forgotten_and_with_one_byte_more_nothing_is() {
    let most = 64 * 1024;
    let largest = most - 2 * CLIENT - KEY;
    let mut desk = Desk::new(CallLimits::default().key_memory(most));
    desk.enter(CLIENT_ONE, 0);
    desk.enter(CLIENT_TWO, 0);
    desk.run(1, 7);
    assert_eq!(desk.begin_of(CLIENT_TWO, 1, largest + 1, 1), Begin::Full);
    assert_eq!(desk.begin(1, 7), Begin::Answer(answer(1)));
    assert_eq!(desk.begin_of(CLIENT_TWO, 1, largest, 1), Begin::Run(1));
    assert_eq!(desk.begin(1, 7), Begin::Forgotten);
    assert_eq!(desk.window.memory, most);
}

#[test]
fn a_call_that_does_not_fit_costs_its_own_client_no_key() {
    let most = 64 * 1024;
    let mut desk = Desk::new(CallLimits::default().key_memory(most).keys_per_client(1));
    desk.enter(CLIENT_ONE, 0);
    desk.run(1, 7);
    assert_eq!(desk.begin_of(CLIENT_ONE, 2, most, 8), Begin::Full);
    assert_eq!(desk.begin(1, 7), Begin::Answer(answer(1)));
}

#[test]
fn a_client_that_is_gone_makes_room_for_a_call() {
    let most = 2 * CLIENT + KEY;
    let mut desk = Desk::new(CallLimits::default().key_memory(most));
    desk.enter(CLIENT_ONE, 0);
    desk.enter(CLIENT_TWO, 0);
    assert_eq!(desk.begin_of(CLIENT_TWO, 1, 1, 1), Begin::Full);
    desk.window.leave(desk.now, CLIENT_ONE);
    assert_eq!(desk.begin_of(CLIENT_TWO, 1, 1, 1), Begin::Run(1));
    assert_eq!(desk.window.clients.len(), 1);
}

#[test]
fn answers_are_kept_for_their_time_also_while_their_client_is_away() {
    let an_hour = Duration::from_hours(1);
    let mut desk = Desk::new(CallLimits::default().key_time(an_hour));
    desk.enter(CLIENT_ONE, 0);
    desk.run(1, 7);
    assert_eq!(desk.begin(2, 8), Begin::Run(2));
    desk.window.leave(desk.now, CLIENT_ONE);
    desk.pass(600);
    desk.finish(8, answer(2));
    desk.pass(3599);
    desk.enter(CLIENT_ONE, 2);
    assert_eq!(desk.begin(1, 7), Begin::Forgotten);
    assert_eq!(desk.begin(2, 8), Begin::Answer(answer(2)));
    desk.pass(1);
    assert_eq!(desk.begin(2, 8), Begin::Forgotten);
}

/// Otherwise a client has all others wait for as long as it takes to forget what it asked in a minute.
#[test]
fn a_great_many_old_answers_are_forgotten_little_by_little() {
    let mut desk = Desk::new(CallLimits::default());
    desk.enter(CLIENT_ONE, 0);
    desk.enter(CLIENT_TWO, 0);
    let most = FORGOTTEN_AT_ONCE;
    for id in 1..=5 * most as u64 {
        desk.run(id, id.into());
    }
    desk.pass(60);
    for left in (0..5).rev() {
        desk.enter(CLIENT_TWO, 0);
        assert_eq!(desk.window.finished.len(), left * most);
    }
}

/// A client without answers counts for little: it must not be large then.
#[test]
fn what_was_needed_for_many_answers_is_given_back_with_them() {
    let mut desk = Desk::new(CallLimits::default());
    desk.enter(CLIENT_ONE, 0);
    for id in 1..=10_000 {
        desk.run(id, id.into());
    }
    desk.pass(30);
    desk.run(10_001, 10_001);
    desk.pass(30);
    for _ in 0..=10_000 / FORGOTTEN_AT_ONCE {
        desk.enter(CLIENT_ONE, 0);
    }
    let known = &desk.window.clients[&CLIENT_ONE];
    assert_eq!((known.finished.len(), known.memory), (1, CLIENT + KEY + 8));
    let kept = known.finished.capacity() * size_of::<u64>();
    assert!(kept < KEY, "{kept} bytes");
}
