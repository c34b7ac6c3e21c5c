//! `WS /ws/jpp/invoice/{id}/`: the events of an invoice, as they happen.
//!
//! A socket is a cursor into the invoice's events and a loop around it. The log is read from the cursor and the socket
//! is woken by each new event, so no event is lost between the two.
//!
//! | query | messages |
//! | --- | --- |
//! | none | `payment_received` alone: at once if the invoice is paid, else when it becomes paid. Clients of the original take any message for a payment |
//! | `?events=all` | `hello`, the `payment_received` of a paid invoice, then every event from now on |
//! | `?since=n` | `hello`, then every event from n + 1 on |
//!
//! `hello` names the event log (`log`) and the number of the invoice's last event (`last`). An `n` above the last number
//! and a `log=` of another log are positions in a log that is not ours, for example from before a restore: the socket
//! is closed right after the upgrade with 4409, and the reason is `{"last":n,"log":"…"}`. The client then reads the
//! invoice anew.
//!
//! A reader is never waited for: what one of them does not take in time ends its socket, with the number of the last
//! event that it was given, from which it can go on. Nobody else notices.

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{
        Query, State, WebSocketUpgrade,
        rejection::QueryRejection,
        ws::{CloseFrame, Message, Utf8Bytes, WebSocket, rejection::WebSocketUpgradeRejection},
    },
    response::Response,
    routing::get,
};
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::{
    caller::Caller,
    limits::{NoSocket, SocketPlace},
    replay::{self, Encoded},
    settings::ApiSettings,
    state::{Down, Shared},
    stop::Work,
    watchtower::{Complaint, Fault, InvoiceName, both, reading},
};
use crate::{
    invoice::{InvoiceId, Level},
    ledger::{EventKind, LogId, MOST_CREDITS_IN_AN_EVENT, View},
    notify::Subscription,
};

/// How long a socket that ends has to take its close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// When somebody with too many sockets may ask for another.
const PLACE_RETRY: Duration = Duration::from_secs(30);

/// The buffer for what a client sends, in bytes. By default it would be 128 KiB, and an idle socket forty times as big.
const READ_BUFFER: usize = 1024;

/// The largest message of a client, in bytes. Nothing is done with it.
const MOST_MESSAGE: usize = 16 * 1024;

/// Close code: the reader was too slow, or has gone; the reason is the number of the last event it was given.
const TOO_SLOW: u16 = 4008;

/// Close code of RFC 6455: the client broke a rule.
const BROKE_A_RULE: u16 = 1008;

/// The most messages, pings and pongs among them, that a client may send in a second. Nothing that a client sends is
/// needed but a pong now and then.
const MOST_IN_A_SECOND: u32 = 10;

/// Close code: the position that the client asked for is not in this event log; the reason is a [`Position`] in JSON.
const OTHER_LOG: u16 = 4409;

/// Close code of RFC 6455: the server goes away.
const GOING_AWAY: u16 = 1001;

/// Close code of RFC 6455: the server cannot go on.
const CANNOT_GO_ON: u16 = 1011;

/// The routes of the sockets.
pub(super) fn routes<S: View + Send + Sync + 'static>() -> Router<Arc<Shared<S>>> {
    both(Router::new(), "/ws/jpp/invoice/{id}", reading(get(connect)))
}

/// Checks everything that can be answered in HTTP, and only then agrees to be a socket.
async fn connect<S: View + Send + Sync + 'static>(
    State(shared): State<Arc<Shared<S>>>,
    InvoiceName(id): InvoiceName,
    caller: Caller,
    query: Result<Query<HashMap<String, String>>, QueryRejection>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Fault> {
    let statement = shared.statement(id).await?;
    let asked = Asked::read(&query.map(|Query(query)| query).unwrap_or_default())?;
    let upgrade = upgrade.map_err(|_| Fault::UpgradeRequired)?;
    let place = shared.sockets.place(caller.holder()).map_err(|none| match none {
        NoSocket::Full => Fault::Away { retry_after: 10, text: "There are too many sockets.".to_owned() },
        NoSocket::TooManyOfOne => Fault::Throttled(PLACE_RETRY),
    })?;

    let position = Position { last: statement.state.events, log: shared.state.settings.log.to_string() };
    let known = asked.since.is_none_or(|since| since <= position.last)
        && asked.log.is_none_or(|log| log == Some(shared.state.settings.log));
    let first = if known && asked.since.is_none() && statement.state.level >= Level::Paid {
        replay::last_received(&shared, id, position.last).await?
    } else {
        None
    };
    let since = asked.since.unwrap_or(position.last);
    let begin = if known { Ok(Begin { position, first }) } else { Err(position) };
    let subscription = shared.state.notifier.subscribe(id);
    let work = shared.state.stop.work();
    let upgrade = upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(most_written(&shared.state.settings))
        .max_message_size(MOST_MESSAGE)
        .max_frame_size(MOST_MESSAGE);
    Ok(upgrade.on_upgrade(move |socket| {
        let kinds = asked.kinds;
        let listener = Listener { shared, socket, id, kinds, last: since, _place: place, _work: work };
        Box::pin(listener.run(begin, subscription))
    }))
}

/// Kinds of events that a socket sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kinds {
    /// `payment_received` alone, and no `hello`: the messages of the original.
    Received,
    /// Every kind.
    All,
}

/// The query of a socket.
#[derive(Clone, Copy, Debug)]
struct Asked {
    kinds: Kinds,
    /// The number of the last event that the client knows.
    since: Option<u64>,
    /// The log that the client takes this for; `Some(None)` where the text is no id.
    log: Option<Option<LogId>>,
}

impl Asked {
    fn read(query: &HashMap<String, String>) -> Result<Self, Complaint> {
        let since = query.get("since").map(|since| since.parse::<u64>()).transpose();
        let since = since.map_err(|_| Complaint::field("since", "A valid integer is required."))?;
        let kinds = match query.get("events").map(String::as_str) {
            Some("all") => Kinds::All,
            Some(_) => return Err(Complaint::field("events", "The only valid choice is all.")),
            None if since.is_some() => Kinds::All,
            None => Kinds::Received,
        };
        Ok(Self { kinds, since, log: query.get("log").map(|log| LogId::parse(log)) })
    }
}

/// The end of an invoice's events when a socket was opened.
#[derive(Debug, Serialize)]
struct Position {
    /// The number of the invoice's last event.
    last: u64,
    log: String,
}

/// The first message of a socket that sends every kind.
#[derive(Debug, Serialize)]
struct Hello<'a> {
    r#type: &'static str,
    log: &'a str,
    last: u64,
}

/// How a socket begins whose position is in this log.
#[derive(Debug)]
struct Begin {
    position: Position,
    /// The stored `payment_received` of a paid invoice.
    first: Option<Encoded>,
}

/// The most bytes that wait to be written: one message, however large the configuration lets an invoice become. The
/// buffer only grows to what is in it.
fn most_written(settings: &ApiSettings) -> usize {
    const BYTES_OF_AN_OUTPUT: usize = 8 * 1024;
    const BYTES_OF_A_CREDIT: usize = 2 * 1024;
    const BYTES_OF_THE_REST: usize = 64 * 1024;
    // Twice the outputs: there are as many refunds at most.
    settings.max_outputs.saturating_mul(2 * BYTES_OF_AN_OUTPUT)
        + MOST_CREDITS_IN_AN_EVENT * BYTES_OF_A_CREDIT
        + BYTES_OF_THE_REST
}

/// Why a socket ends.
enum End {
    /// The client closed it, broke a rule, or has gone.
    Gone,
    /// With this code and reason.
    Close(u16, String),
}

/// One socket.
struct Listener<S> {
    shared: Arc<Shared<S>>,
    socket: WebSocket,
    id: InvoiceId,
    kinds: Kinds,
    /// The number of the last event that the client was given, or that its query leaves out.
    last: u64,
    _place: SocketPlace,
    _work: Work,
}

impl<S: View + Send + Sync + 'static> Listener<S> {
    async fn run(mut self, begin: Result<Begin, Position>, subscription: Subscription) {
        let end = match begin {
            Ok(begin) => match self.listen(begin, subscription).await {
                Ok(never) => match never {},
                Err(end) => end,
            },
            Err(position) => End::Close(OTHER_LOG, json(&position).to_string()),
        };
        if let End::Close(code, reason) = end {
            tracing::debug!(code, reason, "a socket is closed");
            metrics::counter!("jppd_sockets_closed_total", "code" => code.to_string()).increment(1);
            let frame = CloseFrame { code, reason: reason.into() };
            let closing = async {
                if self.socket.send(Message::Close(Some(frame))).await.is_ok() {
                    // Until the client has answered with its own, or has nothing more to say.
                    while let Some(Ok(_)) = self.socket.recv().await {}
                }
            };
            // Whoever does not take it has been told by the end of the connection.
            let _ = timeout(CLOSE_TIMEOUT, closing).await;
        }
    }

    async fn listen(
        &mut self,
        begin: Begin,
        subscription: Subscription,
    ) -> Result<std::convert::Infallible, End> {
        if self.kinds == Kinds::All {
            let Position { last, log } = &begin.position;
            self.send(Message::Text(json(&Hello { r#type: "hello", log, last: *last }))).await?;
        }
        if let Some(event) = begin.first {
            self.tell(event).await?;
        }
        let stop = self.shared.state.stop.clone();
        let mut stopped = std::pin::pin!(stop.stopped());
        let period = self.shared.state.settings.limits.socket_ping_interval;
        let mut pings = interval_at(Instant::now() + period, period);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_there = true;
        let mut arrivals = Arrivals::new(Instant::now());
        // Kept over the turns of the loop: what a client sends must not make us read the store again.
        let mut next = std::pin::pin!(next(self.shared.clone(), subscription, self.id, self.last));
        loop {
            tokio::select! {
                () = &mut stopped => return Err(End::Close(GOING_AWAY, String::new())),
                (subscription, event) = &mut next => {
                    let event = event.map_err(|error| {
                        tracing::error!(%error, "the events of invoice {} cannot be read for a socket", self.id);
                        End::Close(CANNOT_GO_ON, self.last.to_string())
                    })?;
                    self.tell(event).await?;
                    next.set(self::next(self.shared.clone(), subscription, self.id, self.last));
                }
                received = self.socket.recv() => match received {
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(End::Gone),
                    Some(Ok(Message::Text(_) | Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => {
                        is_there = true;
                        if arrivals.are_too_many(Instant::now()) {
                            return Err(End::Close(BROKE_A_RULE, "too many messages".to_owned()));
                        }
                    }
                },
                _ = pings.tick() => {
                    if !is_there {
                        return Err(self.too_slow());
                    }
                    is_there = false;
                    self.send(Message::Ping(axum::body::Bytes::new())).await?;
                }
            }
        }
    }

    async fn tell(&mut self, event: Encoded) -> Result<(), End> {
        let Encoded { n, kind, text } = event;
        if self.kinds == Kinds::All || kind == EventKind::PaymentReceived {
            self.send(Message::Text(text)).await?;
        }
        self.last = self.last.max(n);
        Ok(())
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        let limit = self.shared.state.settings.limits.socket_write_timeout;
        match timeout(limit, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(self.too_slow()),
        }
    }

    fn too_slow(&self) -> End {
        End::Close(TOO_SLOW, self.last.to_string())
    }
}

/// How much a client sent lately.
struct Arrivals {
    second: Instant,
    messages: u32,
}

impl Arrivals {
    fn new(now: Instant) -> Self {
        Self { second: now, messages: 0 }
    }

    /// Counts a message; whether there are more in this second than a client may send.
    fn are_too_many(&mut self, now: Instant) -> bool {
        if now.duration_since(self.second) >= Duration::from_secs(1) {
            *self = Self::new(now);
        }
        self.messages += 1;
        self.messages > MOST_IN_A_SECOND
    }
}

/// The next event of an invoice after the number `last`, at once if it is on disk, or when it is.
async fn next<S: View + Send + Sync + 'static>(
    shared: Arc<Shared<S>>,
    mut subscription: Subscription,
    id: InvoiceId,
    last: u64,
) -> (Subscription, Result<Encoded, Down>) {
    loop {
        match replay::event_after(&shared, id, last).await {
            Ok(Some(encoded)) => return (subscription, Ok(encoded)),
            Ok(None) => subscription.changed().await,
            Err(error) => return (subscription, Err(error)),
        }
    }
}

/// A small message as JSON.
fn json(message: &impl Serialize) -> Utf8Bytes {
    serde_json::to_string(message).unwrap_or_default().into()
}
