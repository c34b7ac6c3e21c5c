//! The payment record of an invoice: it is small, is computed from the invoice's credits, and is kept beside them.
//!
//! An invoice can have thousands of credits: anybody can send dust to its script. Its standing is needed with every
//! read and every further credit, so it is kept, and changed by what changes of one credit ([`Paid::change`]). Where one
//! change does not tell the whole (a credit that counted is gone, or one counts that came before others), it is computed
//! from all credits anew ([`Paid::of`]). Both give the same record.

use super::{
    Credit, CreditState, Invoice, OutputStanding, Phase, Settlement, Standing, Status, Timestamp, Via,
};
use crate::bch::Txid;

/// How many settling credits, and how many of their transactions, are named.
pub const MOST_NAMED: usize = 100;

/// Confirmations are counted up to this number.
const MOST_CONFIRMATIONS: u32 = 100;

/// Payment record of an invoice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paid {
    /// The number of its credits, in whatever state.
    pub credits: u64,
    /// The number of those that count or are held.
    pub there: u64,
    /// Whether one of its credits could have been another invoice's.
    pub ambiguous: bool,
    /// Sums of the credits that count, for each required output. Surplus tokens are summed before the output is
    /// satisfied, too.
    pub counted: Vec<OutputStanding>,
    /// Sums of the credits that count or are held, for each required output.
    pub with_held: Vec<OutputStanding>,
    /// The credits that settle it, or will once there are enough.
    pub settling: Settling,
}

/// The credits that count, in the order of crediting, until every required output is satisfied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settling {
    /// Their transactions, each once, in that order; the first [`MOST_NAMED`].
    pub txids: Vec<Txid>,
    /// Their ordinals; the first [`MOST_NAMED`].
    pub ordinals: Vec<u64>,
    /// The ordinal of the last of them; 0 without one.
    pub last: u64,
    /// Whether one of them was late.
    pub late: bool,
    /// The number of those that are in no block.
    pub outside: u64,
    /// The greatest height of a block with one of them; 0 without one.
    pub height: u32,
    /// How they became enough, if they are.
    pub completed: Option<Completion>,
}

/// The credit that made an invoice paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Its transaction.
    pub by: Txid,
    /// When it first counted.
    pub paid_at: Timestamp,
    /// How it came to be known.
    pub via: Via,
}

impl Paid {
    /// Of an invoice without credits.
    pub fn nothing(invoice: &Invoice) -> Self {
        let outputs = vec![OutputStanding::default(); invoice.outputs.len()];
        Self { counted: outputs.clone(), with_held: outputs, ..Self::default() }
    }

    /// Of an invoice with these credits, in the order of crediting.
    pub fn of<'c>(invoice: &Invoice, credits: impl IntoIterator<Item = &'c Credit>) -> Self {
        let mut paid = Self::nothing(invoice);
        paid.add(invoice, credits);
        paid
    }

    /// Adds further credits, in the order of crediting.
    pub fn add<'c>(&mut self, invoice: &Invoice, credits: impl IntoIterator<Item = &'c Credit>) {
        for credit in credits {
            let follows = self.change(invoice, None, credit);
            debug_assert!(follows, "in the order of crediting every new credit can be added");
        }
    }

    /// Takes in that a credit changed, or is new where `before` is none. Says whether the record still is that of all
    /// credits; if not, it must be computed anew.
    #[must_use = "after `false` the record is wrong"]
    pub fn change(&mut self, invoice: &Invoice, before: Option<&Credit>, after: &Credit) -> bool {
        if before.is_some_and(|before| (before.ordinal, before.output) != (after.ordinal, after.output)) {
            return false;
        }
        let was = before.map_or(CreditState::Seen, |before| before.state);
        let is = after.state;
        if was.is_there() && !is.is_there() || was.is_live() && !is.is_live() {
            return false;
        }
        self.credits += u64::from(before.is_none());
        self.there += u64::from(is.is_there() && !was.is_there());
        self.ambiguous |= after.ambiguous;
        let index = usize::from(after.output);
        let (Some(required), Some(counted), Some(with_held)) =
            (invoice.outputs.get(index), self.counted.get_mut(index), self.with_held.get_mut(index))
        else {
            return true;
        };
        if is.is_there() && !was.is_there() {
            with_held.count(required, after.satoshis, after.token.as_ref());
        }
        match (before, was.is_live()) {
            _ if !is.is_live() => true,
            (Some(before), true) => self.settling.moved(before, after),
            _ => {
                counted.count(required, after.satoshis, after.token.as_ref());
                let settled = self.counted.iter().all(|output| output.satisfied);
                self.settling.counts(after, settled)
            }
        }
    }

    /// Whether it is settled if what is held counts too.
    pub fn is_settled_with_held(&self) -> bool {
        !self.with_held.is_empty() && self.with_held.iter().all(|output| output.satisfied)
    }

    /// The standing of its invoice in `phase`, under a chain of this height.
    pub fn standing(&self, invoice: &Invoice, phase: Phase, tip_height: Option<u32>) -> Standing {
        let mut outputs = self.counted.clone();
        // Tokens of an output that stays unsatisfied are not over, they are not enough.
        for output in outputs.iter_mut().filter(|output| !output.satisfied) {
            output.token_overpaid = 0;
        }
        let settlement = self.settling.settlement(phase, tip_height);
        let sum = |part: fn(u64, u64) -> u64| {
            invoice.outputs.iter().zip(&outputs).fold(0u64, |sum, (required, output)| {
                sum.saturating_add(part(required.satoshis, output.credited))
            })
        };
        let status = match (phase, &settlement) {
            (Phase::Cancelled { .. }, _) => Status::Cancelled,
            (_, Some(settlement))
                if settlement.confirmations >= u32::from(invoice.confirmations_required) =>
            {
                Status::Confirmed
            }
            (_, Some(_)) => Status::Paid,
            (Phase::Expired { .. }, None) => Status::Expired,
            (Phase::Open, None) => Status::Pending,
        };
        Standing {
            status,
            amount_paid: sum(|_, credited| credited),
            overpaid: sum(|required, credited| credited.saturating_sub(required)),
            underpaid: sum(|required, credited| required.saturating_sub(credited)),
            late: settlement.as_ref().map_or(self.settling.late, |settlement| settlement.late),
            outputs,
            settlement,
        }
    }
}

impl Settling {
    /// A credit counts from now on. False if others that came after it were counted before.
    fn counts(&mut self, credit: &Credit, settled: bool) -> bool {
        if credit.ordinal <= self.last {
            return false;
        }
        if self.completed.is_some() {
            return true;
        }
        let txid = credit.outpoint.txid;
        if self.txids.len() < MOST_NAMED && !self.txids.contains(&txid) {
            self.txids.push(txid);
        }
        if self.ordinals.len() < MOST_NAMED {
            self.ordinals.push(credit.ordinal);
        }
        self.last = credit.ordinal;
        self.late |= credit.late;
        match credit.state {
            CreditState::Confirmed { height, .. } => self.height = self.height.max(height),
            CreditState::Seen | CreditState::Held | CreditState::Mempool | CreditState::Lost => {
                self.outside += 1;
            }
        }
        self.completed = settled.then(|| Completion {
            by: txid,
            paid_at: credit.live_since.unwrap_or(credit.first_seen),
            via: credit.via,
        });
        true
    }

    /// A credit that counted and counts has another state. False if that changes more than can be told from it.
    fn moved(&mut self, before: &Credit, after: &Credit) -> bool {
        if after.ordinal > self.last {
            return true;
        }
        let facts = |credit: &Credit| (credit.late, credit.via, credit.live_since, credit.first_seen);
        if facts(before) != facts(after) {
            return false;
        }
        match (before.state, after.state) {
            (CreditState::Confirmed { height: was, .. }, CreditState::Confirmed { height, .. }) => {
                was == height
            }
            (CreditState::Confirmed { height, .. }, _) => {
                self.outside += 1;
                height < self.height
            }
            (_, CreditState::Confirmed { height, .. }) => {
                self.outside = self.outside.saturating_sub(1);
                self.height = self.height.max(height);
                true
            }
            _ => true,
        }
    }

    /// Whether a credit is one of them.
    pub fn has(&self, credit: &Credit) -> bool {
        credit.state.is_live() && credit.ordinal <= self.last
    }

    fn settlement(&self, phase: Phase, tip_height: Option<u32>) -> Option<Settlement> {
        let Completion { by, paid_at, via } = self.completed?;
        let in_blocks = self.outside == 0;
        let confirmations = match tip_height {
            Some(tip) if in_blocks && self.height <= tip => (tip - self.height).saturating_add(1),
            _ => 0,
        };
        Some(Settlement {
            txids: self.txids.clone(),
            completed_by: by,
            paid_at,
            via,
            // Nothing counted when it was withdrawn, so all that counts now began to count after that.
            late: matches!(phase, Phase::Cancelled { .. }) || self.late,
            confirmations: confirmations.min(MOST_CONFIRMATIONS),
            in_blocks,
        })
    }
}

#[cfg(test)]
mod tests {
    use bitcoincash::hashes::Hash as _;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        bch::{BlockHash, Category, FeeRate, OutPoint, ScriptBuf, Token},
        invoice::{Elapsed, InvoiceId, Merchant, Order, RequiredOutput, Risk},
    };

    fn invoice(required: &[(u64, bool)]) -> Invoice {
        let outputs = required.iter().map(|(satoshis, tokens)| RequiredOutput {
            address: String::new(),
            script: ScriptBuf::new(),
            satoshis: *satoshis,
            token: tokens.then(|| token(5)),
            description: None,
        });
        Invoice {
            id: InvoiceId::from_bytes([1; 16]),
            merchant: Merchant::anyone(),
            outputs: outputs.collect(),
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

    fn token(amount: u64) -> Token {
        Token { category: Category::from_wire([9; 32]), amount, nft: None }
    }

    fn credit(ordinal: u64, (output, satoshis, tokens): (u16, u64, u64)) -> Credit {
        let mut txid = [0; 32];
        // Two outputs of each transaction.
        txid[..8].copy_from_slice(&(ordinal / 2).to_le_bytes());
        Credit {
            outpoint: OutPoint { txid: Txid::from_byte_array(txid), vout: u32::from(ordinal % 2 == 1) },
            invoice: InvoiceId::from_bytes([1; 16]),
            output,
            satoshis,
            token: (tokens > 0).then(|| token(tokens)),
            ordinal,
            state: CreditState::Seen,
            via: Via::Mempool,
            late: ordinal % 7 == 3,
            ambiguous: ordinal % 11 == 5,
            first_seen: Timestamp::from_secs(100 + ordinal),
            held_since: None,
            live_since: None,
            risk: Risk::default(),
        }
    }

    fn states() -> impl Strategy<Value = CreditState> {
        let block = |height| CreditState::Confirmed { height, hash: BlockHash::from_byte_array([7; 32]) };
        prop_oneof![
            2 => Just(CreditState::Seen),
            2 => Just(CreditState::Held),
            6 => Just(CreditState::Mempool),
            4 => (5u32..9).prop_map(block),
            2 => Just(CreditState::Lost),
        ]
    }

    proptest! {
        /// Followed credit by credit, and computed anew where that is asked, it is that of all credits.
        #[test]
        fn follows_its_credits(
            required in prop::collection::vec((500u64..3000, prop::bool::weighted(0.2)), 1..4),
            changes in prop::collection::vec((0usize..30, (0u16..4, 1u64..2000, 0u64..9), states()), 1..120),
        ) {
            let invoice = invoice(&required);
            let (mut paid, mut credits) = (Paid::nothing(&invoice), Vec::<Credit>::new());
            let mut followed = 0u32;
            for (number, (which, terms, state)) in changes.into_iter().enumerate() {
                let (before, after) = match credits.get_mut(which) {
                    Some(known) => {
                        let before = known.clone();
                        known.state = state;
                        if state.is_live() {
                            known.live_since.get_or_insert(Timestamp::from_secs(1000 + number as u64));
                        }
                        (Some(before), known.clone())
                    }
                    None => {
                        let mut new = credit(credits.len() as u64 + 1, terms);
                        new.state = state;
                        credits.push(new.clone());
                        (None, new)
                    }
                };
                if paid.change(&invoice, before.as_ref(), &after) {
                    followed += 1;
                } else {
                    paid = Paid::of(&invoice, &credits);
                }
                prop_assert_eq!(&paid, &Paid::of(&invoice, &credits), "after {:?} -> {:?}", before, after);
            }
            prop_assert!(followed > 0, "the first credit is always followed");
        }
    }

    /// Dust to a paid invoice changes the record without a new sum, and so does the block that confirms the dust.
    #[test]
    fn dust_is_never_summed_anew() {
        let invoice = invoice(&[(1000, false)]);
        let mut paid = Paid::nothing(&invoice);
        let mut change = |before: Option<&Credit>, after: &Credit| {
            assert!(paid.change(&invoice, before, after), "{before:?} -> {after:?}");
        };
        let first = Credit { state: CreditState::Mempool, ..credit(1, (0, 1000, 0)) };
        change(None, &first);
        for ordinal in 2..400 {
            let seen = credit(ordinal, (0, 546, 0));
            let there = Credit { state: CreditState::Mempool, ..seen.clone() };
            let hash = BlockHash::from_byte_array([7; 32]);
            let mined = Credit { state: CreditState::Confirmed { height: 9, hash }, ..seen.clone() };
            change(None, &seen);
            change(Some(&seen), &there);
            change(Some(&there), &mined);
            change(Some(&mined), &there);
        }
        assert_eq!((paid.credits, paid.there, paid.settling.ordinals.len()), (399, 399, 1));
        assert_eq!(paid.counted.first().map(|output| output.credited), Some(1000 + 398 * 546));
    }
}
