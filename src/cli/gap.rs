//! `jppd gap`: what to do when the node deleted blocks that were not walked yet.

use anyhow::{Context as _, Result};

use super::{audit::patient_rpc, run::rules};
use crate::{
    config::Config,
    engine::{Batch, Clock as _, SystemClock, Timeline},
    follow::{Answer, FollowError, Gap, Missing, Step},
    ledger::Input,
    node::Lane,
    store::{Store, StoreOptions},
};

/// Finds what is missing, beside the daemon or without it; if it is acknowledged, goes on without what is missing, which
/// needs the store for itself.
///
/// # Errors
///
/// When there is no store, or it is to be written and in use, or it or the node cannot be read.
pub fn find(config: &Config, acknowledged: bool) -> Result<Missing> {
    let (path, options) = (&config.store.path, || StoreOptions::new(config.node.network));
    let open = || {
        // Nothing is made where nothing is: this fails without a store.
        let read = Store::open_for_reading(path, options())?;
        if !acknowledged {
            return Ok(read);
        }
        drop(read);
        Store::open(path, options())
    };
    let store = open().with_context(|| format!("the store in {} cannot be opened", path.display()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let missing = runtime.block_on(async {
        let (rpc, rules, clock) = (patient_rpc(config)?, rules(config), SystemClock::default());
        let mut timeline = Timeline::begin(&store, &clock, rules.mines_by_itself)?;
        let mut gap = Gap::new(acknowledged);
        let mut answer = Answer::Begin;
        loop {
            answer = match gap.on(answer, &store)? {
                Step::Ask(request) => Answer::Node(rpc.call(Lane::Follow, request).await?),
                Step::Apply(action) => {
                    let mut batch = Batch::default();
                    let at = timeline.read(clock.wall(), clock.running(), None);
                    let outcome = batch.apply(&store, &rules, Input { at, action: *action })?;
                    batch.commit(&store)?;
                    Answer::Applied(outcome)
                }
                Step::Decode(_) => return Err(FollowError::Confused.into()),
                Step::Done(missing) => return anyhow::Ok(missing),
            };
        }
    })?;
    if acknowledged {
        store.flush_and_close().context("the store did not close well")?;
    }
    Ok(missing)
}

/// What is printed of it: the outputs, a line each, and what that means.
pub fn shown(missing: &Missing, acknowledged: bool) -> (String, String) {
    let Some((from, to)) = missing.heights else {
        return (String::new(), "the node has every block that was not walked yet\n".to_owned());
    };
    let lines = |word: &str, coins: &[crate::node::UnspentCoin]| -> String {
        let line = |coin: &crate::node::UnspentCoin| {
            format!("{word}: {}, {} satoshis at height {}\n", coin.outpoint, coin.satoshis, coin.height)
        };
        coins.iter().map(line).collect()
    };
    let mut found = lines("met", &missing.known) + &lines("unknown", &missing.unknown);
    found.extend(missing.undecided.iter().map(|txid| format!("undecided: {txid}\n")));
    let what = if acknowledged {
        "acknowledged: they are walked by their headers, with what was met before; start the daemon again"
    } else {
        "point node.rpc_url at a node that has them, or go on without them: jppd gap --acknowledge"
    };
    (found, format!("the node has deleted the blocks from height {from} to {to}\n{what}\n"))
}
