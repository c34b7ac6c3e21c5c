//! The sender of a request: the client's address, behind a trusted proxy too, and the API key if it sends a valid one.

use std::{
    convert::Infallible,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{FromRequestParts, Request, State},
    http::request::Parts,
    middleware::Next,
    response::Response,
};

use super::{
    auth::{KeyDigest, valid_key},
    connections::{Holder, Place},
    limits::{Rate, subscriber},
    proxies::TrustedProxies,
    state::{Keys, Peer},
};
use crate::node::Asker;

/// Sender of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    /// The client's address.
    pub(super) address: IpAddr,
    /// The digest of its API key.
    pub(super) key: Option<KeyDigest>,
}

impl Caller {
    /// Holder whose limits the caller's requests count against: its API key, or its address if it has no key.
    pub(super) fn holder(self) -> Holder {
        self.key.map_or_else(|| self.client(), Holder::Key)
    }

    /// Holder whose limits requests that need no key count against: the client's address.
    pub(super) fn client(self) -> Holder {
        Holder::Client(subscriber(self.address))
    }

    /// The caller as the node's queues know it. Two clients may share a number, and then a turn.
    pub(super) fn asker(self) -> Asker {
        let mut hasher = DefaultHasher::new();
        self.client().hash(&mut hasher);
        Asker(hasher.finish())
    }

    /// Takes a request that needs no key from a rate.
    ///
    /// # Errors
    ///
    /// How long the caller has to wait.
    pub(super) fn take(self, rate: &Rate) -> Result<(), Duration> {
        rate.take(self.client(), 1, Instant::now())
    }
}

/// The client has too many requests under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crowded;

/// Settings that identify a caller: the trusted proxies, and the lookup of API keys.
#[derive(Clone)]
pub(super) struct Identification {
    /// The proxies whose word counts.
    pub(super) proxies: TrustedProxies,
    /// Finds the holders of keys.
    pub(super) keys: Keys,
}

/// Finds out who sends a request, and has its connection counted for that one. The extensions [`Peer`] and [`Caller`]
/// tell it to what comes later; [`Crowded`] that the request must be refused.
pub(super) async fn identify(
    State(identification): State<Arc<Identification>>,
    mut request: Request,
    next: Next,
) -> Response {
    let Peer(peer) = peer(request.extensions());
    let address = identification.proxies.client(peer, request.headers());
    let caller = Caller { address, key: valid_key(request.headers(), &identification.keys) };
    let place = request.extensions().get::<Arc<Place>>();
    let is_crowded = place.is_some_and(|place| place.belongs_to(caller.holder()).is_err());
    request.extensions_mut().insert(Peer(address));
    request.extensions_mut().insert(caller);
    if is_crowded {
        request.extensions_mut().insert(Crowded);
    }
    next.run(request).await
}

/// The address at the other end of the connection. Where the router is not behind `serve`, all are one.
fn peer(extensions: &axum::http::Extensions) -> Peer {
    extensions.get::<Peer>().copied().unwrap_or(Peer(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)))
}

impl<St: Sync> FromRequestParts<St> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &St) -> Result<Self, Infallible> {
        let known = parts.extensions.get::<Self>().copied();
        Ok(known.unwrap_or_else(|| Self { address: peer(&parts.extensions).0, key: None }))
    }
}
