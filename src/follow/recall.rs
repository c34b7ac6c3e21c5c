//! The last blocks before this process began.

use std::sync::Arc;

use super::{Answer, FollowError, Moment, Step, walk::DEEPEST_REORG};
use crate::{
    bch::{Block, BlockHash},
    engine::Sightings,
    invoice::{Order, Sighting},
    ledger::{
        ReadError, Reads, View,
        tables::{Chain, Counters},
    },
    node::{Reply, Request},
};

/// Reads the blocks again that were walked before this process began and that the node can still take back, and
/// notes what is in them. Without it a reorg would bring their transactions into the mempool as if they were new,
/// and they could pay invoices that are younger than they are.
///
/// What is on record keeps the evidence it was recorded with. What is not was looked at when its block was walked, and
/// paid nobody then, because nobody had asked for it or because it was older than who had: so it is older than every
/// invoice there is, those that were registered before its block among them.
#[derive(Debug)]
pub(super) struct Recall {
    /// What remains to be read.
    blocks: Vec<BlockHash>,
    asked: Option<BlockHash>,
    sightings: Arc<Sightings>,
}

impl Recall {
    /// A recall of the end of our chain.
    pub(super) fn new<V: View>(view: &V, sightings: Arc<Sightings>) -> Result<Self, ReadError> {
        let tip = Reads::<Counters>::get(view, &())?.unwrap_or_default().tip;
        let blocks = match tip {
            Some((height, _)) => {
                let first = (height + 1).saturating_sub(DEEPEST_REORG);
                Reads::<Chain>::range(view, first..=height, usize::MAX)?
            }
            None => Vec::new(),
        };
        Ok(Self { blocks: blocks.into_iter().map(|(_, hash)| hash).collect(), asked: None, sightings })
    }

    /// Takes an answer and says what is next.
    pub(super) fn on(&mut self, answer: Answer, moment: Moment) -> Result<Step<()>, FollowError> {
        match (self.asked, answer) {
            // A node that lost a block, or deleted it, cannot take it back either.
            (None, Answer::Begin) | (Some(_), Answer::Node(Reply::Block(None) | Reply::Pruned)) => {
                Ok(self.next())
            }
            (Some(_), Answer::Node(Reply::Block(Some(raw)))) => Ok(Step::Decode(raw)),
            (Some(hash), Answer::Decoded(block)) => {
                let block = block?;
                if block.hash != hash {
                    return Err(FollowError::NoSuchBlock(hash));
                }
                note_block(&block, Moment { order: Order(0), ..moment }, &self.sightings);
                Ok(self.next())
            }
            _ => Err(FollowError::Confused),
        }
    }

    fn next(&mut self) -> Step<()> {
        self.asked = self.blocks.pop();
        match self.asked {
            Some(hash) => Step::Ask(Request::Block(hash)),
            None => Step::Done(()),
        }
    }
}

/// Notes the transactions of a block as met in it, at the latest, at this moment: now, or when the block itself says. A
/// reorg does not make them young.
pub(super) fn note_block(block: &Block, met: Moment, sightings: &Sightings) {
    let seen = met.now.first_seen(Sighting::Block(met.order), block.time_s.into());
    for tx in &block.transactions {
        sightings.note(tx.txid(), seen);
        sightings.left(tx.txid());
    }
}
