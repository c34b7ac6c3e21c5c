//! What a wallet is answered instead of what it asked for.

use std::time::Duration;

use axum::{
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::api::{
    limits::whole_seconds,
    media::Accept,
    reasons::{Class, Reason},
    receive::BadBody,
    state::Down,
};

/// What a wallet is answered instead of what it asked for. The status code says whose fault it is: 4xx the wallet's or
/// the payer's, 503 the operator's or nobody's. Most wallets show the text to the payer as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(in crate::api) struct WalletFault {
    status: StatusCode,
    /// A word for programs, which never changes.
    code: &'static str,
    text: String,
    /// In how many seconds the same request is right.
    retry_after: Option<u64>,
}

impl WalletFault {
    /// A request that is not what it should be.
    pub(in crate::api) fn bad(code: &'static str, text: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code, text: text.into(), retry_after: None }
    }

    /// There is no such invoice.
    pub(in crate::api) fn not_found() -> Self {
        Reason::not_found().into()
    }

    /// The wallet accepts nothing that there is.
    pub(in crate::api) fn not_acceptable() -> Self {
        let text = "Nothing here is of a type that the Accept header asks for";
        Self { status: StatusCode::NOT_ACCEPTABLE, ..Self::bad("not_acceptable", text) }
    }

    /// The body is of a type that no protocol has.
    pub(in crate::api) fn unsupported_content_type() -> Self {
        Self::bad("unsupported_content_type", "Unsupported Content-Type for payment")
    }

    /// The body is of the right type, and is no such document.
    pub(in crate::api) fn unreadable() -> Self {
        let text = "We were unable to parse your payment. Please try again or contact your wallet provider";
        Self::bad("unreadable", text)
    }

    /// The address sent too many requests.
    pub(in crate::api) fn throttled(wait: Duration) -> Self {
        Reason::throttled(wait).into()
    }

    /// A fault of ours.
    pub(in crate::api) fn bug() -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self { status, ..Self::bad("server_error", "A server error occurred. Please try again") }
    }

    /// The fault of a submission, with the status code that a protocol has for what is wrong with inputs.
    pub(in crate::api) fn of_submission(reason: Reason, inputs: StatusCode) -> Self {
        let (status, retry_after) = match reason.class {
            Class::NotFound => (StatusCode::NOT_FOUND, None),
            Class::Refused => (StatusCode::BAD_REQUEST, None),
            Class::Inputs => (inputs, None),
            Class::Throttled(wait) => (StatusCode::TOO_MANY_REQUESTS, Some(whole_seconds(wait))),
            Class::Away { retry_after } => (StatusCode::SERVICE_UNAVAILABLE, Some(retry_after)),
        };
        Self { status, code: reason.code, text: reason.text, retry_after }
    }

    /// Its status code.
    pub(in crate::api) fn status(&self) -> StatusCode {
        self.status
    }

    /// In how many seconds the same request is right, if that will be.
    pub(in crate::api) fn retry_after(&self) -> Option<u64> {
        self.retry_after
    }

    /// The answer: plain text, which is what most wallets show, or JSON with the text under every name that a wallet
    /// reads, for those that name JSON in what they accept.
    pub(in crate::api) fn answer(self, headers: &HeaderMap) -> Response {
        let Self { status, code, text, retry_after } = self;
        let (content_type, body) = if Accept::of(headers).names("application/json") {
            let document = json!({"msg": text, "error": text, "message": text, "code": code});
            ("application/json; charset=utf-8", document.to_string())
        } else {
            ("text/plain; charset=utf-8", text)
        };
        let content_type = [(CONTENT_TYPE, HeaderValue::from_static(content_type))];
        let mut answer = (status, content_type, body).into_response();
        if let Some(seconds) = retry_after {
            answer.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        answer
    }
}

/// Outside a submission nothing is said of inputs.
impl From<Reason> for WalletFault {
    fn from(reason: Reason) -> Self {
        Self::of_submission(reason, StatusCode::BAD_REQUEST)
    }
}

impl From<Down> for WalletFault {
    fn from(down: Down) -> Self {
        match down {
            Down::Busy => Reason::busy().into(),
            Down::Store => Reason::store_away().into(),
        }
    }
}

impl From<BadBody> for WalletFault {
    fn from(bad: BadBody) -> Self {
        match bad {
            BadBody::TooLarge(most) => Self {
                status: StatusCode::PAYLOAD_TOO_LARGE,
                ..Self::bad("too_large", format!("The payment has more than {most} bytes"))
            },
            BadBody::BrokenOff => Self::bad("broken_off", "The payment broke off on its way"),
            BadBody::TooSlow => Self {
                status: StatusCode::REQUEST_TIMEOUT,
                ..Self::bad("too_slow", "The payment did not arrive in time. Please try again")
            },
            BadBody::NoRoom => Reason::busy().into(),
        }
    }
}
