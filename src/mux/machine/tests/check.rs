//! What must hold after every step.

use super::pair::Pair;
use crate::mux::machine::Machine;
use crate::mux::machine::window::FLOOR_WINDOW;

/// The sums that a machine keeps are what they are sums of, and its memory is within its limits.
pub(super) fn check_machine(machine: &Machine) {
    let config = machine.config();
    let (mut borrowed, mut queued, mut live, mut here) = (0, 0, 0, 0);
    for (key, slot) in &machine.slots {
        let window = &slot.receiving.window;
        let own = u64::from(config.window);
        let most = own + window.borrowed(config.window) as u64;
        let used = u64::from(window.outstanding()) + window.held();
        assert!(
            used <= most,
            "channel {} uses {used} of {most}",
            slot.number
        );
        borrowed += window.borrowed(config.window);
        queued += slot.sending.counted();
        live += usize::from(!slot.over);
        here += u32::from(slot.opened_here);
        assert_eq!(machine.keys.get(&slot.number), Some(&key));
        let in_line = machine.waiting_for_memory.iter().filter(|&&k| k == key);
        assert_eq!(
            in_line.count(),
            usize::from(slot.receiving.waits_for_memory),
            "channel {} is in the line for memory as often as it knows",
            slot.number
        );
        if machine.outcome.is_none() {
            let listed = machine.controls.iter().filter(|&&k| k == key).count();
            assert_eq!(listed, usize::from(slot.control.queued));
            let held = slot.sender_held || slot.receiver_held;
            let useful =
                held || !slot.over || slot.control.queued || machine.backlog.contains(&key);
            assert!(useful, "channel {} keeps its slot for nobody", slot.number);
        }
    }
    assert_eq!(machine.keys.len(), machine.slots.len());
    assert_eq!(
        machine.shared_memory + borrowed,
        config.shared_receive_memory(),
        "what was lent and what is left are all there is"
    );
    assert_eq!(machine.send_queued, queued);
    assert_eq!(machine.live, live);
    assert_eq!(machine.opened.here_now, here);
    let there = u32::try_from(machine.slots.len()).unwrap() - here;
    assert_eq!(machine.opened.there_now, there);
    assert!(there <= config.max_channels && here <= config.max_channels);
    assert!(machine.backlog.len() <= config.accept_backlog);
    assert!(machine.controls.len() <= machine.slots.len() || machine.outcome.is_some());
    assert!(machine.waiting_for_room.len() <= machine.slots.len());
}

/// What a sender may still send, what is under way and what its receiver expects are the same.
pub(super) fn check_credit(pair: &Pair) {
    for (sender, receiver) in [(0, 1), (1, 0)] {
        let (from, to) = (&pair.ends[sender].machine, &pair.ends[receiver].machine);
        if from.outcome.is_some() || to.outcome.is_some() {
            continue;
        }
        for (_, slot) in from.slots.iter().filter(|(_, slot)| !slot.over) {
            let Some(&key) = to.keys.get(&slot.number) else {
                continue;
            };
            let other = &to.slots[key];
            if other.over {
                continue;
            }
            let (costs, _) = pair.wires[sender].under_way(slot.number);
            let (_, credits) = pair.wires[receiver].under_way(slot.number);
            // An Accept that waits to be sent: the receiver counts its credit already.
            let unsent = if other.control.accept {
                u64::from(other.receiving.window.size() - FLOOR_WINDOW)
            } else {
                0
            };
            assert_eq!(
                slot.sending.credit.left() + costs + credits + unsent,
                u64::from(other.receiving.window.outstanding()),
                "credit of channel {}",
                slot.number
            );
        }
    }
}

/// Everything was given back.
pub(super) fn check_empty(machine: &Machine) {
    assert!(machine.slots.is_empty(), "slots leak: {:?}", machine.slots);
    assert!(machine.keys.is_empty());
    assert_eq!(machine.live, 0);
    assert_eq!(machine.send_queued, 0);
    assert_eq!(
        machine.shared_memory,
        machine.config().shared_receive_memory()
    );
    assert!(machine.backlog.is_empty());
    assert!(machine.waiting_for_memory.is_empty());
    assert!(machine.waiting_for_room.is_empty());
    assert!(machine.schedule.is_empty());
}
