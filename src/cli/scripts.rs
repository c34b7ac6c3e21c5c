//! `jppd scripts`: who owns an address, and how it gets another owner.

use anyhow::{Context as _, Result};

use crate::{
    bch::{Address, ScriptHash},
    config::Config,
    engine::{Batch, Clock as _, SystemClock, Timeline},
    ledger::{
        Action, Input, Reads,
        tables::{ScriptRecord, Scripts},
    },
    store::{Store, StoreError, StoreOptions},
};

use super::run::rules;

/// An address and what is on record of its script.
#[derive(Debug)]
pub struct Owned {
    address: Address,
    record: Option<ScriptRecord>,
}

/// Reads who owns an address, beside the daemon or without it.
///
/// # Errors
///
/// When it is no address of the configured network, or there is no store, or it cannot be read.
pub fn show(config: &Config, address: &str) -> Result<Owned> {
    let address = read(config, address)?;
    let options = StoreOptions::new(config.node.network);
    let path = &config.store.path;
    let store = Store::open_for_reading(path, options)
        .with_context(|| format!("the store in {} cannot be opened", path.display()))?;
    let record = Reads::<Scripts>::get(&store, &ScriptHash::of(address.script()))?;
    Ok(Owned { address, record })
}

/// Releases an address: the next one who asks for it becomes its owner. Needs the store for itself. Nothing happens where no
/// invoice ever asked for the address.
///
/// # Errors
///
/// When it is no address of the configured network, or there is no store, or the daemon holds it, or it cannot be written.
pub fn release(config: &Config, address: &str) -> Result<Owned> {
    let address = read(config, address)?;
    let (path, options) = (&config.store.path, || StoreOptions::new(config.node.network));
    // Nothing is made where nothing is: this fails without a store.
    let open = Store::open_for_reading(path, options()).and_then(|read| {
        drop(read);
        Store::open(path, options())
    });
    let why = |error: &StoreError| {
        if let StoreError::Held { .. } = error {
            "jppd is running with this store: stop it, release the address, and start it again".to_owned()
        } else {
            format!("the store in {} cannot be opened", path.display())
        }
    };
    let store = open.map_err(|error| {
        let why = why(&error);
        anyhow::Error::new(error).context(why)
    })?;
    let script = ScriptHash::of(address.script());
    let (mut batch, rules, clock) = (Batch::default(), rules(config), SystemClock::default());
    let mut timeline = Timeline::begin(&store, &clock, rules.mines_by_itself)?;
    let at = timeline.read(clock.wall(), clock.running(), None);
    let action = Action::ReleaseScript { script };
    batch.apply(&store, &rules, Input { at, action })?;
    batch.commit(&store)?;
    let record = Reads::<Scripts>::get(&store, &script)?;
    store.flush_and_close().context("the store did not close well")?;
    Ok(Owned { address, record })
}

fn read(config: &Config, address: &str) -> Result<Address> {
    let network = config.node.network;
    Address::parse(address, network)
        .with_context(|| format!("{address} is no address of the network {}", network.name()))
}

impl Owned {
    /// Whether an invoice ever asked for it.
    pub fn is_known(&self) -> bool {
        self.record.is_some()
    }

    /// Printed text about the address and its owner.
    pub fn shown(&self) -> String {
        let Some(ScriptRecord { merchant, since, released, taken, .. }) = &self.record else {
            return format!("{}: no invoice ever asked for it\n", self.address);
        };
        let owner = if merchant.is_anyone() {
            "anyone (invoices made without a key)".to_owned()
        } else {
            format!("merchant {merchant}")
        };
        let state =
            if *released { "released: the next one who asks becomes its owner" } else { "not released" };
        format!(
            "{}\nowner: {owner}\nfirst asked for: {since}\nchanges of owner: {}\nstate: {state}\n",
            self.address,
            taken.len()
        )
    }
}
