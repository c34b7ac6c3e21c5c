//! Views: changes laid over a store, and a store in memory.

use std::{collections::BTreeMap, ops::RangeInclusive};

use super::{
    Changes, Holds, ReadError, Reads, Table,
    tables::{Records, TableChanges, with_tables},
};

/// Changes that are not written yet, over a view of what is.
#[derive(Debug)]
pub struct Overlay<'a, V> {
    /// What is written.
    pub below: &'a V,
    /// What is about to be.
    pub changes: &'a Changes,
}

impl<T: Table, V: Reads<T>> Reads<T> for Overlay<'_, V>
where
    Changes: Holds<T>,
{
    fn get(&self, key: &T::Key) -> Result<Option<T::Value>, ReadError> {
        get_over(self.below, self.changes, key)
    }

    fn range(&self, keys: RangeInclusive<T::Key>, limit: usize) -> Result<Records<T>, ReadError> {
        range_over(self.below, self.changes, keys, limit)
    }

    fn last(&self, keys: RangeInclusive<T::Key>, limit: usize) -> Result<Records<T>, ReadError> {
        last_over(self.below, self.changes, keys, limit)
    }
}

/// The record of a key: what changed, or else what is below.
pub(super) fn get_over<T: Table, V: Reads<T>>(
    below: &V,
    changes: &Changes,
    key: &T::Key,
) -> Result<Option<T::Value>, ReadError>
where
    Changes: Holds<T>,
{
    match Holds::<T>::table(changes).get(key) {
        Some(changed) => Ok(changed.clone()),
        None => below.get(key),
    }
}

/// A range of records: what is below, with what changed put in and what was removed left out.
pub(super) fn range_over<T: Table, V: Reads<T>>(
    below: &V,
    changes: &Changes,
    keys: RangeInclusive<T::Key>,
    limit: usize,
) -> Result<Records<T>, ReadError>
where
    Changes: Holds<T>,
{
    if keys.start() > keys.end() {
        return Ok(Vec::new());
    }
    let table: &TableChanges<T> = changes.table();
    let mut changed = table.range(keys.clone()).peekable();
    if changed.peek().is_none() {
        return below.range(keys, limit);
    }
    // Enough from below that `limit` remain, however many of them were removed.
    let removed = table.range(keys.clone()).filter(|(_, value)| value.is_none()).count();
    let mut merged: BTreeMap<T::Key, T::Value> =
        below.range(keys, limit.saturating_add(removed))?.into_iter().collect();
    for (key, value) in changed {
        match value {
            Some(value) => merged.insert(key.clone(), value.clone()),
            None => merged.remove(key),
        };
    }
    Ok(merged.into_iter().take(limit).collect())
}

/// The end of a range of records, the last first: what is below, with what changed put in and what was removed left out.
pub(super) fn last_over<T: Table, V: Reads<T>>(
    below: &V,
    changes: &Changes,
    keys: RangeInclusive<T::Key>,
    limit: usize,
) -> Result<Records<T>, ReadError>
where
    Changes: Holds<T>,
{
    if keys.start() > keys.end() {
        return Ok(Vec::new());
    }
    let table: &TableChanges<T> = changes.table();
    let removed = table.range(keys.clone()).filter(|(_, value)| value.is_none()).count();
    let mut merged: BTreeMap<T::Key, T::Value> =
        below.last(keys.clone(), limit.saturating_add(removed))?.into_iter().collect();
    for (key, value) in table.range(keys).rev() {
        match value {
            Some(value) => merged.insert(key.clone(), value.clone()),
            None => merged.remove(key),
        };
    }
    Ok(merged.into_iter().rev().take(limit).collect())
}

macro_rules! define_memory {
    ($($(#[$doc:meta])* $table:ident, $field:ident: $key:ty => $value:ty;)*) => {
        /// A whole store in memory, for simulations and tests.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct MemoryView {
            $(pub(super) $field: BTreeMap<$key, $value>,)*
        }

        impl MemoryView {
            /// Writes changes down.
            pub fn commit(&mut self, changes: Changes) {
                $(
                    for (key, value) in changes.$field {
                        match value {
                            Some(value) => self.$field.insert(key, value),
                            None => self.$field.remove(&key),
                        };
                    }
                )*
            }
        }

        $(
            impl Reads<super::tables::$table> for MemoryView {
                fn get(&self, key: &$key) -> Result<Option<$value>, ReadError> {
                    Ok(self.$field.get(key).cloned())
                }

                fn range(
                    &self,
                    keys: RangeInclusive<$key>,
                    limit: usize,
                ) -> Result<Vec<($key, $value)>, ReadError> {
                    if keys.start() > keys.end() {
                        return Ok(Vec::new());
                    }
                    let records = self.$field.range(keys).take(limit);
                    Ok(records.map(|(key, value)| (key.clone(), value.clone())).collect())
                }

                fn last(
                    &self,
                    keys: RangeInclusive<$key>,
                    limit: usize,
                ) -> Result<Vec<($key, $value)>, ReadError> {
                    if keys.start() > keys.end() {
                        return Ok(Vec::new());
                    }
                    let records = self.$field.range(keys).rev().take(limit);
                    Ok(records.map(|(key, value)| (key.clone(), value.clone())).collect())
                }
            }
        )*
    };
}

use super::{
    Event,
    tables::{
        Ask, BlockRecord, Claim, IdempotencyRecord, InvoiceRecord, Meta, ScriptRecord, TransactionRecord,
        UnassignedPayment, Window,
    },
};
use crate::{
    bch::{BlockHash, OutPoint, ScriptHash, Txid},
    invoice::{Credit, Elapsed, InvoiceId, Merchant, Order},
};
with_tables!(define_memory);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ledger::tables::Chain;

    fn hash(tag: u8) -> BlockHash {
        bitcoincash::hashes::Hash::from_byte_array([tag; 32])
    }

    proptest! {
        #[test]
        fn an_overlay_reads_as_if_it_were_written(
            below in prop::collection::btree_map(0u32..20, 0u8..5, 0..12),
            changes in prop::collection::btree_map(0u32..20, prop::option::of(5u8..9), 0..12),
            from in 0u32..20, until in 0u32..20, limit in 0usize..8,
        ) {
            let mut store = MemoryView::default();
            let put = |records: Vec<(u32, Option<u8>)>| Changes {
                chain: records.into_iter().map(|(key, tag)| (key, tag.map(hash))).collect(),
                ..Changes::default()
            };
            store.commit(put(below.into_iter().map(|(key, tag)| (key, Some(tag))).collect()));
            let changes = put(changes.into_iter().collect());
            let mut written = store.clone();
            written.commit(changes.clone());
            let overlay = Overlay { below: &store, changes: &changes };
            prop_assert_eq!(
                Reads::<Chain>::range(&overlay, from..=until, limit),
                Reads::<Chain>::range(&written, from..=until, limit)
            );
            prop_assert_eq!(
                Reads::<Chain>::last(&overlay, from..=until, limit),
                Reads::<Chain>::last(&written, from..=until, limit)
            );
            let mut all = Reads::<Chain>::range(&written, from..=until, usize::MAX).unwrap();
            all.reverse();
            all.truncate(limit);
            prop_assert_eq!(Reads::<Chain>::last(&written, from..=until, limit), Ok(all));
            prop_assert_eq!(Reads::<Chain>::get(&overlay, &from), Reads::<Chain>::get(&written, &from));
        }
    }
}
