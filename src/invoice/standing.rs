//! Where the credits leave an invoice: a pure function.

use super::{Credit, Invoice, Paid, Phase, RequiredOutput, Timestamp, Via, matching::is_satisfied_by};
use crate::bch::{Token, Txid};

/// The word that says it all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Not (fully) paid, not expired.
    Pending,
    /// Every required output is satisfied.
    Paid,
    /// And every settling transaction has the confirmations asked for.
    Confirmed,
    /// Its time passed while it was not fully paid.
    Expired,
    /// Its merchant withdrew it; a payment is recorded all the same.
    Cancelled,
}

impl Status {
    /// The word of the JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Paid => "paid",
            Self::Confirmed => "confirmed",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What one required output has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputStanding {
    /// Satoshis credited to it.
    pub credited: u64,
    /// Whether it is paid, token and all.
    pub satisfied: bool,
    /// Fungible tokens over what was asked.
    pub token_overpaid: u64,
}

impl OutputStanding {
    /// Counts one more output that was credited to a required one.
    pub fn count(&mut self, required: &RequiredOutput, satoshis: u64, token: Option<&Token>) {
        self.credited = self.credited.saturating_add(satoshis);
        match &required.token {
            None => self.satisfied |= self.credited >= required.satoshis,
            Some(asked) => {
                let enough = is_satisfied_by(Some(asked), token) && satoshis >= required.satoshis;
                let met = token.map_or(0, |token| token.amount);
                let spare = if enough && !self.satisfied { met.saturating_sub(asked.amount) } else { met };
                self.token_overpaid = self.token_overpaid.saturating_add(spare);
                self.satisfied |= enough;
            }
        }
    }
}

/// The credits that make an invoice paid: the live ones, in the order of crediting, until every required output is
/// satisfied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// Their transactions, each once, in that order; the first [`MOST_NAMED`](super::MOST_NAMED).
    pub txids: Vec<Txid>,
    /// The transaction that completed it.
    pub completed_by: Txid,
    /// When that one first counted.
    pub paid_at: Timestamp,
    /// How it came to be known.
    pub via: Via,
    /// Whether one of them was late; whatever settles a withdrawn invoice is.
    pub late: bool,
    /// The least confirmations of its transactions, counted to 100; more than that nobody can ask for.
    pub confirmations: u32,
    /// Whether all of them are in a block.
    pub in_blocks: bool,
}

/// Where the credits leave an invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// In one word.
    pub status: Status,
    /// Required output by required output.
    pub outputs: Vec<OutputStanding>,
    /// Satoshis credited in all.
    pub amount_paid: u64,
    /// Satoshis over, output by output: a surplus on one never fills another.
    pub overpaid: u64,
    /// Satoshis missing, output by output.
    pub underpaid: u64,
    /// Whether one of the credits that settle it, or will once there are enough, was late.
    pub late: bool,
    /// What settles it, if it is settled.
    pub settlement: Option<Settlement>,
}

impl Standing {
    /// The standing of an invoice in `phase`, with its credits in the order of crediting, under a chain of this
    /// height.
    pub fn of(invoice: &Invoice, phase: Phase, credits: &[Credit], tip_height: Option<u32>) -> Self {
        Paid::of(invoice, credits).standing(invoice, phase, tip_height)
    }
}

#[cfg(test)]
mod tests {
    use bitcoincash::hashes::Hash as _;

    use super::*;
    use crate::{
        bch::{BlockHash, Category, FeeRate, OutPoint, ScriptBuf, Token},
        invoice::{CreditState, Elapsed, InvoiceId, Merchant, Order, RequiredOutput, Risk},
    };

    fn invoice(required: &[(u64, Option<u64>)]) -> Invoice {
        Invoice {
            id: InvoiceId::from_bytes([1; 16]),
            merchant: Merchant::anyone(),
            outputs: required
                .iter()
                .map(|(satoshis, token)| RequiredOutput {
                    address: String::new(),
                    script: ScriptBuf::new(),
                    satoshis: *satoshis,
                    token: token.map(tokens),
                    description: None,
                })
                .collect(),
            memo: None,
            merchant_data: None,
            created: Timestamp::from_secs(100),
            expires: Timestamp::from_secs(200),
            deadline: Elapsed::from_secs(200),
            node_time: None,
            fee_rate: FeeRate::default(),
            confirmations_required: 1,
            zero_conf: None,
            registered: Order(1),
        }
    }

    fn tokens(amount: u64) -> Token {
        Token { category: Category::from_wire([9; 32]), amount, nft: None }
    }

    fn credit(ordinal: u64, output: u16, satoshis: u64, state: CreditState) -> Credit {
        Credit {
            outpoint: OutPoint { txid: txid(ordinal), vout: 0 },
            invoice: InvoiceId::from_bytes([1; 16]),
            output,
            satoshis,
            token: None,
            ordinal,
            state,
            via: Via::Mempool,
            late: false,
            ambiguous: false,
            first_seen: Timestamp::from_secs(100 + ordinal),
            held_since: None,
            live_since: Some(Timestamp::from_secs(110 + ordinal)),
            risk: Risk::default(),
        }
    }

    fn txid(tag: u64) -> Txid {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&tag.to_le_bytes());
        Txid::from_byte_array(bytes)
    }

    fn block(height: u32) -> CreditState {
        CreditState::Confirmed { height, hash: BlockHash::all_zeros() }
    }

    fn of(invoice: &Invoice, credits: &[Credit]) -> Standing {
        Standing::of(invoice, Phase::Open, credits, Some(10))
    }

    #[test]
    fn partial_payments_add_up_and_a_surplus_fills_nothing_else() {
        let invoice = invoice(&[(1000, None), (500, None)]);
        let one = credit(1, 0, 600, CreditState::Mempool);
        let two = credit(2, 0, 900, CreditState::Mempool);
        let standing = of(&invoice, &[one.clone(), two.clone()]);
        assert_eq!(standing.status, Status::Pending);
        assert_eq!((standing.amount_paid, standing.overpaid, standing.underpaid), (1500, 500, 500));
        let three = credit(3, 1, 500, CreditState::Mempool);
        let standing = of(&invoice, &[one, two, three]);
        let settlement = standing.settlement.unwrap();
        assert_eq!(standing.status, Status::Paid);
        assert_eq!(settlement.txids, [txid(1), txid(2), txid(3)]);
        assert_eq!((settlement.completed_by, settlement.paid_at), (txid(3), Timestamp::from_secs(113)));
    }

    #[test]
    fn only_live_credits_count() {
        let invoice = invoice(&[(1000, None)]);
        for state in [CreditState::Seen, CreditState::Held, CreditState::Lost] {
            let held = Paid::of(&invoice, &[credit(1, 0, 1000, state)]).is_settled_with_held();
            assert_eq!(held, state == CreditState::Held);
            let standing = of(&invoice, &[credit(1, 0, 1000, state)]);
            assert_eq!((standing.status, standing.amount_paid), (Status::Pending, 0));
        }
        // The first full payment is lost, the second one carries the invoice.
        let credits = [credit(1, 0, 1000, CreditState::Lost), credit(2, 0, 1000, CreditState::Mempool)];
        assert_eq!(of(&invoice, &credits).settlement.unwrap().completed_by, txid(2));
    }

    #[test]
    fn a_second_full_payment_settles_nothing_more() {
        let invoice = invoice(&[(1000, None)]);
        let credits = [credit(1, 0, 1000, block(10)), credit(2, 0, 1000, CreditState::Mempool)];
        let standing = of(&invoice, &credits);
        assert_eq!((standing.status, standing.overpaid), (Status::Confirmed, 1000));
        assert_eq!(standing.settlement.unwrap().txids, [txid(1)]);
    }

    #[test]
    fn the_least_confirmations_decide() {
        let mut invoice = invoice(&[(1000, None)]);
        invoice.confirmations_required = 3;
        let credits = [credit(1, 0, 500, block(8)), credit(2, 0, 500, block(9))];
        let standing = of(&invoice, &credits);
        assert_eq!((standing.status, standing.settlement.unwrap().confirmations), (Status::Paid, 2));
        let later = Standing::of(&invoice, Phase::Open, &credits, Some(11));
        assert_eq!((later.status, later.settlement.unwrap().confirmations), (Status::Confirmed, 3));
        let much_later = Standing::of(&invoice, Phase::Open, &credits, Some(10_000));
        assert_eq!(much_later.settlement.unwrap().confirmations, 100);
        // In a block that the tip has not reached yet.
        let ahead = Standing::of(&invoice, Phase::Open, &[credit(1, 0, 1000, block(11))], Some(10));
        assert_eq!(ahead.settlement.unwrap().confirmations, 0);
    }

    #[test]
    fn tokens_do_not_accumulate() {
        let invoice = invoice(&[(1000, Some(5))]);
        let with = |ordinal, satoshis, amount| Credit {
            token: Some(tokens(amount)),
            ..credit(ordinal, 0, satoshis, CreditState::Mempool)
        };
        assert!(of(&invoice, &[with(1, 1000, 3), with(2, 1000, 3)]).settlement.is_none());
        assert!(of(&invoice, &[with(1, 999, 5)]).settlement.is_none());
        assert!(of(&invoice, &[credit(1, 0, 1000, CreditState::Mempool)]).settlement.is_none());
        let standing = of(&invoice, &[with(1, 1000, 3), with(2, 1000, 7)]);
        assert!(standing.settlement.is_some());
        assert_eq!(standing.outputs[0].token_overpaid, 5);
    }

    #[test]
    fn phases() {
        let invoice = invoice(&[(1000, None)]);
        let at = Elapsed::from_secs(1);
        let paid = [credit(1, 0, 1000, CreditState::Mempool)];
        let table = [
            (Phase::Open, &[][..], Status::Pending),
            (Phase::Expired { at }, &[][..], Status::Expired),
            (Phase::Expired { at }, &paid[..], Status::Paid),
            (Phase::Cancelled { at }, &paid[..], Status::Cancelled),
        ];
        for (phase, credits, status) in table {
            assert_eq!(Standing::of(&invoice, phase, credits, None).status, status, "{phase:?}");
        }
    }

    #[test]
    fn nothing_asked_of_the_chain_is_confirmed_at_once() {
        let mut invoice = invoice(&[(1000, None)]);
        invoice.confirmations_required = 0;
        assert_eq!(of(&invoice, &[credit(1, 0, 1000, CreditState::Mempool)]).status, Status::Confirmed);
    }

    proptest::proptest! {
        #[test]
        fn sums_agree(
            required in proptest::collection::vec(1u64..5000, 1..4),
            paid in proptest::collection::vec((0u16..4, 1u64..5000, proptest::bool::ANY), 0..12),
        ) {
            let invoice = invoice(&required.iter().map(|satoshis| (*satoshis, None)).collect::<Vec<_>>());
            let credits: Vec<_> = (1u64..)
                .zip(&paid)
                .map(|(ordinal, (output, satoshis, live))| {
                    let state = if *live { CreditState::Mempool } else { CreditState::Lost };
                    credit(ordinal, output % u16::try_from(required.len()).unwrap(), *satoshis, state)
                })
                .collect();
            let standing = of(&invoice, &credits);
            let total: u64 = required.iter().sum();
            proptest::prop_assert_eq!(standing.amount_paid + standing.underpaid, total + standing.overpaid);
            proptest::prop_assert_eq!(standing.settlement.is_some(), standing.underpaid == 0);
        }
    }
}
