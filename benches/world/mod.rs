//! A store full of invoices, and transactions that pay them or pay others.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use jppd::{
    bch::{Address, FeeRate, Network, ScriptBuf, Transaction},
    invoice::{Draft, FirstSeen, InvoiceId, Merchant, Order, Reading, RequiredOutput, Sighting, Timestamp},
    ledger::{self, Action, Changes, Creation, Input, Observation, Overlay, Rules},
    store::{Store, StoreOptions},
};
use sha2::{Digest as _, Sha256};

/// When everything happens: in January 2027.
fn now() -> Reading {
    Reading::of_wall(Timestamp::from_secs(1_800_000_000))
}

/// A digest that is different for every number, and the same in every run.
fn digest(of: &str, number: u64) -> [u8; 32] {
    Sha256::new_with_prefix(of).chain_update(number.to_be_bytes()).finalize().into()
}

/// A P2PKH script of its own for every number.
pub(crate) fn script(of: &str, number: u64) -> ScriptBuf {
    ScriptBuf::from([&[0x76, 0xa9, 0x14][..], &digest(of, number)[..20], &[0x88, 0xac]].concat())
}

/// The creation of an invoice over an amount to a script.
fn creation(number: u64, script: &ScriptBuf, satoshis: u64) -> Creation {
    let address = Address::of_script(script, Network::Regtest).unwrap();
    let id: [u8; 16] = digest("invoice", number)[..16].try_into().unwrap();
    Creation {
        id: InvoiceId::from_bytes(id),
        merchant: Merchant::named("shop"),
        draft: Draft {
            outputs: vec![RequiredOutput::new(&address, satoshis, None, None)],
            memo: Some(format!("Order {number}")),
            merchant_data: None,
            lasts: Duration::from_secs(900),
            fee_rate: FeeRate::default(),
            confirmations_required: 1,
            zero_conf: None,
        },
        idempotency: None,
    }
}

/// A transaction with two inputs, as large as they are, and these outputs.
pub(crate) fn transaction(number: u64, outputs: &[(ScriptBuf, u64)]) -> Arc<Transaction> {
    let mut raw = vec![2, 0, 0, 0, 2];
    for input in 0..2 {
        raw.extend_from_slice(&digest("parent", number * 2 + input));
        raw.extend_from_slice(&[0, 0, 0, 0, 100]);
        raw.extend_from_slice(&[0x51; 100]);
        raw.extend_from_slice(&[0xff; 4]);
    }
    match u8::try_from(outputs.len()) {
        Ok(few) if few < 0xfd => raw.push(few),
        _ => {
            raw.push(0xfd);
            raw.extend_from_slice(&u16::try_from(outputs.len()).unwrap().to_le_bytes());
        }
    }
    for (script, satoshis) in outputs {
        raw.extend_from_slice(&satoshis.to_le_bytes());
        raw.push(u8::try_from(script.len()).unwrap());
        raw.extend_from_slice(script.as_bytes());
    }
    raw.extend_from_slice(&[0; 4]);
    Transaction::decode(raw.into()).unwrap().shared()
}

/// That a transaction is in the mempool.
pub(crate) fn observed(transaction: Arc<Transaction>) -> Input {
    let first_seen =
        FirstSeen { sighting: Sighting::Order(Order(u64::MAX)), at: now().elapsed, shown: now().wall };
    let action = Action::Observed { transaction, first_seen, observation: Observation::Mempool };
    Input { at: now(), action }
}

/// A store in a directory of its own.
pub(crate) struct World {
    /// The store.
    pub(crate) store: Store,
    rules: Rules,
    directory: tempfile::TempDir,
}

impl World {
    /// A store with so many invoices, each over `script_and_amount(its number)`.
    pub(crate) fn with_invoices(count: u64, script_and_amount: impl Fn(u64) -> (ScriptBuf, u64)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let open = |path: &Path| Store::open(path, StoreOptions::new(Network::Regtest)).unwrap();
        let mut world = Self { store: open(directory.path()), rules: Rules::default(), directory };
        let started = Instant::now();
        let numbers: Vec<u64> = (0..count).collect();
        for numbers in numbers.chunks(5000) {
            world.write(numbers.iter().map(|number| {
                let (script, satoshis) = script_and_amount(*number);
                let creation = Box::new(creation(*number, &script, satoshis));
                Input { at: now(), action: Action::Create(creation) }
            }));
        }
        // As after a restart: what was written is in files.
        world.store.flush_and_close().unwrap();
        world.store = open(world.directory.path());
        eprintln!("{count} invoices in {:?}", started.elapsed());
        std::thread::sleep(Duration::from_secs(3));
        world
    }

    /// Applies inputs one on top of the other, without writing.
    pub(crate) fn apply(&self, inputs: impl IntoIterator<Item = Input>) -> Changes {
        let mut changes = Changes::default();
        for input in inputs {
            let overlay = Overlay { below: &self.store, changes: &changes };
            let applied = ledger::apply(&overlay, &self.rules, input).unwrap();
            changes.extend(applied.changes);
        }
        changes
    }

    /// Applies inputs and writes them in one synced write.
    pub(crate) fn write(&self, inputs: impl IntoIterator<Item = Input>) -> Changes {
        let changes = self.apply(inputs);
        self.store.commit(&changes).unwrap();
        changes
    }
}
