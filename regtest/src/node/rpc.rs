//! One JSON-RPC call to a node, for the harness.
//!
//! The transport is that of `bitcoincore-rpc`, with a connection and a look into the cookie file for each call: a
//! harness restarts nodes all the time, and a kept client would know yesterday's cookie.

use std::path::Path;
use std::time::Duration;

use bitcoincore_rpc::jsonrpc::{Client, Error, simple_http};
use serde_json::Value;
use serde_json::value::RawValue;

/// How long one call may take. Mining some hundred blocks on a loaded machine is the longest.
const TIMEOUT: Duration = Duration::from_secs(180);

/// What a node said instead of a result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct RpcFailure {
    /// The node's error code, always negative; or one of the constants below.
    pub code: i32,
    /// The node's text, as it came.
    pub message: String,
}

impl RpcFailure {
    /// No JSON-RPC answer came: refused, closed, timed out, or an answer in plain text.
    pub const UNREACHABLE: i32 = 1;
    /// The answer, or what was asked for, makes no sense to this harness.
    pub const UNUSABLE: i32 = 2;

    /// A failure with this code and text.
    pub fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Calls `method` at `url` with the `user:password` in `cookie`. `params` is an array, an object, or `null`.
///
/// # Errors
/// The node's own error, or [`RpcFailure::UNREACHABLE`].
pub fn over_http(url: &str, cookie: &Path, method: &str, params: &Value) -> Result<Value, RpcFailure> {
    let unreachable = |reason: String| RpcFailure::new(RpcFailure::UNREACHABLE, reason);
    let secret =
        std::fs::read_to_string(cookie).map_err(|e| unreachable(format!("{}: {e}", cookie.display())))?;
    let transport = simple_http::Builder::new()
        .timeout(TIMEOUT)
        .url(url)
        .map_err(|e| unreachable(e.to_string()))?
        .cookie_auth(secret.trim())
        .build();
    let params = if params.is_null() {
        None
    } else {
        Some(RawValue::from_string(params.to_string()).map_err(|e| unreachable(e.to_string()))?)
    };
    let client = Client::with_transport(transport);
    let answer = client
        .send_request(client.build_request(method, params.as_deref()))
        .and_then(|response| response.result::<Value>());
    match answer {
        Ok(value) => Ok(value),
        Err(Error::Rpc(error)) => Err(RpcFailure::new(error.code, error.message)),
        Err(other) => Err(unreachable(other.to_string())),
    }
}
