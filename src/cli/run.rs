//! `jppd run`: the daemon, put together and taken apart again.
//!
//! What is started first is stopped last. Everything that can be wrong with the configuration was found before this
//! begins; what can be wrong with the machine (a port, the disk, a lock) is found before the node is asked anything.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinHandle,
};

use super::{
    audit::patient_rpc,
    certificate::CertificateWatch,
    disk::DiskWatch,
    log::Log,
    open_files, signals,
    systemd::{notify, with_patience},
    watchdog::Watchdog,
};
use crate::{
    api::{
        self, ApiSettings, ApiState, Keys, Limits, OpsState, ServeSettings, Stop, TrustedProxies,
        signing::Signing,
    },
    audit::Auditor,
    config::{ApiKeys, Config, Credentials, Loaded, SharedOutputs},
    engine::{Engine, EngineSettings, Sightings, SystemClock},
    follow::{Follower, FollowerSettings, Health, Reason, Severity, Since},
    invoice::{Merchant, NodeTime},
    ledger::{self, LogId, Rules},
    node::{Auth, Rpc, RpcSettings, Subscriber, Topic, ZmqSettings},
    notify::Notifier,
    store::{Store, StoreOptions},
    submit::Submitter,
};

/// How long requests and sockets have to finish once everything stops. systemd waits longer.
const DRAIN: Duration = Duration::from_secs(10);

/// How many ZMQ signals wait at most; beyond that a pass finds what was dropped.
const SIGNALS: usize = 100_000;

/// How many operating system threads serve requests. Two cores carry it; disk and node have threads of their own.
const MOST_WORKERS: usize = 4;

/// Runs the daemon until SIGTERM or SIGINT.
///
/// # Errors
///
/// What kept it from starting, or from ending well.
pub fn run(loaded: Loaded) -> Result<()> {
    let log = Log::start().context("no thread for the log")?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    if let Some(warning) = open_files::shortage(&loaded.config) {
        tracing::warn!("{warning}");
    }
    let ended = serve(loaded, &log);
    log.flush();
    ended
}

fn serve(loaded: Loaded, log: &Log) -> Result<()> {
    let workers = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, MOST_WORKERS);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .context("no runtime to be had")?;
    let ended = runtime.block_on(daemon(&loaded.config, loaded.api_keys, loaded.signing, log));
    if ended.as_ref().is_err_and(|error| error.is::<EngineEnded>()) {
        // Nothing that is under way can be written any more: it is not waited for.
        runtime.shutdown_background();
    }
    ended
}

async fn daemon(config: &Config, api_keys: ApiKeys, signing: Signing, log: &Log) -> Result<()> {
    signals::ignore_what_does_not_end_it()?;
    let metrics = PrometheusBuilder::new().install_recorder().context("no meters to be had")?;
    let public = listen(config.http.listen)?;
    let ops = listen(config.ops.listen)?;
    let store = Arc::new(open_store(config)?);

    let notifier = Notifier::default();
    let rules = rules(config);
    let settings = EngineSettings { rules: rules.clone(), ..EngineSettings::default() };
    let rpc = Rpc::start(RpcSettings::new(config.node.rpc_url(), auth(config)?))?;
    let clock = {
        let rpc = rpc.clone();
        SystemClock::beside(move || rpc.node_time_ms().map(NodeTime::from_millis))
    };
    let engine = Engine::start(store.clone(), settings, clock, Arc::new(notifier.clone()))?;
    let (subscriber, signals) = Subscriber::start(&ZmqSettings {
        rawtx: config.node.zmq_rawtx.clone(),
        hashblock: config.node.zmq_hashblock.clone(),
        hashds: config.node.zmq_hashds.clone(),
        capacity: SIGNALS,
    })?;
    let sightings = Arc::new(Sightings::default());
    let health = Health::default();
    let writer = engine.clone();
    health.add_source(move || writer.is_failing().then_some(Reason::StoreUnavailable));
    let writer = engine.clone();
    health.add_source(move || writer.slow_write().map(|since| Reason::StoreSlow { since: Since(since) }));
    let disk = DiskWatch::new(config.store.path.clone(), config.store.min_free);
    let low = disk.low();
    health.add_source(move || low.load(Ordering::Relaxed).then_some(Reason::DiskLow));
    for (topic, _) in topics(config) {
        let connections = subscriber.connections();
        let missing = Reason::TopicNotConnected { topic: topic.name() };
        health.add_source(move || connections.is_missing(topic, Instant::now()).then(|| missing.clone()));
    }
    let submitter = Submitter::new(
        store.clone(),
        engine.clone(),
        rpc.clone(),
        sightings.clone(),
        rules,
        config.limits.max_submissions,
    );
    let remembered = sightings.clone();
    let follower = Follower::new(
        store.clone(),
        engine.clone(),
        rpc.clone(),
        sightings,
        health.clone(),
        follower_settings(config),
    );
    let (end, ending) = watch::channel(false);
    let watchdog = Watchdog::start(engine.clone(), follower.pulse()).context("no thread for the watchdog")?;
    let following = tokio::spawn(follower.run(signals, ending));

    let log_id = store
        .log()
        .with_context(|| format!("the store in {} cannot be read", config.store.path.display()))?;
    let api = api_settings(config, log_id);
    let stop = Stop::new();
    let serve = ServeSettings::new(&api.limits, api.trusted_proxies.clone(), DRAIN);
    let now = engine.now().wall;
    let jpp_signed = signing.jpp.is_some();
    let bip70_signed = signing.x509.as_ref().is_some_and(|signer| signer.validity().holds_at(now));
    let certificate = signing.x509.clone().map(|signer| CertificateWatch::new(signer, now));
    let state = ApiState {
        store: store.clone(),
        engine: engine.clone(),
        notifier,
        submitter,
        health: health.clone(),
        keys: keys(api_keys),
        settings: api,
        signing,
        stop: stop.clone(),
    };
    let serving = tokio::spawn(api::serve(public, api::public_router(state), serve.clone(), stop.clone()));
    let ops_state = OpsState { store: store.clone(), health: health.clone(), metrics: metrics.clone() };
    let ops_stop = Stop::new();
    let watching = tokio::spawn(api::serve(ops, api::ops_router(ops_state), serve, ops_stop.clone()));
    let upkeep =
        tokio::spawn(upkeep(metrics, health.clone(), engine.clone(), certificate, disk, log.clone()));
    let auditing = if config.follow.audit_every.is_zero() {
        None
    } else {
        let auditor = Auditor::new(patient_rpc(config)?, Some(remembered));
        Some(tokio::spawn(auditor.keep_auditing(store.clone(), config.follow.audit_every)))
    };
    let signed = |is_signed| if is_signed { "signed" } else { "unsigned" };
    tracing::info!(
        network = %config.node.network,
        public = %config.http.listen,
        ops = %config.ops.listen,
        jpp = signed(jpp_signed),
        bip70 = signed(bip70_signed),
        "jppd {} is up",
        env!("CARGO_PKG_VERSION")
    );

    let (mut following, mut serving, mut watching) = (following, serving, watching);
    tokio::select! {
        told = until_told_to_stop() => told?,
        // None of these ends by itself. Without one of them nobody is served or nothing is seen: better to be started
        // again than to look alive.
        ended = &mut following => anyhow::bail!("the follower ended: {ended:?}"),
        ended = &mut serving => anyhow::bail!("the public interface ended: {ended:?}"),
        ended = &mut watching => anyhow::bail!("the operator's interface ended: {ended:?}"),
        () = engine.ended() => return Err(EngineEnded.into()),
    }
    tracing::info!("stopping");
    notify(&[sd_notify::NotifyState::Stopping]);
    upkeep.abort();
    if let Some(auditing) = auditing {
        auditing.abort();
    }
    stop.stop();
    ended("the public interface", serving).await;
    // A receiver that is gone has ended already.
    let _ = end.send(true);
    ended("the follower", following).await;
    subscriber.stop();
    rpc.stop().await;
    engine.stop().await;
    ops_stop.stop();
    ended("the operator's interface", watching).await;
    store.flush_and_close().context("the store did not close well")?;
    drop(watchdog);
    tracing::info!("stopped");
    Ok(())
}

/// The engine's thread ended by itself. Nothing can be written any more, and what is on disk is whole.
#[derive(Debug, thiserror::Error)]
#[error("the engine's thread ended; the program ends with it, to be started again")]
pub(super) struct EngineEnded;

/// Opens the store of a configuration, and tells where a new one was made.
fn open_store(config: &Config) -> Result<Store> {
    let path = &config.store.path;
    let options = StoreOptions { creation: config.store.create, ..StoreOptions::new(config.node.network) };
    let store = with_patience(|| Store::open(path, options))
        .context("no thread to be had")?
        .with_context(|| format!("the store in {} cannot be opened", path.display()))?;
    if let Some(created) = store.created_at() {
        #[expect(clippy::cast_precision_loss, reason = "a time in seconds is far below 2^52")]
        metrics::gauge!("jppd_store_created_timestamp_seconds").set(created as f64);
    }
    if store.was_created() {
        tracing::warn!(
            "a new store was made in {}; if there should be one already, stop jppd and look at store.path and at the \
             disk",
            path.display()
        );
    }
    Ok(store)
}

fn listen(address: SocketAddr) -> Result<TcpListener> {
    api::listen(address).with_context(|| format!("cannot listen on {address}"))
}

async fn ended(what: &str, task: JoinHandle<()>) {
    if let Err(error) = task.await {
        tracing::error!(%error, "{what} did not end well");
    }
}

async fn until_told_to_stop() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("no signals to be had")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("no signals to be had")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Tells systemd that we are up, and from then on how we are; keeps the meters small, and an eye on the certificate.
async fn upkeep(
    metrics: PrometheusHandle,
    health: Health,
    engine: Engine,
    mut certificate: Option<CertificateWatch>,
    mut disk: DiskWatch,
    log: Log,
) {
    let lost_lines = metrics::counter!("jppd_log_lines_lost_total");
    let mut told = false;
    let mut interval = tokio::time::interval(Duration::from_secs(1));
    loop {
        interval.tick().await;
        metrics.run_upkeep();
        lost_lines.absolute(log.lost());
        if let Some(certificate) = &mut certificate {
            certificate.look(engine.now().wall);
        }
        disk.look();
        health.tell();
        notify(&[sd_notify::NotifyState::Status(&status(&health.reasons()))]);
        // The interface answers from the first moment; whether the node is there is what /readyz tells.
        if !told {
            notify(&[sd_notify::NotifyState::Ready]);
            told = true;
        }
    }
}

/// One line for `systemctl status`: the first blocking reason, or else the first degraded one.
fn status(reasons: &BTreeSet<Reason>) -> String {
    let first = |severity| reasons.iter().find(|reason| reason.severity() == severity);
    match (first(Severity::Blocking), first(Severity::Degraded)) {
        (Some(reason), _) => format!("not ready: {reason}"),
        (None, Some(reason)) => format!("ready, degraded: {reason}"),
        (None, None) => "ready".to_owned(),
    }
}

fn keys(keys: ApiKeys) -> Keys {
    Arc::new(move |presented: &str| keys.merchant_of(presented).map(Merchant::named))
}

/// How the node is told who we are.
pub(super) fn auth(config: &Config) -> Result<Auth> {
    match config.node.credentials().context("no credentials for the node")? {
        Credentials::Cookie(path) => Ok(Auth::Cookie(path.clone())),
        Credentials::Password { user, file } => {
            Ok(Auth::UserPassword { user: user.to_owned(), password_file: file.clone() })
        }
    }
}

/// The topics that are configured, each with its address.
fn topics(config: &Config) -> Vec<(Topic, String)> {
    let node = &config.node;
    [
        (&node.zmq_rawtx, Topic::RawTx),
        (&node.zmq_hashblock, Topic::HashBlock),
        (&node.zmq_hashds, Topic::HashDs),
    ]
    .into_iter()
    .filter_map(|(address, topic)| address.clone().map(|address| (topic, address)))
    .collect()
}

fn follower_settings(config: &Config) -> FollowerSettings {
    FollowerSettings {
        heartbeat: config.follow.heartbeat,
        rebroadcast: config.follow.rebroadcast,
        ..FollowerSettings::new(config.node.network, topics(config))
    }
}

/// The rules of payment that a configuration sets.
pub(super) fn rules(config: &Config) -> Rules {
    Rules {
        submission_grace: config.invoice.submission_grace,
        late_window: config.invoice.late_window,
        retention: Some(config.invoice.retention),
        shared_outputs: match config.invoice.shared_outputs {
            SharedOutputs::Flag => ledger::SharedOutputs::Flag,
            SharedOutputs::Refuse => ledger::SharedOutputs::Refuse,
        },
        most_open_claims: config.limits.max_open_claims,
        mines_by_itself: config.node.network.mines_by_itself(),
    }
}

fn api_settings(config: &Config, log: LogId) -> ApiSettings {
    let limits = &config.limits;
    ApiSettings {
        network: config.node.network,
        log,
        public_url: config.http.public_url(),
        open_creation: config.http.open_creation,
        default_expiry: config.invoice.default_expiry,
        max_expiry: config.invoice.max_expiry,
        max_outputs: config.invoice.max_outputs,
        fee_rate: config.invoice.required_fee_per_byte,
        confirmations_required: u8::try_from(config.invoice.confirmations_required).unwrap_or(u8::MAX),
        public_merchant_data: config.invoice.public_merchant_data,
        trusted_proxies: TrustedProxies::new(&config.http.trusted_proxies),
        limits: Limits {
            max_body_bytes: limits.max_body_bytes,
            max_connections: limits.max_connections,
            max_connections_per_address: limits.max_connections_per_address,
            max_sockets: limits.max_sockets,
            max_sockets_per_address: limits.max_sockets_per_address,
            verify_per_minute: limits.verify_per_minute,
            pay_per_minute: limits.pay_per_minute,
            create_per_minute: limits.create_per_minute,
            header_timeout: limits.header_timeout,
            request_timeout: limits.request_timeout,
            idle_timeout: limits.idle_timeout,
            ..Limits::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_is_told_what_blocks_first() {
        let topic = Reason::TopicNotPublished { topic: "rawtx" };
        assert_eq!(status(&BTreeSet::new()), "ready");
        assert_eq!(status(&BTreeSet::from([topic.clone()])), format!("ready, degraded: {topic}"));
        let both = BTreeSet::from([topic, Reason::StoreUnavailable]);
        assert_eq!(status(&both), format!("not ready: {}", Reason::StoreUnavailable));
    }

    #[test]
    fn rooms_below_have_the_defaults_of_the_configuration() {
        let config = Config::default();
        assert_eq!(api_settings(&config, LogId::random()).limits, Limits::default());
        let (follower, own) =
            (follower_settings(&config), FollowerSettings::new(config.node.network, topics(&config)));
        assert_eq!((follower.heartbeat, follower.rebroadcast), (own.heartbeat, own.rebroadcast));
        let mines_by_itself = true;
        let retention = Some(config.invoice.retention);
        assert_eq!(rules(&config), Rules { retention, mines_by_itself, ..Rules::default() });
    }
}
