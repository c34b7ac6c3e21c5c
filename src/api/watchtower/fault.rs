//! Everything that this dialect answers instead of what was asked for.

use std::time::Duration;

use axum::{
    http::{
        HeaderValue, Method, StatusCode,
        header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::json;

use super::Complaint;
use crate::api::{auth::BadKey, limits::whole_seconds, reasons::Reason, receive::BadBody, state::Down};

/// What is answered instead. Each says whose fault it is by its status code: 4xx the client's, 503 the operator's or
/// nobody's, 500 ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::api) enum Fault {
    /// The body is not what was asked for: the client's fault.
    #[error("the body is not valid")]
    Invalid(Complaint),
    /// A header, or the text as a whole, is not what was asked for: the client's fault.
    #[error("{0}")]
    Bad(String),
    /// A submission cannot pay: the payer's fault, or the payer was too slow.
    #[error("the submission is refused: {0}")]
    NotValid(String),
    /// No key where one is needed, or a wrong one: the client's fault.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// There is nothing here.
    #[error("Not found.")]
    NotFound,
    /// There is, and not for this method.
    #[error("Method \"{method}\" not allowed.")]
    MethodNotAllowed {
        /// The method.
        method: Method,
        /// The methods it is for.
        allow: &'static str,
    },
    /// What was asked does not fit how things stand: nobody's fault.
    #[error("{0}")]
    Conflict(&'static str),
    /// The body is of a type that is not read here: the client's fault.
    #[error("Unsupported media type \"{0}\" in request.")]
    UnsupportedMediaType(String),
    /// The body has a content coding: the client's fault.
    #[error("Unsupported content coding in request: send the body as it is.")]
    ContentCoding,
    /// The body has a transfer coding other than `chunked`: not implemented.
    #[error("Unsupported transfer coding in request: chunked alone is understood.")]
    OtherTransferCoding,
    /// This resource is a WebSocket, and the request does not ask for one.
    #[error("This is a WebSocket: connect to it with one.")]
    UpgradeRequired,
    /// The body was not taken: the client's fault, or its line's.
    #[error("{0}.")]
    Body(#[from] BadBody),
    /// The body did not arrive in time: the client's fault, or its line's.
    #[error("The body of the request did not arrive in time.")]
    SlowBody,
    /// Too many requests of one address.
    #[error("Request was throttled. Expected available in {} seconds.", whole_seconds(*.0))]
    Throttled(Duration),
    /// Something that we need is away. The same request later is right.
    #[error("{text}")]
    Away {
        /// In how many seconds.
        retry_after: u64,
        /// What is away.
        text: String,
    },
    /// We took too long. The same request later is right.
    #[error("The request took too long. Please send it again.")]
    TookTooLong,
    /// A bug of ours.
    #[error("A server error occurred.")]
    Bug,
}

impl From<Complaint> for Fault {
    fn from(complaint: Complaint) -> Self {
        Self::Invalid(complaint)
    }
}

impl From<BadKey> for Fault {
    fn from(bad: BadKey) -> Self {
        Self::Unauthorized(match bad {
            BadKey::Malformed => "Invalid token header.",
            BadKey::Unknown => "Invalid token.",
        })
    }
}

impl From<Down> for Fault {
    fn from(down: Down) -> Self {
        match down {
            Down::Busy => Self::Away { retry_after: 1, text: "Too many requests are under way.".to_owned() },
            Down::Store => {
                let Reason { text, .. } = Reason::store_away();
                Self::Away { retry_after: 5, text }
            }
        }
    }
}

impl Fault {
    fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(_) | Self::Bad(_) | Self::NotValid(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::UnsupportedMediaType(_) | Self::ContentCoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::OtherTransferCoding => StatusCode::NOT_IMPLEMENTED,
            Self::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            Self::Body(BadBody::TooLarge(_)) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(BadBody::BrokenOff) => StatusCode::BAD_REQUEST,
            Self::SlowBody | Self::Body(BadBody::TooSlow) => StatusCode::REQUEST_TIMEOUT,
            Self::Throttled(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Away { .. } | Self::TookTooLong | Self::Body(BadBody::NoRoom) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Bug => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn retry_after(&self) -> Option<u64> {
        if let Self::Throttled(wait) = self {
            return Some(whole_seconds(*wait));
        }
        if let Self::Away { retry_after, .. } = self {
            return Some(*retry_after);
        }
        matches!(self, Self::TookTooLong | Self::Body(BadBody::NoRoom)).then_some(2)
    }

    /// What is answered, but for the headers.
    fn body(&self) -> Response {
        let status = self.status();
        if let Self::Invalid(complaint) = self {
            return json(status, complaint);
        }
        if let Self::NotValid(reason) = self {
            return json(status, &json!({"valid": false, "error": reason}));
        }
        json(status, &json!({ "detail": self.to_string() }))
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut answer = self.body();
        let headers = answer.headers_mut();
        if let Some(retry_after) = self.retry_after() {
            headers.insert(RETRY_AFTER, retry_after.into());
        }
        if let Self::MethodNotAllowed { allow, .. } = self {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if let Self::Unauthorized(_) = self {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"api\""));
        }
        answer
    }
}

/// An answer in JSON.
pub(in crate::api) fn json<T: Serialize>(status: StatusCode, document: &T) -> Response {
    match serde_json::to_vec(document) {
        Ok(body) => {
            let content_type = HeaderValue::from_static("application/json; charset=utf-8");
            (status, [(CONTENT_TYPE, content_type)], body).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "an answer could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
