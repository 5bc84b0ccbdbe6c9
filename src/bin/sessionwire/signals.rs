use std::thread;

use async_std::channel::{self, Receiver};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::failure::Failure;

/// The user's wish that the program ends. The first signal is passed on, a second one ends the
/// program at once.
#[derive(Debug, Clone)]
pub(crate) struct Interruption {
    signalled: Receiver<()>,
}

impl Interruption {
    /// Listens to SIGINT and SIGTERM from now on.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let (first, signalled) = channel::bounded(1);
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                let mut first = Some(first);
                for signal in signals.forever() {
                    if first.take().is_none() {
                        std::process::exit(128 + signal);
                    }
                }
            })?;
        Ok(Self { signalled })
    }

    /// Resolves when a signal has come, also for those who ask later.
    pub(crate) async fn wait(&self) {
        // Nothing is ever sent: the sender is dropped at the first signal.
        let _ = self.signalled.recv().await;
    }
}
