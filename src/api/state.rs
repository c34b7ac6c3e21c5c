//! What the handlers hold, and the public router.

use std::{convert::Infallible, fmt, net::IpAddr, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{FromRequestParts, Request},
    http::request::Parts,
};

use super::{
    bip70::Signatures,
    caller::Identification,
    frame,
    limits::{Rate, Sockets},
    page,
    qr::Codes,
    receive::{Arrival, BadBody, Budget, MOST_UNDER_WAY, receive},
    replay::Replay,
    settings::ApiSettings,
    signing::{self, Signing},
    socket,
    stop::Stop,
    wallet, watchtower,
};
use crate::{
    engine::{Engine, EngineError},
    follow::Health,
    invoice::{InvoiceId, Merchant, Statement},
    ledger::{self, ReadError, View},
    notify::Notifier,
    submit::Submitter,
};

/// Finds the merchant who holds a key. It must take the same time whether it finds one or not.
pub type Keys = Arc<dyn Fn(&str) -> Option<Merchant> + Send + Sync>;

/// What the public interface is made of.
pub struct ApiState<S> {
    /// Where it reads.
    pub store: Arc<S>,
    /// Where it writes.
    pub engine: Engine,
    /// Who wakes the sockets.
    pub notifier: Notifier,
    /// Who takes the submissions.
    pub submitter: Submitter<S>,
    /// Whether the node is being followed.
    pub health: Health,
    /// Who holds which key.
    pub keys: Keys,
    /// What the operator decided.
    pub settings: ApiSettings,
    /// What there is to sign with.
    pub signing: Signing,
    /// What tells the sockets to close. The same goes to [`serve`](super::serve()).
    pub stop: Stop,
}

impl<S> fmt::Debug for ApiState<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiState").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// The router that the world sees.
pub fn public_router<S: View + Send + Sync + 'static>(state: ApiState<S>) -> Router {
    let limits = state.settings.limits;
    let identification =
        Identification { proxies: state.settings.trusted_proxies.clone(), keys: state.keys.clone() };
    let shared = Arc::new(Shared {
        request_rate: Rate::per_minute(limits.verify_per_minute),
        verify_rate: Rate::per_minute(limits.verify_per_minute),
        pay_rate: Rate::per_minute(limits.pay_per_minute),
        create_rate: Rate::per_minute(limits.create_per_minute),
        bodies: Budget::new(MOST_UNDER_WAY.max(limits.max_body_bytes)),
        sockets: Sockets::new(limits.max_sockets, limits.max_sockets_per_address),
        codes: Codes::default(),
        replay: Replay::default(),
        signatures: state.signing.x509.clone().map(Signatures::new),
        state,
    });
    let routes = watchtower::routes()
        .merge(wallet::routes())
        .merge(socket::routes())
        .merge(signing::routes())
        .merge(page::routes());
    let routes = routes.with_state(shared);
    frame::public(routes, limits.request_timeout, identification)
}

/// The largest body of a submission, in bytes. A transaction of the largest size takes twice 100,000, and some.
pub(super) const MOST_SUBMISSION: usize = 256 * 1024;

/// The largest body, in bytes, that is read between other requests. It takes about a millisecond.
const MOST_PARSED_AT_ONCE: usize = 64 * 1024;

/// The state with the counts that belong to it.
pub(super) struct Shared<S> {
    pub(super) state: ApiState<S>,
    /// Counts what is asked for with JPP's `payment-request`.
    pub(super) request_rate: Rate,
    pub(super) verify_rate: Rate,
    pub(super) pay_rate: Rate,
    pub(super) create_rate: Rate,
    /// The memory of all bodies.
    bodies: Budget,
    pub(super) sockets: Sockets,
    /// The QR codes.
    pub(super) codes: Codes,
    /// Events as sockets send them.
    pub(super) replay: Replay,
    /// Signs BIP70 requests, with the certificate of the state.
    pub(super) signatures: Option<Signatures>,
}

/// The disk, or the engine before it, does not serve at the moment. What exactly is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Down {
    /// Too many inputs at once.
    #[error("too many requests are under way")]
    Busy,
    /// The store could not be read or written, or the program is stopping.
    #[error("the store is not available")]
    Store,
}

impl From<EngineError> for Down {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Busy => Self::Busy,
            EngineError::Unavailable | EngineError::Stopped => Self::Store,
        }
    }
}

impl<S: Send + Sync + 'static> Shared<S> {
    /// The whole body of a request, of at most `most` bytes.
    pub(super) async fn whole_body(&self, request: Request, most: usize) -> Result<Bytes, BadBody> {
        let arrival = request.extensions().get::<Arrival>().cloned().unwrap_or_default();
        let most = most.min(self.state.settings.limits.max_body_bytes);
        receive(request.into_body(), &arrival, most, &self.bodies).await
    }

    /// Reads a body: on a thread of its own if it is so large that others would wait for it.
    pub(super) async fn parsed<T: Send + 'static>(
        &self,
        body: &Bytes,
        parse: impl FnOnce(&[u8]) -> T + Send + 'static,
    ) -> Result<T, Down> {
        if body.len() <= MOST_PARSED_AT_ONCE {
            return Ok(parse(body));
        }
        let body = body.clone();
        tokio::task::spawn_blocking(move || parse(&body)).await.map_err(|error| {
            tracing::error!(%error, "reading a body was given up");
            Down::Store
        })
    }

    /// An invoice as it stands now, if there is one of this name.
    pub(super) async fn find(&self, id: InvoiceId) -> Result<Option<Statement>, Down>
    where
        S: View,
    {
        self.read(move |store| ledger::statement(store, id)).await
    }

    /// Reads the store where waiting for the disk holds nobody up.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&S) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, Down> {
        let store = self.state.store.clone();
        match tokio::task::spawn_blocking(move || read(&store)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                tracing::error!(%error, "a request could not be answered");
                Err(Down::Store)
            }
            Err(error) => {
                tracing::error!(%error, "reading the store was given up");
                Err(Down::Store)
            }
        }
    }
}

/// The address at the other end of the connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

impl<St: Sync> FromRequestParts<St> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &St) -> Result<Self, Infallible> {
        // Where the router is not behind `serve`, all are one.
        let unknown = Self(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
        Ok(parts.extensions.get::<Self>().copied().unwrap_or(unknown))
    }
}
