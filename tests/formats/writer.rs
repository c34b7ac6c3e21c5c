//! Writes the store that is kept for this version: a scenario over the real ledger and the real store, at fixed times
//! beside the model of a node's chain. It is run by hand when a version is released:
//! `cargo test --test formats -- --ignored`.
//!
//! Nothing of it depends on when it is read: what is open is so until 2100, every other deadline is long over. Half of
//! it is in tables, half in the log alone, as a program leaves it that was killed.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use bitcoincash::{ScriptBuf, consensus};
use jppd::{
    bch::{Address, Category, FeeRate, Network, Token, Transaction, Txid},
    invoice::{
        Draft, Elapsed, FirstSeen, InvoiceId, Merchant, PayerNote, Reading, Refund, RequiredOutput, Sighting,
        Timestamp, Via, ZeroConf,
    },
    ledger::{
        self, Action, ClaimRequest, Creation, Idempotency, Input, Observation, Outcome, Reads, Rules,
        Submitted, tables::Counters,
    },
    store::{Store, StoreOptions},
};
use regtest::{
    SimNode, SimOptions,
    chain::Chain,
    wallet::{PayOptions, Payment, Wallet},
};

/// A Tuesday in 2023.
const BEGIN_S: u64 = 1_700_000_000;
/// The time between two inputs.
const STEP: Duration = Duration::from_millis(1_001);
/// The year 2100 begins.
const NEVER_S: u64 = 4_102_444_800;

struct Writer {
    chain: Chain,
    payer: Wallet,
    store: Store,
    now: Timestamp,
    seen: BTreeMap<Txid, FirstSeen>,
    ids: Vec<String>,
    blocks: u8,
}

impl Writer {
    fn begin(path: &Path) -> Result<Self> {
        let mut writer = Self {
            chain: Chain::new(BEGIN_S),
            payer: Wallet::from_seed(1)?,
            store: Store::open(path, StoreOptions::new(Network::Regtest))?,
            now: Timestamp::from_secs(BEGIN_S),
            seen: BTreeMap::new(),
            ids: Vec::new(),
            blocks: 0,
        };
        let script = writer.payer.script(0)?;
        for hash in writer.chain.mine(115, &script, BEGIN_S) {
            let block = writer.chain.block(hash).context("a block")?;
            writer.payer.scan_block(&block.block, block.height);
        }
        let (hash, height) = writer.chain.tip();
        let time_s = u32::try_from(BEGIN_S)?;
        writer.apply(Action::Anchor { height, hash, time_s })?;
        Ok(writer)
    }

    fn apply(&mut self, action: Action) -> Result<Outcome> {
        self.now = self.now.after(STEP);
        let input = Input { at: Reading::of_wall(self.now), action };
        let applied = ledger::apply(&self.store, &Rules::default(), input)?;
        self.store.commit(&applied.changes)?;
        Ok(applied.outcome)
    }

    /// An invoice that asks for these amounts, each at an address of its own.
    fn invoice(
        &mut self,
        amounts: &[u64],
        expires: u64,
        word: impl FnOnce(&mut Creation),
    ) -> Result<InvoiceId> {
        let number = u8::try_from(self.ids.len() + 1)?;
        let id = InvoiceId::from_bytes([number; 16]);
        let mut outputs = Vec::new();
        for (output, satoshis) in (0..).zip(amounts) {
            let address =
                Address::of_script(&script(number, output), Network::Regtest).context("an address")?;
            let description = (output > 0).then(|| format!("number {output}"));
            outputs.push(RequiredOutput::new(&address, *satoshis, None, description));
        }
        let draft = Draft {
            outputs,
            memo: None,
            merchant_data: None,
            // The input comes a little later than this.
            lasts: Timestamp::from_secs(expires).since(self.now.after(STEP)),
            fee_rate: FeeRate::default(),
            confirmations_required: 1,
            zero_conf: None,
        };
        let mut creation = Creation { id, merchant: Merchant::anyone(), draft, idempotency: None };
        word(&mut creation);
        self.apply(Action::Create(Box::new(creation)))?;
        self.ids.push(id.to_string());
        Ok(id)
    }

    /// A transaction that pays to an output of the invoice that was made last.
    fn sign(&mut self, satoshis: u64) -> Result<bitcoincash::Transaction> {
        let number = u8::try_from(self.ids.len())?;
        let options = PayOptions { confirmed_only: true, ..PayOptions::default() };
        self.payer.pay(&[Payment::new(script(number, 0), satoshis)], options)
    }

    fn first_seen(&mut self, txid: Txid) -> Result<FirstSeen> {
        let order = Reads::<Counters>::get(&self.store, &())?.unwrap_or_default().order;
        let at = Elapsed::from_millis(self.now.millis());
        let now = FirstSeen { sighting: Sighting::Order(order), at, shown: self.now };
        Ok(*self.seen.entry(txid).or_insert(now))
    }

    /// The node has a transaction in its mempool.
    fn observe(&mut self, tx: &bitcoincash::Transaction) -> Result<Txid> {
        self.chain
            .submit(&consensus::serialize(tx), false, self.now.secs())
            .map_err(|reject| anyhow::anyhow!("{}", reject.message))?;
        let transaction = decode(tx)?.shared();
        let txid = transaction.txid();
        let (first_seen, observation) = (self.first_seen(txid)?, Observation::Mempool);
        self.apply(Action::Observed { transaction, first_seen, observation })?;
        Ok(txid)
    }

    /// A wallet submits a transaction with a word.
    fn claim(&mut self, invoice: InvoiceId, tx: &bitcoincash::Transaction) -> Result<()> {
        let transaction = decode(tx)?.shared();
        let first_seen = self.first_seen(transaction.txid())?;
        let refund = Refund { script: script(250, 0), address: None, satoshis: Some(1_234) };
        let note = PayerNote { memo: Some("gr\u{fc}ezi".to_owned()), refund_to: vec![refund] };
        let transactions = vec![Submitted { transaction, first_seen, is_public: false }];
        let request = ClaimRequest { invoice, transactions, note, via: Via::Api };
        let outcome = self.apply(Action::Claim(Box::new(request)))?;
        ensure!(outcome == Outcome::Claimed(ledger::Claimed::Open), "{outcome:?}");
        Ok(())
    }

    /// Mines a block with these, known or not.
    fn mine(&mut self, transactions: Vec<bitcoincash::Transaction>) -> Result<()> {
        self.blocks += 1;
        let payout = script(251, self.blocks);
        let mined = self.chain.mine_transactions(transactions, &payout, self.now.secs());
        let hash = mined.map_err(|reject| anyhow::anyhow!("{}", reject.message))?;
        let stored = self.chain.block(hash).context("a block")?;
        let (block, height) = (stored.block.clone(), stored.height);
        self.payer.scan_block(&block, height);
        let mut transactions = Vec::new();
        for tx in &block.txdata {
            let transaction = decode(tx)?.shared();
            let seen = self.seen.get(&transaction.txid()).copied();
            transactions.push((transaction, seen));
        }
        let time_s = block.header.time;
        self.apply(Action::BlockPart { hash, height, time_s, transactions })?;
        self.apply(Action::BlockConnected { hash, height })?;
        Ok(())
    }

    /// The first half: it ends in tables.
    fn settled(&mut self) -> Result<()> {
        // Confirmed, with all that can be said of an invoice.
        let fee_rate = FeeRate::from_millisatoshis(1_500).context("a rate")?;
        let spoken = self.invoice(&[10_000, 600], NEVER_S, |creation| {
            creation.draft.memo = Some("K\u{e4}se & Brot".to_owned());
            creation.draft.merchant_data = Some(r#"{"order":17}"#.to_owned());
            creation.draft.fee_rate = fee_rate;
            creation.idempotency =
                Some(Idempotency { key: "seventeen".to_owned(), body: [17; 32], sent: [17; 32] });
        })?;
        let number = u8::try_from(self.ids.len())?;
        let payments = [Payment::new(script(number, 0), 10_000), Payment::new(script(number, 1), 600)];
        let options = PayOptions { confirmed_only: true, fee_per_kilobyte: 1_600, ..PayOptions::default() };
        let paying = self.payer.pay(&payments, options)?;
        self.claim(spoken, &paying)?;
        self.observe(&paying)?;
        self.mine(vec![paying])?;

        // In part, and by a block alone.
        self.invoice(&[20_000], BEGIN_S + 900, |_| ())?;
        let part = self.sign(15_000)?;
        self.mine(vec![part])?;

        // Spent twice: the rival was mined.
        self.invoice(&[9_000], BEGIN_S + 900, |_| ())?;
        let lost = self.sign(9_000)?;
        let txid = self.observe(&lost)?;
        let rival = self.payer.double_spend(&lost, PayOptions::default())?;
        self.apply(Action::Proven { txids: vec![txid] })?;
        self.mine(vec![rival])?;

        // Withdrawn; too late, and paid all the same; too late, and not paid.
        let merchant = Merchant::named("shop");
        let owner = merchant.clone();
        let invoice = self.invoice(&[8_000], NEVER_S, |creation| creation.merchant = owner)?;
        let outcome = self.apply(Action::Cancel { invoice, merchant })?;
        ensure!(matches!(outcome, Outcome::Managed(ledger::Managed::Done(_))), "{outcome:?}");
        self.invoice(&[7_000], BEGIN_S + 60, |_| ())?;
        self.now = Timestamp::from_secs(BEGIN_S + 1_000);
        self.apply(Action::Tick { judge_expiry: true, clock_wrong: false })?;
        let late = self.sign(7_000)?;
        self.observe(&late)?;
        self.mine(vec![late])?;
        self.invoice(&[6_000], BEGIN_S + 1_060, |_| ())?;
        self.now = Timestamp::from_secs(BEGIN_S + 2_000);
        self.apply(Action::Tick { judge_expiry: true, clock_wrong: false })?;
        Ok(())
    }

    /// The second half: it ends in the log.
    fn under_way(&mut self) -> Result<()> {
        // Open, and asked for tokens.
        self.invoice(&[5_000, 700], NEVER_S, |creation| creation.draft.memo = Some("open".to_owned()))?;
        self.invoice(&[800], BEGIN_S + 3_000, |creation| {
            let category = Category::from_wire([0xca; 32]);
            for output in &mut creation.draft.outputs {
                output.token = Some(Token { category, amount: 40, nft: None });
            }
        })?;
        self.now = Timestamp::from_secs(BEGIN_S + 4_000);
        self.apply(Action::Tick { judge_expiry: true, clock_wrong: false })?;

        // Paid and in the mempool, with too much; held back; and submitted, and not seen yet.
        self.invoice(&[4_000], NEVER_S, |_| ())?;
        let over = self.sign(4_500)?;
        let txid = self.observe(&over)?;
        self.apply(Action::Appraised { txid, score: Some("1".parse()?) })?;
        let min_score = "1".parse()?;
        self.invoice(&[3_000], NEVER_S, |creation| {
            creation.draft.zero_conf = Some(ZeroConf { min_score, wait: Duration::from_secs(3_600) });
        })?;
        let held = self.sign(3_000)?;
        self.observe(&held)?;
        let submitted = self.invoice(&[2_000], NEVER_S, |_| ())?;
        let unseen = self.sign(2_000)?;
        self.claim(submitted, &unseen)?;
        self.mine(vec![])?;
        Ok(())
    }

    fn blocks(&self) -> Result<String> {
        let (_, tip) = self.chain.tip();
        let mut lines = String::new();
        for height in 1..=tip {
            let hash = self.chain.hash_at(height).context("a block of every height")?;
            let block = &self.chain.block(hash).context("a block")?.block;
            lines += &consensus::encode::serialize_hex(block);
            lines.push('\n');
        }
        Ok(lines)
    }
}

fn decode(tx: &bitcoincash::Transaction) -> Result<Transaction> {
    Ok(Transaction::decode(consensus::serialize(tx).into())?)
}

/// A script that nobody has the key of.
fn script(number: u8, output: u8) -> ScriptBuf {
    let mut hash = [number; 20];
    hash[19] = output;
    ScriptBuf::from([&[0x76, 0xa9, 0x14][..], &hash, &[0x88, 0xac]].concat())
}

/// Copies what makes a database, and nothing that it only writes for people.
fn keep(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_str().context("a name in UTF-8")?;
        if name == "CURRENT"
            || name.starts_with("MANIFEST-")
            || name.ends_with(".sst")
            || name.ends_with(".log")
        {
            fs::copy(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes into the repository: once for each version that is released"]
async fn write_the_store_of_this_version() -> Result<()> {
    let version = super::kept().join(env!("CARGO_PKG_VERSION"));
    if version.exists() {
        fs::remove_dir_all(&version)?;
    }
    let folder = tempfile::tempdir()?;
    let mut writer = Writer::begin(folder.path())?;
    writer.settled()?;
    writer.store.flush_and_close()?;
    writer.store = Store::open(folder.path(), StoreOptions::new(Network::Regtest))?;
    writer.under_way()?;
    // The store is open: what is copied is what a kill leaves.
    keep(folder.path(), &version.join("store"))?;
    fs::write(version.join("blocks.hex"), writer.blocks()?)?;

    let node = SimNode::start(SimOptions::default())?;
    let copied = tempfile::tempdir()?;
    let daemon = super::over_a_copy(&node, &version.join("store"), copied.path()).await?;
    let reading = super::reading(&daemon, writer.ids.iter(), |_| 1).await?;
    fs::write(version.join("reading.json"), format!("{reading:#}\n"))?;
    Ok(())
}
