/// How large a channel's share is while several have something to send.
///
/// A weight, not an order: a channel of each kind with endless data gets 16, 4 and 1 parts.
/// The opener's choice holds for both directions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Priority {
    /// For what may take its time: 1 part.
    Bulk,
    /// 4 parts.
    #[default]
    Normal,
    /// For what someone waits for: 16 parts.
    High,
}

impl Priority {
    pub(crate) fn to_wire(self) -> u8 {
        match self {
            Self::Bulk => 0,
            Self::Normal => 1,
            Self::High => 2,
        }
    }

    /// Numbers that this version does not know count as the nearest that it does.
    pub(crate) fn from_wire(number: u8) -> Self {
        match number {
            0 => Self::Bulk,
            1 => Self::Normal,
            _ => Self::High,
        }
    }
}
