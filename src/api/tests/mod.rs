//! The real routers on real loopback sockets, over the real engine and a store in memory.

mod client;
mod creating;
mod fuzzing;
mod html;
mod managing;
mod node;
mod operating;
mod page;
mod paying;
mod reading;
mod serving;
mod signing;
mod sockets;
mod wallet;

use std::{
    net::SocketAddr,
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::RwLock;
use serde_json::{Value, json};

use super::{
    ApiSettings, ApiState, Limits, ServeSettings, Stop, TrustedProxies, listen, public_router, serve,
    signing::Signing,
};
use crate::{
    bch::{Address, FeeRate, Network, OutPoint, ScriptBuf, Transaction},
    engine::{Clock, CommitError, Engine, EngineSettings, Sightings, Storage},
    follow::Health,
    invoice::{FirstSeen, Merchant, Sighting, Timestamp},
    ledger::{Action, Changes, LogId, MemoryView, Observation, Outcome, ReadError, Reads, Rules, Table},
    node::{Auth, Rpc, RpcSettings},
    notify::Notifier,
    submit::Submitter,
};

/// The moment at which every test begins: 2026-11-23T02:43:49.099Z.
const START: u64 = 1_795_401_829_099;

/// The id of the event log of every test.
const LOG: &str = "9b2f0d1c6d3e4f7aa1b0c2d3e4f50617";

/// A store in memory, which can be told to fail.
#[derive(Debug, Default)]
struct Store {
    records: RwLock<MemoryView>,
    failing: AtomicBool,
}

impl Store {
    fn fail(&self, failing: bool) {
        self.failing.store(failing, Ordering::SeqCst);
    }

    fn check(&self) -> Result<(), String> {
        if self.failing.load(Ordering::SeqCst) { Err("told to fail".to_owned()) } else { Ok(()) }
    }
}

impl<T: Table> Reads<T> for Store
where
    MemoryView: Reads<T>,
{
    fn get(&self, key: &T::Key) -> Result<Option<T::Value>, ReadError> {
        self.check().map_err(ReadError)?;
        self.records.read().get(key)
    }

    fn range(
        &self,
        keys: RangeInclusive<T::Key>,
        limit: usize,
    ) -> Result<Vec<(T::Key, T::Value)>, ReadError> {
        self.check().map_err(ReadError)?;
        self.records.read().range(keys, limit)
    }

    fn last(&self, keys: RangeInclusive<T::Key>, limit: usize) -> Result<Vec<(T::Key, T::Value)>, ReadError> {
        self.check().map_err(ReadError)?;
        self.records.read().last(keys, limit)
    }
}

impl Storage for Store {
    fn commit(&self, changes: &Changes) -> Result<(), CommitError> {
        self.check().map_err(CommitError)?;
        self.records.write().commit(changes.clone());
        Ok(())
    }

    fn recover(&self) -> Result<(), CommitError> {
        Ok(())
    }
}

/// A clock that stands until it is moved.
#[derive(Clone, Debug)]
struct StillClock(Arc<AtomicU64>);

impl Clock for StillClock {
    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }

    fn running(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// What a test can set before it begins.
struct Setup {
    settings: ApiSettings,
    signing: Signing,
    node_url: String,
    rules: Rules,
}

impl Setup {
    fn new() -> Self {
        let settings = ApiSettings {
            network: Network::Regtest,
            log: LogId::parse(LOG).unwrap(),
            public_url: "https://pay.example".to_owned(),
            open_creation: true,
            default_expiry: Duration::from_secs(30 * 60),
            max_expiry: Duration::from_secs(24 * 3600),
            max_outputs: 100,
            fee_rate: FeeRate::default(),
            confirmations_required: 1,
            public_merchant_data: false,
            trusted_proxies: TrustedProxies::default(),
            limits: Limits {
                verify_per_minute: 0,
                pay_per_minute: 0,
                create_per_minute: 0,
                ..Limits::default()
            },
        };
        // Nobody listens there.
        let node_url = "http://127.0.0.1:1".to_owned();
        Self { settings, signing: Signing::default(), node_url, rules: Rules::default() }
    }

    fn with(mut self, set: impl FnOnce(&mut ApiSettings)) -> Self {
        set(&mut self.settings);
        self
    }

    fn with_limits(self, set: impl FnOnce(&mut Limits)) -> Self {
        self.with(|settings| set(&mut settings.limits))
    }

    fn with_node(self, node: &node::Node) -> Self {
        Self { node_url: node.url(), ..self }
    }

    /// Starts everything but a listener.
    fn world(self) -> World {
        let store = Arc::new(Store::default());
        let clock = StillClock(Arc::new(AtomicU64::new(START)));
        let notifier = Notifier::default();
        let settings = EngineSettings { rules: self.rules.clone(), ..EngineSettings::default() };
        let engine =
            Engine::start(store.clone(), settings, clock.clone(), Arc::new(notifier.clone())).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let cookie = folder.path().join("cookie");
        std::fs::write(&cookie, "__cookie__:secret").unwrap();
        let rpc = RpcSettings { threads: 2, ..RpcSettings::new(self.node_url.clone(), Auth::Cookie(cookie)) };
        let rpc = Rpc::start(rpc).unwrap();
        let sightings = Arc::new(Sightings::default());
        sightings.coverage().connected(true);
        sightings.coverage().pass_begins();
        sightings.coverage().pass_ended(Duration::ZERO);
        let submitter = Submitter::new(store.clone(), engine.clone(), rpc, sightings.clone(), self.rules, 16);
        let health = Health::default();
        health.pass_ended();
        World {
            store,
            clock,
            notifier,
            engine,
            submitter,
            health,
            sightings,
            settings: self.settings,
            signing: self.signing,
            stop: Stop::new(),
            _folder: folder,
        }
    }

    /// Starts everything.
    async fn start(self) -> Server {
        let world = self.world();
        let limits = world.settings.limits;
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let proxies = world.settings.trusted_proxies.clone();
        let settings = ServeSettings::new(&limits, proxies, Duration::from_secs(5));
        let serving = tokio::spawn(serve(listener, world.router(), settings, world.stop.clone()));
        Server { world, address, serving }
    }
}

/// Trusts no proxy, and knows no key.
fn nobody() -> super::caller::Identification {
    super::caller::Identification { proxies: TrustedProxies::default(), keys: Arc::new(|_| None) }
}

/// Everything behind the interface.
struct World {
    store: Arc<Store>,
    clock: StillClock,
    notifier: Notifier,
    engine: Engine,
    submitter: Submitter<Store>,
    health: Health,
    sightings: Arc<Sightings>,
    settings: ApiSettings,
    signing: Signing,
    stop: Stop,
    _folder: tempfile::TempDir,
}

impl World {
    fn router(&self) -> axum::Router {
        public_router(ApiState {
            store: self.store.clone(),
            engine: self.engine.clone(),
            notifier: self.notifier.clone(),
            submitter: self.submitter.clone(),
            health: self.health.clone(),
            keys: Arc::new(|key| match key {
                "shop-key" => Some(Merchant::named("shop")),
                "other-key" => Some(Merchant::named("other")),
                _ => None,
            }),
            settings: self.settings.clone(),
            signing: self.signing.clone(),
            stop: self.stop.clone(),
        })
    }

    fn move_clock(&self, seconds: u64) {
        self.clock.0.fetch_add(seconds * 1000, Ordering::SeqCst);
    }

    fn set_clock(&self, to: Timestamp) {
        self.clock.0.store(to.millis(), Ordering::SeqCst);
    }

    /// Something happened.
    async fn act(&self, action: Action) {
        let outcome = self.engine.apply(action).await;
        assert!(matches!(outcome, Ok(Outcome::Done | Outcome::Part { .. })), "{outcome:?}");
    }

    /// The evidence for what comes now.
    fn seen_now(&self) -> FirstSeen {
        let now = self.engine.now();
        FirstSeen { sighting: Sighting::Order(self.engine.order()), at: now.elapsed, shown: now.wall }
    }

    /// The node has a transaction in its mempool.
    async fn observe(&self, transaction: &Transaction) {
        let first_seen = self.seen_now();
        let transaction = Arc::new(transaction.clone());
        let observation = Observation::Mempool;
        self.act(Action::Observed { transaction, first_seen, observation }).await;
    }

    /// A block of the chain, with these transactions. The first one is that at which our walk begins.
    async fn block(&self, height: u32, transactions: &[&Transaction]) {
        let hash = bitcoincash::hashes::Hash::from_byte_array([u8::try_from(height).unwrap(); 32]);
        if transactions.is_empty() {
            return self.act(Action::Anchor { height, hash, time_s: 1 }).await;
        }
        let transactions = transactions.iter().map(|tx| (Arc::new((*tx).clone()), None)).collect();
        let time_s = u32::try_from(self.engine.now().wall.secs()).unwrap();
        self.act(Action::BlockPart { hash, height, time_s, transactions }).await;
        self.act(Action::BlockConnected { hash, height }).await;
    }
}

/// A server that is being asked.
struct Server {
    world: World,
    address: SocketAddr,
    serving: tokio::task::JoinHandle<()>,
}

/// The locking script of somebody.
fn script(tag: u8) -> ScriptBuf {
    ScriptBuf::from([&[0x76, 0xa9, 0x14][..], &[tag; 20], &[0x88, 0xac]].concat())
}

/// The address of somebody.
fn address(tag: u8) -> String {
    Address::of_script(&script(tag), Network::Regtest).unwrap().to_string()
}

/// A creation that asks for one output.
fn asking(tag: u8, satoshis: u64) -> Value {
    json!({"outputs": [{"address": address(tag), "amount": satoshis}]})
}

/// A transaction with these outputs, signed in form only; `coin` makes it differ from others.
fn paying(coin: u8, outputs: &[(u8, u64)]) -> Transaction {
    let tx = bitcoincash::Transaction {
        version: bitcoincash::transaction::Version::TWO,
        lock_time: bitcoincash::absolute::LockTime::ZERO,
        input: vec![bitcoincash::TxIn {
            previous_output: OutPoint {
                txid: bitcoincash::hashes::Hash::from_byte_array([coin; 32]),
                vout: 0,
            },
            script_sig: ScriptBuf::from(vec![0; 107]),
            ..bitcoincash::TxIn::default()
        }],
        output: outputs
            .iter()
            .map(|(tag, satoshis)| bitcoincash::TxOut {
                value: bitcoincash::Amount::from_sat(*satoshis),
                script_pubkey: script(*tag),
                token: None,
            })
            .collect(),
    };
    Transaction::decode(bitcoincash::consensus::serialize(&tx).into()).unwrap()
}

fn hex_of(transaction: &Transaction) -> String {
    hex::encode(transaction.raw())
}
