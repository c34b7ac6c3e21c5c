//! Conservation of CashTokens (CHIP-2022-02): whether what a transaction spends allows the tokens it pays out.

use std::collections::BTreeMap;

use bitcoincash::hashes::Hash as _;

use super::TokenFault;
use crate::bch::{Capability, Category, Nft, Output, Transaction};

/// What the inputs of one category bring.
#[derive(Debug, Default)]
struct Purse<'s> {
    amount: u128,
    minting: bool,
    mutable: usize,
    /// Immutable ones by their commitment.
    immutable: BTreeMap<&'s [u8], usize>,
}

/// Checks the tokens of the outputs against what is spent, one output for each input. It refuses nothing that the node
/// takes.
pub(super) fn check_tokens(tx: &Transaction, spent: &[Output]) -> Result<(), TokenFault> {
    let mut purses: BTreeMap<Category, Purse<'_>> = BTreeMap::new();
    for token in spent.iter().filter_map(|output| output.token.as_ref()) {
        purses.entry(token.category).or_default().collect(token.amount, token.nft.as_ref());
    }
    let mut paid: BTreeMap<Category, u128> = BTreeMap::new();
    for token in tx.outputs().iter().filter_map(|output| output.token.as_ref()) {
        let category = token.category;
        if is_genesis(tx, category) {
            continue;
        }
        let Some(purse) = purses.get_mut(&category) else { return Err(TokenFault::NotHeld { category }) };
        *paid.entry(category).or_default() += u128::from(token.amount);
        if token.nft.as_ref().is_some_and(|nft| !purse.allows(nft)) {
            return Err(TokenFault::Nft { category });
        }
    }
    for (category, outputs) in paid {
        let inputs = purses.get(&category).map_or(0, |purse| purse.amount);
        if inputs < outputs {
            return Err(TokenFault::TooMuchOut { category, inputs, outputs });
        }
    }
    Ok(())
}

/// Whether a transaction creates a category: it spends the first output of the transaction that the category is named
/// after, and may then pay out of it what it likes.
fn is_genesis(tx: &Transaction, category: Category) -> bool {
    let creates = |txid: &[u8; 32], vout: u32| vout == 0 && txid == category.wire();
    tx.inputs().iter().any(|outpoint| creates(&outpoint.txid.to_byte_array(), outpoint.vout))
}

impl<'s> Purse<'s> {
    fn collect(&mut self, amount: u64, nft: Option<&'s Nft>) {
        self.amount += u128::from(amount);
        match nft.map(|nft| (nft.capability, nft.commitment.as_slice())) {
            Some((Capability::Minting, _)) => self.minting = true,
            Some((Capability::Mutable, _)) => self.mutable += 1,
            Some((Capability::None, commitment)) => *self.immutable.entry(commitment).or_default() += 1,
            None => {}
        }
    }

    /// Takes what an NFT is made from, the least that will do: the same again, or one that is changed for it, or
    /// nothing at all if more can be minted.
    fn allows(&mut self, nft: &Nft) -> bool {
        let same = self.immutable.get_mut(nft.commitment.as_slice()).filter(|count| **count > 0);
        match (nft.capability, same) {
            (Capability::None, Some(count)) => {
                *count -= 1;
                true
            }
            (Capability::None | Capability::Mutable, _) if self.mutable > 0 => {
                self.mutable -= 1;
                true
            }
            (Capability::None | Capability::Mutable | Capability::Minting, _) => self.minting,
        }
    }
}

#[cfg(test)]
mod tests {
    use bitcoincash::{
        TokenID, TxIn, TxOut,
        token::{OutputData, TokenAmount},
    };
    use proptest::prelude::*;

    use super::*;
    use crate::{
        bch::{OutPoint, ScriptBuf},
        submit::fixture::coin,
    };

    /// Tokens as a table writes them: the tag of their category, an amount, and an NFT by its capability and
    /// commitment.
    type Drawn = (u8, i64, Option<(u8, &'static [u8])>);

    fn data((tag, amount, nft): Drawn) -> OutputData {
        let commitment = nft.map(|(_, commitment)| commitment.to_vec()).unwrap_or_default();
        let bitfield = nft.map_or(0, |(capability, _)| 0x20 | capability)
            | if amount > 0 { 0x10 } else { 0 }
            | if commitment.is_empty() { 0 } else { 0x40 };
        OutputData {
            id: TokenID::from_byte_array([tag; 32]),
            bitfield,
            amount: TokenAmount::from_int(amount).unwrap(),
            commitment,
        }
    }

    fn txout(token: Option<Drawn>) -> TxOut {
        TxOut {
            value: bitcoincash::Amount::from_sat(1000),
            script_pubkey: ScriptBuf::from(vec![0x51]),
            token: token.map(data),
        }
    }

    /// What we say, and what the model of the node says, of a transaction that spends these and pays out those.
    fn verdicts(
        spent: &[(OutPoint, Option<Drawn>)],
        paid: &[Option<Drawn>],
    ) -> (Result<(), TokenFault>, Result<(), String>) {
        let tx = bitcoincash::Transaction {
            version: bitcoincash::transaction::Version::TWO,
            lock_time: bitcoincash::absolute::LockTime::ZERO,
            input: spent
                .iter()
                .map(|(outpoint, _)| TxIn { previous_output: *outpoint, ..TxIn::default() })
                .collect(),
            output: paid.iter().map(|token| txout(*token)).collect(),
        };
        let coins: Vec<TxOut> = spent.iter().map(|(_, token)| txout(*token)).collect();
        let outputs: Vec<Output> = coins
            .iter()
            .map(|coin| Output::new(coin.script_pubkey.clone(), coin.value.to_sat(), coin.token.as_ref()))
            .collect();
        let decoded = Transaction::decode(bitcoincash::consensus::serialize(&tx).into()).unwrap();
        let model = regtest::chain::check_tokens(&tx, &coins).map_err(|reject| reject.message);
        (check_tokens(&decoded, &outputs), model)
    }

    /// A coin whose outpoint is no genesis of anything.
    fn held(tag: u8, token: Drawn) -> (OutPoint, Option<Drawn>) {
        (OutPoint { vout: 1, ..coin(tag) }, Some(token))
    }

    #[test]
    fn what_is_allowed_and_what_is_not() {
        const SAME: &[u8] = b"same";
        let category = Category::from_wire([1; 32]);
        let none = |commitment| Some((0u8, commitment));
        let (mutable, minting) = (Some((1u8, SAME)), Some((2u8, SAME)));
        let nft = Err(TokenFault::Nft { category });
        let short = |inputs, outputs| Err(TokenFault::TooMuchOut { category, inputs, outputs });
        type Case = (Vec<(OutPoint, Option<Drawn>)>, Vec<Option<Drawn>>, Result<(), TokenFault>);
        let table: Vec<Case> = vec![
            // Fungible ones: as many or fewer, from as many inputs as there are.
            (vec![held(9, (1, 5, None))], vec![Some((1, 5, None))], Ok(())),
            (vec![held(9, (1, 5, None))], vec![None], Ok(())),
            (vec![held(9, (1, 5, None))], vec![Some((1, 6, None))], short(5, 6)),
            (vec![held(9, (1, 5, None)), held(8, (1, 1, None))], vec![Some((1, 6, None))], Ok(())),
            (vec![held(9, (1, 5, None))], vec![Some((1, 3, None)), Some((1, 3, None))], short(5, 6)),
            (vec![held(9, (2, 5, None))], vec![Some((1, 5, None))], Err(TokenFault::NotHeld { category })),
            (vec![(coin(9), None)], vec![Some((1, 5, None))], Err(TokenFault::NotHeld { category })),
            // An NFT that can mint makes no fungible ones.
            (vec![held(9, (1, 0, minting))], vec![Some((1, 1, None))], short(0, 1)),
            // A genesis: of the first output alone.
            (vec![(coin(1), None)], vec![Some((1, 7, minting)), Some((1, 0, none(SAME)))], Ok(())),
            (
                vec![(OutPoint { vout: 1, ..coin(1) }, None)],
                vec![Some((1, 7, None))],
                Err(TokenFault::NotHeld { category }),
            ),
            // NFTs: the same again, once each.
            (vec![held(9, (1, 0, none(SAME)))], vec![Some((1, 0, none(SAME)))], Ok(())),
            (vec![held(9, (1, 0, none(SAME)))], vec![Some((1, 0, none(b"other")))], nft),
            (
                vec![held(9, (1, 0, none(SAME)))],
                vec![Some((1, 0, none(SAME))), Some((1, 0, none(SAME)))],
                nft,
            ),
            (vec![held(9, (1, 0, none(SAME)))], vec![Some((1, 0, mutable))], nft),
            (vec![held(9, (1, 4, None))], vec![Some((1, 4, none(b"")))], nft),
            // A mutable one becomes any one that cannot mint.
            (vec![held(9, (1, 0, mutable))], vec![Some((1, 0, none(b"other")))], Ok(())),
            (vec![held(9, (1, 0, mutable))], vec![Some((1, 0, Some((1, b"other"))))], Ok(())),
            (vec![held(9, (1, 0, mutable))], vec![Some((1, 0, mutable)), Some((1, 0, none(SAME)))], nft),
            (vec![held(9, (1, 0, mutable))], vec![Some((1, 0, minting))], nft),
            // It is not used up by what an immutable one allows, whatever comes first.
            (
                vec![held(9, (1, 0, mutable)), held(8, (1, 0, none(SAME)))],
                vec![Some((1, 0, none(SAME))), Some((1, 0, mutable))],
                Ok(()),
            ),
            (
                vec![held(9, (1, 0, mutable)), held(8, (1, 0, none(SAME)))],
                vec![Some((1, 0, mutable)), Some((1, 0, none(SAME)))],
                Ok(()),
            ),
            // One that mints makes as many as it likes.
            (
                vec![held(9, (1, 0, minting))],
                vec![
                    Some((1, 0, minting)),
                    Some((1, 0, mutable)),
                    Some((1, 0, none(b"a"))),
                    Some((1, 0, minting)),
                ],
                Ok(()),
            ),
        ];
        for (spent, paid, expected) in table {
            let (ours, model) = verdicts(&spent, &paid);
            assert_eq!(ours, expected, "{spent:?} {paid:?}");
            assert_eq!(ours.is_ok(), model.is_ok(), "{spent:?} {paid:?} {model:?}");
        }
    }

    #[test]
    fn sums_do_not_overflow() {
        let most = (1, i64::MAX, None);
        let spent = [held(9, most), held(8, most), held(7, most)];
        assert_eq!(verdicts(&spent, &[Some(most), Some(most), Some(most)]).0, Ok(()));
        assert!(verdicts(&spent[..2], &[Some(most), Some(most), Some(most)]).0.is_err());
    }

    fn drawn() -> impl Strategy<Value = Option<Drawn>> {
        let commitments = prop::sample::select(vec![&b""[..], b"a", b"b"]);
        let token = (1u8..3, 0i64..4, prop::option::of((0u8..3, commitments)))
            .prop_filter("something must be there", |(_, amount, nft)| *amount > 0 || nft.is_some());
        prop::option::weighted(0.85, token)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

        /// We refuse what the model of the node refuses, and nothing else.
        #[test]
        fn as_the_node_has_it(
            spent in prop::collection::vec((1u8..6, 0u32..2, drawn()), 1..6),
            paid in prop::collection::vec(drawn(), 1..5),
        ) {
            let spent: Vec<_> = spent
                .into_iter()
                .map(|(tag, vout, token)| (OutPoint { vout, ..coin(tag) }, token))
                .collect();
            let (ours, model) = verdicts(&spent, &paid);
            prop_assert_eq!(ours.is_ok(), model.is_ok(), "{:?} {:?}", ours, model);
        }
    }
}
