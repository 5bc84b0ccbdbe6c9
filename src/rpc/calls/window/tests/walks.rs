use proptest::prelude::*;

use super::*;

/// One of a few clients does something with one of a few keys.
#[derive(Debug, Clone)]
enum Act {
    Enter(u128),
    Leave(u128),
    Begin(u128, u128, usize),
    Finish(u128, u128, usize),
    Pass(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let (clients, keys, bytes) = (|| 0..4_u128, || 0..6_u128, || 0..2000_usize);
    let act = prop_oneof![
        clients().prop_map(Act::Enter),
        clients().prop_map(Act::Leave),
        (clients(), keys(), bytes())
            .prop_map(|(client, key, bytes)| Act::Begin(client, key, bytes)),
        (clients(), keys(), bytes())
            .prop_map(|(client, key, bytes)| Act::Finish(client, key, bytes)),
        (0..400_u64).prop_map(Act::Pass),
    ];
    prop::collection::vec(act, 1..200)
}

proptest! {
    /// Whatever comes in whatever order, the sums are those of the clients, no more is kept than
    /// allowed or than is there, and a refusal changes nothing.
    #[test]
    fn sums_and_bounds_hold_whatever_happens(acts in acts()) {
        let most = 8 * 1024;
        let limits = CallLimits::default().key_memory(most).keys_per_client(4).keyed_at_once(6);
        let mut desk = Desk::new(limits);
        for (id, act) in (1..).zip(acts) {
            match act {
                Act::Enter(client) => desk.enter(client, 0),
                Act::Leave(client) => desk.window.leave(desk.now, client),
                Act::Begin(client, key, bytes) => {
                    desk.window.time(desk.now);
                    let before = (desk.window.finished.clone(), desk.window.memory);
                    let begun = desk.begin_of(client, id, bytes, key);
                    let after = (desk.window.finished.clone(), desk.window.memory);
                    prop_assert!(begun != Begin::Full || before == after);
                }
                Act::Finish(client, key, bytes) => {
                    let answer = Ok(vec![0; bytes].into());
                    desk.window.finish(desk.now, client, key, answer);
                }
                Act::Pass(seconds) => desk.pass(seconds),
            }
            let Window { clients, memory, held, running, .. } = &desk.window;
            let sum = |of: fn(&Client<u64>) -> usize| clients.values().map(of).sum::<usize>();
            prop_assert_eq!(*memory, sum(|known| known.memory));
            prop_assert_eq!(*held, sum(Client::held));
            prop_assert_eq!(*running, sum(|known| known.running));
            prop_assert!(*memory <= most.max(*held), "{} of {}", memory, held);
        }
    }
}
