//! The memory that windows that grow and large messages borrow.

use super::Machine;

impl Machine {
    /// A message comes in parts: more may have to be let in than the window allows.
    pub(super) fn want_memory(&mut self, key: usize) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        // A channel that nobody has accepted, and so nobody reads, borrows nothing.
        let may_borrow = slot.may_grant();
        let receiving = &mut slot.receiving;
        if may_borrow && receiving.window.wants_reservation() && !receiving.waits_for_memory {
            receiving.waits_for_memory = true;
            self.waiting_for_memory.push_back(key);
            self.lend_memory();
        }
        self.note_credit(key);
    }

    /// A channel needs no more memory for large messages: what it had goes to others.
    pub(super) fn return_memory(&mut self, key: usize) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        if std::mem::take(&mut slot.receiving.waits_for_memory) {
            self.waiting_for_memory.retain(|&other| other != key);
        }
        self.shared_memory += slot.receiving.window.release_reservation() as usize;
        self.lend_memory();
    }

    /// Gives shared memory to the first channels in the line that it is enough for.
    pub(super) fn lend_memory(&mut self) {
        let wanted = self.config.max_message_size;
        while self.shared_memory >= wanted as usize {
            let Some(key) = self.waiting_for_memory.pop_front() else {
                return;
            };
            let Some(slot) = self.slots.get_mut(key) else {
                continue;
            };
            slot.receiving.waits_for_memory = false;
            // The message may have found room in the window while it waited.
            if !slot.receiving.window.wants_reservation() {
                continue;
            }
            slot.receiving.window.reserve(wanted);
            self.shared_memory -= wanted as usize;
            self.note_credit(key);
        }
    }

    /// Notes that credit is to be granted, if it is.
    pub(super) fn note_credit(&mut self, key: usize) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        if slot.may_grant() && slot.receiving.window.is_grant_due() {
            slot.control.credit = true;
            self.note_control(key);
        }
    }
}
