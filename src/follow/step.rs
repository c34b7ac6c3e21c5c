//! What the machines of this room ask for, and what they are given.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    bch::{Block, BlockError},
    engine::EngineError,
    invoice::{FirstSeen, Order, Reading, Sighting},
    ledger::{Action, Outcome, ReadError},
    node::{NodeError, Reply, Request},
};

/// What a machine asks for.
#[derive(Debug)]
pub enum Step<T> {
    /// This of the node.
    Ask(Request),
    /// A block, decoded where nobody waits.
    Decode(Bytes),
    /// This of the engine.
    Apply(Box<Action>),
    /// Nothing more.
    Done(T),
}

impl<T> Step<T> {
    /// The same for a machine that this one is a part of; `None` when this one is done.
    pub(super) fn within<U>(self) -> Option<Step<U>> {
        match self {
            Self::Ask(request) => Some(Step::Ask(request)),
            Self::Decode(raw) => Some(Step::Decode(raw)),
            Self::Apply(action) => Some(Step::Apply(action)),
            Self::Done(_) => None,
        }
    }
}

/// What it is given.
#[derive(Debug)]
pub enum Answer {
    /// Nothing yet.
    Begin,
    /// The node's reply.
    Node(Reply),
    /// The block.
    Decoded(Result<Arc<Block>, BlockError>),
    /// The engine's outcome.
    Applied(Outcome),
}

/// What is known at the moment of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// All clocks.
    pub now: Reading,
    /// The position up to which everything is on disk.
    pub order: Order,
}

impl Moment {
    /// The evidence for what comes to us now.
    pub fn first_seen(self) -> FirstSeen {
        FirstSeen { sighting: Sighting::Order(self.order), at: self.now.elapsed, shown: self.now.wall }
    }
}

/// Why a machine came to nothing. It is begun anew later; nothing is lost by that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// The node is away, or answered badly.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The engine could not take an input: the disk is at fault, or we are stopping.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The node has not read its mempool back yet.
    #[error("the node is still reading its mempool")]
    MempoolNotLoaded,
    /// The node deleted blocks of its chain before we had walked them. Somebody must say how to go on: see `Health`.
    #[error("the node has deleted the blocks from height {from} to {to}, which were not walked yet")]
    Pruned {
        /// The first height that is missing.
        from: u32,
        /// The last one.
        to: u32,
    },
    /// The node does not have a block of its own chain: it is in the middle of something.
    #[error("the node does not have the block {0}")]
    NoSuchBlock(crate::bch::BlockHash),
    /// The node's chain and ours have no block in common.
    #[error("the node's chain has no block in common with ours")]
    OtherChain,
    /// Our own chain moved under a walk: a write that had failed turned out to be on disk.
    #[error("our chain moved under the walk")]
    Moved,
    /// The node sent a block that is none.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// An answer to another question: a bug of ours.
    #[error("an answer to another question")]
    Confused,
}
