//! The disk: a model of the store behind the trait that the engine writes through.
//!
//! A commit is whole or nothing, as the store promises. One that fails is in doubt: whether it reached the disk is
//! decided here when it fails, and is seen when the disk is fit again or the program begins anew, never before. What
//! was acknowledged stays, unless a defect says that nothing is synced.

use std::ops::RangeInclusive;

use jppd::{
    engine::{CommitError, Storage},
    ledger::{Changes, MemoryView, ReadError, Reads, Table, tables::Records},
};
use parking_lot::Mutex;

use crate::defects::{Defect, tamper};

/// How a disk behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Condition {
    #[default]
    Fit,
    /// Every commit fails, and it is not fit again by itself.
    Failing {
        /// Whether what failed reached the disk all the same.
        landed: bool,
    },
}

#[derive(Debug, Default)]
struct State {
    view: MemoryView,
    condition: Condition,
    doubt: Option<(Changes, bool)>,
    /// What became a part of the store since it was last asked.
    landed: Vec<Changes>,
    /// How many commits in doubt turned out to be written.
    turned_out: u64,
    /// Without syncing: what a crash leaves, and what it takes.
    synced: MemoryView,
    unsynced: Vec<Changes>,
}

/// How many commits go by until a disk that is not synced writes them by itself.
const LAZY: usize = 12;

/// The store of a simulation.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    state: Mutex<State>,
    defect: Option<Defect>,
}

impl Disk {
    pub(crate) fn new(defect: Option<Defect>) -> Self {
        Self { state: Mutex::default(), defect }
    }

    pub(crate) fn set(&self, condition: Condition) {
        self.state.lock().condition = condition;
    }

    /// The program ended without a word. What was in doubt is settled.
    pub(crate) fn crash(&self) {
        let mut state = self.state.lock();
        if self.defect == Some(Defect::NothingSynced) {
            state.view = state.synced.clone();
            state.unsynced.clear();
        }
        state.settle(self.defect);
    }

    /// How many commits that failed turned out to be written.
    pub(crate) fn turned_out(&self) -> u64 {
        self.state.lock().turned_out
    }

    /// What became a part of the store since this was last asked, in order.
    pub(crate) fn take_landed(&self) -> Vec<Changes> {
        std::mem::take(&mut self.state.lock().landed)
    }
}

impl State {
    fn settle(&mut self, defect: Option<Defect>) {
        if let Some((changes, true)) = self.doubt.take() {
            self.turned_out += 1;
            self.write(changes, defect);
        }
    }

    fn write(&mut self, changes: Changes, defect: Option<Defect>) {
        self.view.commit(changes.clone());
        if defect == Some(Defect::NothingSynced) {
            self.unsynced.push(changes.clone());
            if self.unsynced.len() >= LAZY {
                for changes in std::mem::take(&mut self.unsynced) {
                    self.synced.commit(changes);
                }
            }
        }
        self.landed.push(changes);
    }
}

impl<T: Table> Reads<T> for Disk
where
    MemoryView: Reads<T>,
{
    fn get(&self, key: &T::Key) -> Result<Option<T::Value>, ReadError> {
        Reads::<T>::get(&self.state.lock().view, key)
    }

    fn range(&self, keys: RangeInclusive<T::Key>, limit: usize) -> Result<Records<T>, ReadError> {
        Reads::<T>::range(&self.state.lock().view, keys, limit)
    }

    fn last(&self, keys: RangeInclusive<T::Key>, limit: usize) -> Result<Records<T>, ReadError> {
        Reads::<T>::last(&self.state.lock().view, keys, limit)
    }
}

impl Storage for Disk {
    fn commit(&self, changes: &Changes) -> Result<(), CommitError> {
        let mut state = self.state.lock();
        if state.doubt.is_some() {
            return Err(CommitError("a commit is in doubt".to_owned()));
        }
        let mut changes = changes.clone();
        if let Some(defect) = self.defect {
            tamper(defect, &mut changes, &state.view)
                .map_err(|error| CommitError(format!("the defect cannot read: {error}")))?;
        }
        match state.condition {
            Condition::Fit => {
                state.write(changes, self.defect);
                Ok(())
            }
            Condition::Failing { landed } => {
                state.doubt = Some((changes, landed));
                Err(CommitError("no space left".to_owned()))
            }
        }
    }

    fn recover(&self) -> Result<(), CommitError> {
        let mut state = self.state.lock();
        if state.condition != Condition::Fit {
            return Err(CommitError("no space left".to_owned()));
        }
        state.settle(self.defect);
        Ok(())
    }
}
