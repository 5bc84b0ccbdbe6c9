use std::collections::VecDeque;

/// Which of a client's channels to the service, in the order in which they were opened.
pub(in crate::rpc::calls) type ChannelNumber = u64;

/// The channels to the service that are open: the present one, and those that wait for answers.
#[derive(Debug, Default)]
pub(super) struct Channels {
    open: Vec<Channel>,
    last: ChannelNumber,
}

/// What the service has on one channel.
#[derive(Debug)]
pub(super) struct Channel {
    number: ChannelNumber,
    /// The service's start, if it has said its welcome.
    pub(super) boot: Option<u128>,
    /// The largest id that was written.
    pub(super) written_up_to: u64,
    /// The calls that the service has, as far as is known here.
    pub(super) outstanding: u32,
    /// Given up after they were written; at most `outstanding`.
    pub(super) cancels: VecDeque<u64>,
    /// There was something to write when that was last asked.
    had_to_write: bool,
}

impl Channels {
    pub(super) fn open(&mut self) -> ChannelNumber {
        self.last = self.last.saturating_add(1);
        self.open.push(Channel {
            number: self.last,
            boot: None,
            written_up_to: 0,
            outstanding: 0,
            cancels: VecDeque::new(),
            had_to_write: false,
        });
        self.last
    }

    pub(super) fn close(&mut self, number: ChannelNumber) {
        self.open.retain(|channel| channel.number != number);
    }

    pub(super) fn get(&self, number: ChannelNumber) -> Option<&Channel> {
        self.open.iter().find(|channel| channel.number == number)
    }

    pub(super) fn get_mut(&mut self, number: ChannelNumber) -> Option<&mut Channel> {
        let mut open = self.open.iter_mut();
        open.find(|channel| channel.number == number)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Channel> {
        self.open.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Channel> {
        self.open.iter_mut()
    }
}

impl Channel {
    /// The service has one call less.
    pub(super) fn ended_one(&mut self) {
        self.outstanding = self.outstanding.saturating_sub(1);
    }

    /// Notes whether there is something to write, where there are requests for that channel; answers whether
    /// that is news.
    pub(super) fn note_writing(&mut self, requested: Option<ChannelNumber>) -> bool {
        let has_to_write = !self.cancels.is_empty() || requested == Some(self.number);
        let before = std::mem::replace(&mut self.had_to_write, has_to_write);
        has_to_write && !before
    }

    /// Calls that the service has, and that are still wanted.
    pub(super) fn wanted(&self) -> usize {
        (self.outstanding as usize).saturating_sub(self.cancels.len())
    }
}
