//! The body of a request, within its limit.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::body::{Body, Bytes};
use http_body_util::BodyExt as _;

/// How many times the largest body is read off the line and forgotten, so that a client which is still sending gets to
/// see why it is refused.
const DRAINED: usize = 16;

/// Whether the body of a request has arrived: whose fault it is if the request takes too long.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrival(Arc<AtomicBool>);

impl Arrival {
    /// The body is here, or nobody waits for it.
    pub(super) fn complete(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it is.
    pub(super) fn is_complete(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A body that was not taken. The client is at fault, or its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadBody {
    /// It is larger than this many bytes.
    #[error("the body has more than {0} bytes")]
    TooLarge(usize),
    /// It broke off.
    #[error("the body broke off")]
    BrokenOff,
}

/// The whole body, of at most `limit` bytes.
///
/// # Errors
///
/// [`BadBody`].
pub(super) async fn receive(mut body: Body, arrival: &Arrival, limit: usize) -> Result<Bytes, BadBody> {
    let mut received = Vec::new();
    let mut length = 0usize;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BadBody::BrokenOff)?.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length <= limit {
            received.extend_from_slice(&data);
        } else {
            received = Vec::new();
        }
        if length > limit.saturating_mul(DRAINED) {
            break;
        }
    }
    arrival.complete();
    if length > limit { Err(BadBody::TooLarge(limit)) } else { Ok(received.into()) }
}
