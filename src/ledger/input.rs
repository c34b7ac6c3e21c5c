//! Inputs: everything that can happen, and what its sender is told.

use std::{sync::Arc, time::Duration};

use super::{
    Refusal,
    tables::{IdempotencyRecord, Place},
};
use crate::{
    bch::{BlockHash, OutPoint, ProofScore, ScriptHash, Transaction, Txid},
    invoice::{Draft, Elapsed, FirstSeen, InvoiceId, Merchant, PayerNote, Reading, Statement, Via},
};

/// The rules that an operator can set. They are the same for a whole run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How long after the expiry a submission is still in time.
    pub submission_grace: Duration,
    /// How long after expiry or cancellation an invoice still attracts payments by their amount.
    pub late_window: Duration,
    /// How long after that it is found by its script and kind of token; `None` for ever.
    pub retention: Option<Duration>,
    /// What happens when two live invoices ask for the same.
    pub shared_outputs: SharedOutputs,
    /// How many open claims of others an invoice can have when a submission comes. One submission claims all its
    /// transactions or none, so there can be more for a while: by those of one submission less one.
    pub most_open_claims: u32,
    /// Whether the network finds blocks by itself, so that their times prove how far time has come. What cannot be
    /// undone waits for that proof.
    pub mines_by_itself: bool,
}

impl Rules {
    /// How long the answer to a creation can be asked again.
    pub const IDEMPOTENCY: Duration = Duration::from_secs(72 * 3600);
    /// How long a claim waits for its transaction to be seen: as long as the node keeps one in its mempool.
    pub const CLAIM: Duration = Duration::from_secs(336 * 3600);
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            submission_grace: Duration::from_secs(30),
            late_window: Duration::from_secs(7 * 24 * 3600),
            retention: None,
            shared_outputs: SharedOutputs::Flag,
            most_open_claims: 16,
            mines_by_itself: false,
        }
    }
}

/// What happens when two live invoices ask for the same script, satoshis and token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedOutputs {
    /// Both are marked; who paid is guessed.
    Flag,
    /// The second one is refused.
    Refuse,
}

/// Something that happened, and when.
#[derive(Clone, Debug)]
pub struct Input {
    /// All clocks, read once by the sender.
    pub at: Reading,
    /// What happened.
    pub action: Action,
}

/// What can happen.
#[derive(Clone, Debug)]
pub enum Action {
    /// A merchant creates an invoice.
    Create(Box<Creation>),
    /// The operator releases a script: the next one who asks for it becomes its owner. Until then nothing changes.
    ReleaseScript {
        /// The script.
        script: ScriptHash,
    },
    /// A merchant withdraws one.
    Cancel {
        /// Which.
        invoice: InvoiceId,
        /// Who asks.
        merchant: Merchant,
    },
    /// A merchant says which invoice a payment is for.
    Assign {
        /// The output that pays.
        outpoint: OutPoint,
        /// What it pays.
        invoice: InvoiceId,
        /// Who asks.
        merchant: Merchant,
    },
    /// A wallet submits transactions for an invoice, and we are about to broadcast them.
    Claim(Box<ClaimRequest>),
    /// The node refused what was claimed, or what had to come before it.
    Release {
        /// The transactions.
        txids: Vec<Txid>,
        /// The invoice they were submitted for.
        invoice: InvoiceId,
    },
    /// A transaction was met outside a block.
    Observed {
        /// It.
        transaction: Arc<Transaction>,
        /// When it was first seen.
        first_seen: FirstSeen,
        /// Where it was met.
        observation: Observation,
    },
    /// A transaction is neither in a block nor in the mempool any more.
    Lost {
        /// It.
        txid: Txid,
    },
    /// Nobody can tell any more what became of these transactions of the mempool: they were mined in blocks that the node
    /// deleted before they were walked, or lost to rivals there.
    Missed {
        /// They.
        txids: Vec<Txid>,
    },
    /// There are double spend proofs for these transactions, or for ancestors of theirs that are in no block.
    Proven {
        /// They, as far as the node knows them.
        txids: Vec<Txid>,
    },
    /// The node said how well double spend proofs protect a transaction.
    Appraised {
        /// It.
        txid: Txid,
        /// The score; `None` if the node cannot say.
        score: Option<ProofScore>,
    },
    /// The node was asked for its double spend proofs, whom they concern was told, and these transactions were in its
    /// mempool: what is held of them waits no longer than until then.
    Watched {
        /// Each with the moment up to which it was watched, in elapsed time without leaps (`Reading::watched`).
        until: Vec<(Txid, Elapsed)>,
    },
    /// Our walk of the chain begins here.
    Anchor {
        /// The height of the block.
        height: u32,
        /// Its hash.
        hash: BlockHash,
        /// The miner's word for when it was found, in seconds since 1970.
        time_s: u32,
    },
    /// A part of a block that is about to be connected. Parts can be repeated. Of one that makes very much work only a
    /// beginning is applied, see [`Outcome::Part`].
    BlockPart {
        /// The block.
        hash: BlockHash,
        /// Its height.
        height: u32,
        /// The miner's word for when it was found, seconds since 1970.
        time_s: u32,
        /// Some of its transactions, with when each was first seen if it was seen before.
        transactions: Vec<(Arc<Transaction>, Option<FirstSeen>)>,
    },
    /// All parts of a block were applied; it is the end of the chain now.
    BlockConnected {
        /// The block.
        hash: BlockHash,
        /// Its height: one above the end of the chain.
        height: u32,
    },
    /// The end of the chain is not on the node's chain any more.
    BlockDisconnected {
        /// The block.
        hash: BlockHash,
        /// Its height.
        height: u32,
    },
    /// Time passed.
    Tick {
        /// Whether what the node had to say is known up to now, so that expiries can be judged.
        judge_expiry: bool,
        /// Whether the wall clock is known to be wrong. No deadline is judged then.
        clock_wrong: bool,
    },
}

/// A creation.
#[derive(Clone, Debug)]
pub struct Creation {
    /// The name it will have.
    pub id: InvoiceId,
    /// Who creates it.
    pub merchant: Merchant,
    /// What is asked.
    pub draft: Draft,
    /// The merchant's promise that a repetition means the same invoice.
    pub idempotency: Option<Idempotency>,
}

/// An `Idempotency-Key` with the body it came with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The key.
    pub key: String,
    /// The SHA-256 of the body's canonical form, which all spellings of one value share.
    pub body: [u8; 32],
    /// The SHA-256 of the body as it was sent: older versions recorded that.
    pub sent: [u8; 32],
}

impl Idempotency {
    /// Whether a creation on record came with the same body. A record of an older version has the digest of the body as
    /// it was sent; it is forgotten after [`Rules::IDEMPOTENCY`].
    pub fn repeats(&self, known: &IdempotencyRecord) -> bool {
        known.body == self.body || known.body == self.sent
    }
}

/// A submission.
#[derive(Clone, Debug)]
pub struct ClaimRequest {
    /// For which invoice.
    pub invoice: InvoiceId,
    /// What was submitted, each transaction once.
    pub transactions: Vec<Submitted>,
    /// What the payer said.
    pub note: PayerNote,
    /// How it came.
    pub via: Via,
}

/// A transaction of a submission.
#[derive(Clone, Debug)]
pub struct Submitted {
    /// It.
    pub transaction: Arc<Transaction>,
    /// When it was first seen.
    pub first_seen: FirstSeen,
    /// Whether the network has it: then anybody can submit it, and whoever does has no say in where refunds go.
    pub is_public: bool,
}

/// Where a transaction was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// The node published it, which it does for mined and disconnected ones too.
    Seen,
    /// The node has it in its mempool.
    Mempool,
}

impl From<Observation> for Place {
    fn from(observation: Observation) -> Self {
        match observation {
            Observation::Seen => Self::Seen,
            Observation::Mempool => Self::Mempool,
        }
    }
}

/// What the sender of an input is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It was taken in.
    Done,
    /// Of a part of a block.
    Part {
        /// How many of its transactions were applied, in their order: one at least. The rest is for another input, so that
        /// nobody waits long for the writer.
        applied: usize,
    },
    /// Of a creation.
    Created(Box<Created>),
    /// Of a claim.
    Claimed(Claimed),
    /// Of a merchant's cancellation or assignment.
    Managed(Managed),
}

/// What a creation comes to.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "the large one is the common one, and an outcome holds it in a box"
)]
pub enum Created {
    /// The invoice is registered, or was by the same request before.
    Registered(Statement),
    /// The same idempotency key came with another body.
    OtherBody,
    /// Another merchant asked for this script first.
    ScriptOfAnother {
        /// Which required output.
        index: usize,
    },
    /// Another live invoice asks for the same, and shared outputs are refused.
    Shared {
        /// Which required output.
        index: usize,
    },
}

/// What a claim comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// The outputs are reserved: broadcast what the node does not have.
    Open,
    /// What was submitted is credited to this invoice already.
    AlreadyCredited,
    /// It cannot pay this invoice.
    Refused(Refusal),
}

/// What a merchant's request comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Managed {
    /// Done; the invoice as it stands now.
    Done(Box<Statement>),
    /// There is no such invoice, or no such payment, of this merchant.
    Unknown,
    /// It can't be cancelled: a submission is under way.
    ClaimOpen,
    /// It can't be cancelled: something was paid.
    Paid,
    /// It can't be assigned: the invoice asks for nothing that this payment could be.
    NothingLikeIt,
}
