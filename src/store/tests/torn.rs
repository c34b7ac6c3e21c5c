//! A log that ends in the middle of a write: what was whole before it is there, and nothing else.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::{
    copy,
    model::{all_same, changes},
    open,
};
use crate::{
    bch::Network,
    ledger::{Changes, MemoryView, Reads, tables::Counters},
    store::{Store, StoreError, StoreOptions, committed},
};

/// The log, which alone holds what was not put into files yet.
fn log(store: &Path) -> PathBuf {
    let entries = std::fs::read_dir(store).unwrap().map(|entry| entry.unwrap().path());
    let mut logs: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "log")).collect();
    assert_eq!(logs.len(), 1, "{logs:?}");
    logs.remove(0)
}

/// The length of the log after each commit, with what was committed by then.
struct Written {
    states: Vec<(u64, MemoryView)>,
    touched: Changes,
}

impl Written {
    fn by(store: &Store, inputs: Vec<Changes>) -> Self {
        let length = || std::fs::metadata(log(store.path())).unwrap().len();
        let (mut memory, mut touched) = (MemoryView::default(), Changes::default());
        let mut states = vec![(length(), memory.clone())];
        for input in inputs {
            store.commit(&input).unwrap();
            memory.commit(input.clone());
            touched.extend(input);
            states.push((length(), memory.clone()));
        }
        Self { states, touched }
    }

    /// What a log of this length holds whole. Cut before the store wrote who it is, it is a new store.
    fn at(&self, length: u64) -> &MemoryView {
        let whole = self.states.iter().rev().find(|(end, _)| *end <= length);
        &whole.unwrap_or(&self.states[0]).1
    }

    /// The number in the file `committed` after all commits of a log of this length.
    fn last_input(&self, length: usize) -> u64 {
        last_input(self.at(u64::try_from(length).unwrap()))
    }
}

fn last_input(state: &MemoryView) -> u64 {
    Reads::<Counters>::get(state, &()).unwrap().unwrap_or_default().order.0
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 50, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every table at once: a write has all of an input, or nothing of it.
    #[test]
    fn a_torn_write_is_no_write(
        inputs in prop::collection::vec(changes(), 2..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 12),
    ) {
        let (directory, store) = super::fresh();
        let written = Written::by(&store, inputs);
        let whole = std::fs::read(log(directory.path())).unwrap();
        // Where a write ends is where it is decided whether it is there.
        let ends = written.states.iter().flat_map(|(end, _)| [end.saturating_sub(1), *end]);
        let anywhere = cuts.iter().map(|cut| u64::try_from(cut.index(whole.len())).unwrap());
        for cut in ends.chain(anywhere) {
            let copied = tempfile::tempdir().unwrap();
            copy(directory.path(), copied.path());
            std::fs::write(log(copied.path()), &whole[..usize::try_from(cut).unwrap()]).unwrap();
            let (held, answered) = (written.at(cut), written.last_input(whole.len()));
            if last_input(held) < answered {
                let refused = Store::open(copied.path(), StoreOptions::new(Network::Regtest));
                prop_assert!(matches!(refused, Err(StoreError::Lost { .. })), "{:?}", refused);
                // The rest is a cut that nobody was told of: a power failure that `committed` knows as well.
                committed::replace(copied.path(), last_input(held)).unwrap();
            }
            let torn = open(copied.path());
            all_same(&torn, written.at(cut), &written.touched)?;
            // It is a store like any other.
            torn.commit(&super::block(1_000_000, 1)).unwrap();
        }
    }
}
