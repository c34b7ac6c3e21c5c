//! An invoice as it stands at one moment: its terms, what changed since, and its credits.

use super::{Credit, Elapsed, Invoice, Standing};
use crate::bch::{OutPoint, ScriptBuf};

/// Where an invoice is in its own life, apart from being paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It waits for its payment.
    Open,
    /// Its time passed while it was not fully paid.
    Expired {
        /// When that was judged, in elapsed time.
        at: Elapsed,
    },
    /// Its merchant withdrew it.
    Cancelled {
        /// When, in elapsed time.
        at: Elapsed,
    },
}

/// How far its payment had come when its last event was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Not (fully) paid.
    Unpaid,
    /// It would be paid if what is held counted.
    Held,
    /// Every required output is satisfied.
    Paid,
    /// And every settling transaction has the confirmations asked for.
    Confirmed,
}

/// What speaks against a transaction, the worse the later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum DoubleSpend {
    /// Nothing.
    #[default]
    None,
    /// There is a double spend proof for it, or for an ancestor of it that is not in a block: two signatures exist.
    /// Which of the two transactions will be mined it does not say.
    Proof,
    /// Another transaction that spends the same was met.
    Conflict,
}

impl DoubleSpend {
    /// The word of the JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Proof => "proof",
            Self::Conflict => "conflict",
        }
    }
}

/// What changes with an invoice beside its credits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvoiceState {
    /// Where it is in its own life.
    pub phase: Phase,
    /// How far its payment had come at its last event.
    pub level: Level,
    /// Another live invoice asks for the same script, satoshis and token.
    pub shared: bool,
    /// A credit could have been another invoice's.
    pub ambiguous: bool,
    /// What speaks against a settling transaction.
    pub double_spend: DoubleSpend,
    /// Submissions that were claimed and not yet seen, released or given up.
    pub open_claims: u32,
    /// The number of its last event; they are numbered from 1 without a gap.
    pub events: u64,
    /// Its late window has passed: it is found by its script alone, no more by its amounts.
    pub archived: bool,
}

impl InvoiceState {
    /// The state of a new invoice.
    pub fn new(shared: bool) -> Self {
        Self {
            phase: Phase::Open,
            level: Level::Unpaid,
            shared,
            ambiguous: false,
            double_spend: DoubleSpend::None,
            open_claims: 0,
            events: 0,
            archived: false,
        }
    }
}

/// An output that a payer wants refunds sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    /// Its locking script: BIP70 carries nothing else.
    pub script: ScriptBuf,
    /// Its address, if it has one.
    pub address: Option<String>,
    /// Satoshis; `None` where the payer named no amount.
    pub satoshis: Option<u64>,
}

/// What a payer said with a submission.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PayerNote {
    /// The payer's words.
    pub memo: Option<String>,
    /// Where refunds go.
    pub refund_to: Vec<Refund>,
}

/// An invoice as it stands at one moment: what an answer shows and what an event keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// What was asked.
    pub invoice: Invoice,
    /// What changed since.
    pub state: InvoiceState,
    /// Its credits in the order of crediting; of more than [`Statement::MOST_CREDITS`] the settling ones first, then the
    /// newest.
    pub credits: Vec<Credit>,
    /// How many credits it has.
    pub total: u64,
    /// What the payer said with the transaction that completed the settlement.
    pub note: PayerNote,
    /// The height of the chain at that moment, once one is known.
    pub tip_height: Option<u32>,
    /// Where all of its credits left it, if `credits` are not all of them: half of the credits would tell another story.
    pub abridged: Option<Box<Standing>>,
}

impl Statement {
    /// How many credits it shows at most. Anybody can send dust to a script: neither an answer nor an event may become as
    /// long as that.
    pub const MOST_CREDITS: usize = 100;

    /// Where that leaves it.
    pub fn standing(&self) -> Standing {
        if let Some(standing) = &self.abridged {
            return Standing::clone(standing);
        }
        Standing::of(&self.invoice, self.state.phase, &self.credits, self.tip_height)
    }

    /// One of its credits.
    pub fn credit(&self, outpoint: &OutPoint) -> Option<&Credit> {
        self.credits.iter().find(|credit| credit.outpoint == *outpoint)
    }
}
