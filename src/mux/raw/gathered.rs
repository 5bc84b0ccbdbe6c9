use crate::mux::error::ChannelError;
use crate::mux::machine::Room;
use crate::mux::machine::batch::Batch;
use crate::mux::shared::State;

/// Small messages that are fed gather here, so that the connection is locked once for many.
pub(super) struct Gathered {
    pub(super) batch: Batch,
    pub(super) channel: u32,
    /// The longest message that both ends took when the batch began.
    pub(super) max_message: usize,
}

/// Hands over what has gathered, if anything has.
pub(super) fn send_gathered(
    state: &mut State,
    key: usize,
    gathered: &mut Option<Box<Gathered>>,
) -> Result<Room, ChannelError> {
    match gathered {
        Some(gathered) if !gathered.batch.is_empty() => {
            state.machine.send_batch(key, &mut gathered.batch)
        }
        _ => Ok(Room::Free),
    }
}
