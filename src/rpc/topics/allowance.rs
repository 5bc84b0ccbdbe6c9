use super::wire::Credit;

/// What may still be sent to a client that has room for so much only.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    items: u64,
    /// Below zero if the last item was larger than what was left.
    bytes: i128,
}

impl Allowance {
    pub(super) fn new(credit: Credit) -> Self {
        Self {
            items: credit.items,
            bytes: credit.bytes.into(),
        }
    }

    /// It is never more than a client can grant at once.
    pub(super) fn grant(&mut self, credit: Credit) {
        self.items = self.items.saturating_add(credit.items);
        let bytes = self.bytes.saturating_add(credit.bytes.into());
        self.bytes = bytes.min(u64::MAX.into());
    }

    pub(super) fn is_spent(self) -> bool {
        self.items == 0 || self.bytes <= 0
    }

    /// An item of so many bytes is sent.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.items = self.items.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(wide(bytes));
    }

    /// An item of so many bytes was not sent, but what stands for it.
    pub(super) fn give_back(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(wide(bytes));
    }
}

fn wide(bytes: usize) -> i128 {
    i128::try_from(bytes).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_sent_while_there_is_a_byte_and_makes_up_for_it_later() {
        let mut allowance = Allowance::new(Credit {
            items: 5,
            bytes: 100,
        });
        allowance.spend(99);
        assert!(!allowance.is_spent());
        allowance.spend(1000);
        assert!(allowance.is_spent());
        let mut grant = |items, bytes| {
            allowance.grant(Credit { items, bytes });
            allowance.is_spent()
        };
        assert!(grant(1, 999), "nothing is left");
        assert!(!grant(0, 1));
        assert!(!grant(u64::MAX, u64::MAX));
        assert!(!grant(u64::MAX, u64::MAX));
        assert_eq!(
            (allowance.items, allowance.bytes),
            (u64::MAX, u64::MAX.into())
        );
    }
}
