//! What the engine needs of a store.

use crate::ledger::{Changes, View};

/// A store that commits changes whole, and has them on disk when it says so.
pub trait Storage: View + Send + Sync + 'static {
    /// Writes changes down: all of them, synced, or none.
    ///
    /// # Errors
    ///
    /// [`CommitError`]; then nothing of the changes may be seen, now or after a restart.
    fn commit(&self, changes: &Changes) -> Result<(), CommitError>;
}

/// A write that did not happen. The disk is at fault: full, or broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store could not be written: {0}")]
pub struct CommitError(pub String);
