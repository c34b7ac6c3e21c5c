//! The walk of blocks: from the tip we have to the tip the node has.

use std::sync::Arc;

use super::{Answer, FollowError, Moment, Step, recall::note_block};
use crate::{
    bch::{Block, BlockHash},
    engine::Sightings,
    ledger::{
        Action, Outcome, ReadError, Reads, View,
        tables::{Blocks, Chain, Counters},
    },
    node::{Reply, Request},
};

/// How many transactions of a block go into one input at most: a submission never waits for a whole block. The ledger takes
/// fewer where they make much work.
const PART: usize = 2000;

/// How many blocks the node takes back at most (`-maxreorgdepth`). The first walk of all begins so far below its tip,
/// so that no reorg reaches below where our chain begins.
pub(super) const DEEPEST_REORG: u32 = 10;

/// The walk from the tip we have to a tip of the node: back along the node's headers to a block that is on our
/// chain, ours above it undone one by one, the node's connected one by one, the oldest first.
///
/// Only the node's own links are followed, never heights: those change under one's feet.
#[derive(Debug)]
pub(super) struct Walk {
    /// What remains to be connected, the newest first.
    path: Vec<(u32, BlockHash)>,
    stage: Stage,
    sightings: Arc<Sightings>,
    /// Where our chain ended before blocks of it were undone, if any were.
    undone_from: Option<u32>,
    /// Whether anything is connected.
    connects: bool,
}

#[derive(Debug)]
enum Stage {
    Headers(BlockHash),
    Anchor,
    /// Undoing our blocks above this height.
    Undo(u32),
    Fetch(u32, BlockHash),
    /// The node deleted the block at this height: up to which others?
    Pruned(u32),
    Decode(u32, BlockHash),
    /// Applying a block from this transaction on.
    Part(u32, Arc<Block>, usize),
    Connect,
}

impl Walk {
    /// A walk to a tip of the node.
    pub(super) fn to(tip: BlockHash, sightings: Arc<Sightings>) -> Self {
        Self { path: Vec::new(), stage: Stage::Headers(tip), sightings, undone_from: None, connects: false }
    }

    /// Where our chain ended before blocks of it were undone, if any were.
    pub(super) fn undone_from(&self) -> Option<u32> {
        self.undone_from
    }

    /// Whether blocks were undone and none connected: the node's chain is shorter than it was.
    pub(super) fn went_back(&self) -> bool {
        self.undone_from.is_some() && !self.connects
    }

    /// How many blocks remain to be connected.
    pub(super) fn remaining(&self) -> u32 {
        u32::try_from(self.path.len()).unwrap_or(u32::MAX)
    }

    /// Takes an answer and says what is next.
    pub(super) fn on<V: View>(
        &mut self,
        answer: Answer,
        view: &V,
        moment: Moment,
    ) -> Result<Step<()>, FollowError> {
        match (&self.stage, answer) {
            (Stage::Headers(hash), Answer::Begin) => Ok(Step::Ask(Request::Header(*hash))),
            (Stage::Headers(hash), Answer::Node(Reply::Header(header))) => {
                let header = header.ok_or(FollowError::NoSuchBlock(*hash))?;
                let Some((ours, _)) = tip(view)? else {
                    // The first start of all: what is there is older than every invoice.
                    if let Some(previous) = header.previous
                        && self.remaining() < DEEPEST_REORG
                    {
                        self.path.push((header.height, header.hash));
                        self.stage = Stage::Headers(previous);
                        return Ok(Step::Ask(Request::Header(previous)));
                    }
                    self.stage = Stage::Anchor;
                    let time_s = u32::try_from(header.time_s).unwrap_or(u32::MAX);
                    return Ok(apply(Action::Anchor { height: header.height, hash: header.hash, time_s }));
                };
                if Reads::<Chain>::get(view, &header.height)? == Some(header.hash) {
                    self.stage = Stage::Undo(header.height);
                    return self.undo(header.height, view);
                }
                let previous = header.previous.ok_or(FollowError::OtherChain)?;
                // Our chain begins at its anchor; below it there is nothing to meet.
                if header.height < ours && is_below_anchor(view, header.height)? {
                    return Err(FollowError::OtherChain);
                }
                self.path.push((header.height, header.hash));
                self.stage = Stage::Headers(previous);
                Ok(Step::Ask(Request::Header(previous)))
            }
            (Stage::Anchor, Answer::Applied(_)) => Ok(self.next()),
            (Stage::Undo(fork), Answer::Applied(_)) => {
                let fork = *fork;
                self.undo(fork, view)
            }
            (Stage::Fetch(height, hash), Answer::Node(Reply::Block(raw))) => {
                let raw = raw.ok_or(FollowError::NoSuchBlock(*hash))?;
                self.stage = Stage::Decode(*height, *hash);
                Ok(Step::Decode(raw))
            }
            (Stage::Fetch(height, _), Answer::Node(Reply::Pruned)) => {
                self.stage = Stage::Pruned(*height);
                Ok(Step::Ask(Request::ChainInfo))
            }
            (Stage::Pruned(from), Answer::Node(Reply::ChainInfo(chain))) => {
                let to = chain.prune_height.and_then(|kept| kept.checked_sub(1)).unwrap_or(*from).max(*from);
                Err(FollowError::Pruned { from: *from, to })
            }
            (Stage::Decode(height, hash), Answer::Decoded(block)) => {
                let block = block?;
                if block.hash != *hash {
                    return Err(FollowError::NoSuchBlock(*hash));
                }
                let height = *height;
                // Noted before anything of it is applied: an invoice that is registered from now on is younger than
                // the block, however long the disk takes. What was begun before was met before.
                let begun = Reads::<Blocks>::get(view, &block.hash)?.map(|record| record.begun);
                let order = begun.map_or(moment.order, |begun| begun.min(moment.order));
                note_block(&block, Moment { order, ..moment }, &self.sightings);
                Ok(self.part(height, block, 0))
            }
            (Stage::Part(height, block, from), Answer::Applied(Outcome::Part { applied })) => {
                let (height, block, from) = (*height, block.clone(), from.saturating_add(applied));
                if from < block.transactions.len() {
                    return Ok(self.part(height, block, from));
                }
                // A write that failed can turn out to be on disk, and with it a block that was taken off: then this one
                // stands on nothing, and the walk begins anew.
                if tip(view)?.is_none_or(|(_, ours)| ours != block.previous) {
                    return Err(FollowError::Moved);
                }
                let hash = block.hash;
                self.stage = Stage::Connect;
                Ok(apply(Action::BlockConnected { hash, height }))
            }
            (Stage::Connect, Answer::Applied(_)) => Ok(self.next()),
            _ => Err(FollowError::Confused),
        }
    }

    fn undo<V: View>(&mut self, fork: u32, view: &V) -> Result<Step<()>, FollowError> {
        match tip(view)? {
            Some((height, hash)) if height > fork => {
                self.undone_from.get_or_insert(height);
                tracing::info!(height, %hash, "a block is not on the node's chain any more");
                Ok(apply(Action::BlockDisconnected { hash, height }))
            }
            _ => Ok(self.next()),
        }
    }

    fn next(&mut self) -> Step<()> {
        match self.path.pop() {
            Some((height, hash)) => {
                self.connects = true;
                self.stage = Stage::Fetch(height, hash);
                Step::Ask(Request::Block(hash))
            }
            None => Step::Done(()),
        }
    }

    fn part(&mut self, height: u32, block: Arc<Block>, from: usize) -> Step<()> {
        let transactions = block
            .transactions
            .iter()
            .skip(from)
            .take(PART)
            .map(|tx| (Arc::new(tx.clone()), self.sightings.get(&tx.txid())))
            .collect();
        let (hash, time_s) = (block.hash, block.time_s);
        self.stage = Stage::Part(height, block, from);
        apply(Action::BlockPart { hash, height, time_s, transactions })
    }
}

fn apply(action: Action) -> Step<()> {
    Step::Apply(Box::new(action))
}

fn tip<V: View>(view: &V) -> Result<Option<(u32, BlockHash)>, ReadError> {
    Ok(Reads::<Counters>::get(view, &())?.unwrap_or_default().tip)
}

fn is_below_anchor<V: View>(view: &V, height: u32) -> Result<bool, ReadError> {
    let first = Reads::<Chain>::range(view, 0..=u32::MAX, 1)?;
    Ok(first.first().is_some_and(|(anchor, _)| height <= *anchor))
}
