//! A store reads as the same changes in memory do.

use proptest::prelude::*;

use super::{copy, open, sample::Sample};
use crate::{
    ledger::{
        Changes, Holds, MemoryView, Reads,
        tables::{self, with_tables},
    },
    store::{Store, family::Rests},
};

/// Changes of any tables.
pub(super) fn changes() -> BoxedStrategy<Changes> {
    let mut of_tables: Vec<BoxedStrategy<Changes>> = Vec::new();
    macro_rules! each {
        ($($(#[$doc:meta])* $table:ident, $field:ident: $key:ty => $value:ty;)*) => {$(
            let records = prop::collection::btree_map(Sample::sample(), Sample::sample(), 1..4);
            of_tables.push(
                records.prop_map(|$field| Changes { $field, ..Changes::default() }).boxed(),
            );
        )*};
    }
    with_tables!(each);
    let several = prop::collection::vec(proptest::strategy::Union::new(of_tables), 1..12);
    several
        .prop_map(|several| {
            several.into_iter().fold(Changes::default(), |mut sum, changes| {
                sum.extend(changes);
                // The ledger never removes its counters.
                sum.counters.retain(|(), counters| counters.is_some());
                sum
            })
        })
        .boxed()
}

#[derive(Clone, Debug)]
enum Step {
    Commit(Box<Changes>),
    /// Close and open.
    Reopen,
    /// Go on with a copy of what lies on the disk.
    Crash,
    /// Everything from memory into files.
    Flush,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => changes().prop_map(|changes| Step::Commit(Box::new(changes))),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
        1 => Just(Step::Flush),
    ]
}

/// Everything that was touched in a table reads the same, alone and in ranges between any two of its keys.
fn same<T: Rests>(store: &impl Reads<T>, memory: &MemoryView, touched: &Changes) -> Result<(), TestCaseError>
where
    MemoryView: Reads<T>,
    Changes: Holds<T>,
{
    let keys: Vec<&T::Key> = Holds::<T>::table(touched).keys().collect();
    for key in &keys {
        prop_assert_eq!(Reads::<T>::get(store, key), Reads::<T>::get(memory, key));
    }
    for from in &keys {
        for to in &keys {
            for limit in [0, 1, 2, usize::MAX] {
                let range = (*from).clone()..=(*to).clone();
                let found = Reads::<T>::range(store, range.clone(), limit);
                prop_assert_eq!(found, Reads::<T>::range(memory, range.clone(), limit));
                let found = Reads::<T>::last(store, range.clone(), limit);
                prop_assert_eq!(found, Reads::<T>::last(memory, range, limit));
            }
        }
    }
    Ok(())
}

pub(super) fn all_same(store: &Store, memory: &MemoryView, touched: &Changes) -> Result<(), TestCaseError> {
    macro_rules! each {
        ($($(#[$doc:meta])* $table:ident, $field:ident: $key:ty => $value:ty;)*) => {$(
            same::<tables::$table>(store, memory, touched)?;
            store.snapshot(|snapshot| {
                Ok::<_, crate::ledger::ReadError>(same::<tables::$table>(snapshot, memory, touched))
            }).unwrap()?;
        )*};
    }
    with_tables!(each);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_store_reads_as_memory_does(steps in prop::collection::vec(step(), 1..16)) {
        let directory = tempfile::tempdir().unwrap();
        let mut path = directory.path().join("0");
        let mut store = open(&path);
        let mut memory = MemoryView::default();
        let mut touched = Changes::default();
        for (number, step) in (1..).zip(steps) {
            match step {
                Step::Commit(changes) => {
                    store.commit(&changes).unwrap();
                    memory.commit((*changes).clone());
                    touched.extend(*changes);
                }
                Step::Reopen => {
                    drop(store);
                    store = open(&path);
                }
                Step::Crash => {
                    let next = directory.path().join(format!("{number}"));
                    copy(&path, &next);
                    path = next;
                    store = open(&path);
                }
                Step::Flush => store.with_database(|database| database.flush()).unwrap().unwrap(),
            }
        }
        all_same(&store, &memory, &touched)?;
        store.flush_and_close().unwrap();
        drop(store);
        all_same(&open(&path), &memory, &touched)?;
    }
}
