//! What the engine needs of a store.

use crate::{
    ledger::{Changes, View},
    store::Store,
};

/// A store that commits changes whole, and has them on disk when it says so.
pub trait Storage: View + Send + Sync + 'static {
    /// Writes changes down: all of them, synced, or none.
    ///
    /// # Errors
    ///
    /// [`CommitError`]; then nothing of the changes is seen, and no other commit is taken until
    /// [`Storage::recover`] succeeded. A commit that failed is in doubt until then: the store holds all of it
    /// afterwards, or nothing.
    fn commit(&self, changes: &Changes) -> Result<(), CommitError>;

    /// Makes the store fit for commits again after one failed.
    ///
    /// # Errors
    ///
    /// [`CommitError`] while the disk is not fit.
    fn recover(&self) -> Result<(), CommitError>;
}

impl Storage for Store {
    fn commit(&self, changes: &Changes) -> Result<(), CommitError> {
        Self::commit(self, changes).map_err(|error| CommitError(error.to_string()))
    }

    fn recover(&self) -> Result<(), CommitError> {
        Self::recover(self).map_err(|error| CommitError(error.to_string()))
    }
}

/// A write that did not happen. The disk is at fault: full, or broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store could not be written: {0}")]
pub struct CommitError(pub String);
