//! The transactions of one submission among themselves: whether they go together, and which must come first.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{FamilyFault, MOST_BYTES, MOST_TRANSACTIONS};
use crate::bch::{OutPoint, Transaction, Txid};

/// The transactions with every parent before its children, and otherwise as they came.
///
/// # Errors
///
/// [`FamilyFault`] if they do not go together.
pub(super) fn parents_first(transactions: &[Arc<Transaction>]) -> Result<Vec<Arc<Transaction>>, FamilyFault> {
    if transactions.is_empty() || transactions.len() > MOST_TRANSACTIONS {
        return Err(FamilyFault::Number(transactions.len()));
    }
    let bytes = transactions.iter().map(|tx| tx.raw().len()).sum();
    if bytes > MOST_BYTES {
        return Err(FamilyFault::Size(bytes));
    }
    let mut places: BTreeMap<Txid, usize> = BTreeMap::new();
    for (place, tx) in transactions.iter().enumerate() {
        if places.insert(tx.txid(), place).is_some() {
            return Err(FamilyFault::Repeated(tx.txid()));
        }
    }
    if let Some(outpoint) = spent_by_two(transactions) {
        return Err(FamilyFault::Conflict(outpoint));
    }
    let parents: Vec<BTreeSet<usize>> = transactions
        .iter()
        .map(|tx| tx.inputs().iter().filter_map(|outpoint| places.get(&outpoint.txid).copied()).collect())
        .collect();
    let order = topological_order(&parents).ok_or(FamilyFault::Circle)?;
    Ok(order.into_iter().filter_map(|place| transactions.get(place).cloned()).collect())
}

/// An outpoint that two of the transactions spend.
fn spent_by_two(transactions: &[Arc<Transaction>]) -> Option<OutPoint> {
    let mut spenders: BTreeMap<OutPoint, Txid> = BTreeMap::new();
    transactions.iter().find_map(|tx| {
        let txid = tx.txid();
        let taken = |outpoint: &&OutPoint| *spenders.entry(**outpoint).or_insert(txid) != txid;
        tx.inputs().iter().find(taken).copied()
    })
}

/// An order in which everybody comes after all of its parents, the first that can come first; `None` if some are
/// their own ancestors. Ids are hashes of what they name, so no transactions make such a circle; whoever sorts them
/// need not know that.
fn topological_order(parents: &[BTreeSet<usize>]) -> Option<Vec<usize>> {
    let mut order: Vec<usize> = Vec::with_capacity(parents.len());
    while order.len() < parents.len() {
        let next = parents.iter().enumerate().position(|(place, parents)| {
            !order.contains(&place) && parents.iter().all(|parent| order.contains(parent))
        })?;
        order.push(next);
    }
    Some(order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::submit::fixture::{coin, spending};

    fn txids(transactions: &[Arc<Transaction>]) -> Vec<Txid> {
        transactions.iter().map(|tx| tx.txid()).collect()
    }

    #[test]
    fn every_parent_comes_before_its_children() {
        let parent = spending(&[(coin(1), b"")], &[5, 6]).shared();
        let child = spending(&[(parent.outpoint(1), b"")], &[5]).shared();
        let grandchild = spending(&[(parent.outpoint(0), b""), (child.outpoint(0), b"")], &[5]).shared();
        let stranger = spending(&[(coin(2), b"")], &[5]).shared();
        let sorted = |of: [&Arc<Transaction>; 4]| txids(&parents_first(&of.map(Clone::clone)).unwrap());
        let ids = [&parent, &child, &grandchild, &stranger].map(|tx| tx.txid());
        assert_eq!(sorted([&parent, &child, &grandchild, &stranger]), ids);
        assert_eq!(sorted([&grandchild, &child, &parent, &stranger]), ids);
        assert_eq!(sorted([&stranger, &grandchild, &parent, &child]), [ids[3], ids[0], ids[1], ids[2]]);
    }

    #[test]
    fn who_does_not_go_together() {
        let one = spending(&[(coin(1), b"")], &[5]).shared();
        let rival = spending(&[(coin(2), b""), (coin(1), b"")], &[5]).shared();
        // What one of them spends twice by itself is a fault of its own, and found with its inputs.
        let twice = spending(&[(coin(3), b""), (coin(3), b"")], &[5]).shared();
        let many: Vec<_> =
            (10..).take(MOST_TRANSACTIONS).map(|tag| spending(&[(coin(tag), b"")], &[5])).collect();
        let mut many: Vec<_> = many.into_iter().map(Transaction::shared).collect();
        assert_eq!(parents_first(&many).map(|sorted| sorted.len()), Ok(MOST_TRANSACTIONS));
        many.push(one.clone());
        let table = [
            (vec![], FamilyFault::Number(0)),
            (many, FamilyFault::Number(MOST_TRANSACTIONS + 1)),
            (vec![one.clone(), twice.clone(), one.clone()], FamilyFault::Repeated(one.txid())),
            (vec![one.clone(), twice.clone(), rival], FamilyFault::Conflict(coin(1))),
        ];
        for (transactions, fault) in table {
            assert_eq!(parents_first(&transactions), Err(fault));
        }
        assert_eq!(parents_first(std::slice::from_ref(&twice)), Ok(vec![twice]));
    }

    #[test]
    fn together_they_are_no_larger_than_one_may_be() {
        let sized = |tag: u8, bytes: usize| {
            let bare = spending(&[(coin(tag), b"")], &[5]).raw().len();
            // Two bytes more for the length of a script of more than 252 bytes.
            let tx = spending(&[(coin(tag), &vec![0; bytes - bare - 2])], &[5]).shared();
            assert_eq!(tx.raw().len(), bytes);
            tx
        };
        let most = vec![sized(1, 60_000), sized(2, MOST_BYTES - 60_000)];
        assert_eq!(parents_first(&most).map(|sorted| sorted.len()), Ok(2));
        let over = vec![sized(1, 60_000), sized(2, MOST_BYTES - 59_999)];
        assert_eq!(parents_first(&over), Err(FamilyFault::Size(MOST_BYTES + 1)));
    }

    #[test]
    fn a_circle_has_no_order() {
        let order = |parents: &[&[usize]]| {
            topological_order(
                &parents.iter().map(|parents| parents.iter().copied().collect()).collect::<Vec<_>>(),
            )
        };
        assert_eq!(order(&[&[1], &[2], &[]]), Some(vec![2, 1, 0]));
        assert_eq!(order(&[&[], &[2], &[1]]), None);
        assert_eq!(order(&[&[0]]), None);
    }
}
