//! Who asks.

use axum::http::{HeaderMap, header::AUTHORIZATION};

use sha2::{Digest as _, Sha256};

use super::state::Keys;
use crate::invoice::Merchant;

/// The SHA-256 of an API key: what is counted by key is counted by this.
pub(super) type KeyDigest = [u8; 32];

/// A key was shown, and it opens nothing. Whoever sent it is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadKey {
    /// The scheme without a key, a key with spaces in it, or more than one header.
    #[error("Invalid token header.")]
    Malformed,
    /// Nobody holds it.
    #[error("Invalid token.")]
    Unknown,
}

/// The merchant whose key a request shows; `None` if it shows none. Other schemes than `Bearer` are none of ours.
///
/// # Errors
///
/// [`BadKey`]: a key that is wrong is never treated as if it were not there.
pub(super) fn merchant(headers: &HeaderMap, keys: &Keys) -> Result<Option<Merchant>, BadKey> {
    let Some(key) = shown(headers)? else { return Ok(None) };
    keys(key).map(Some).ok_or(BadKey::Unknown)
}

/// The digest of the key that a request shows, if it is valid.
pub(super) fn valid_key(headers: &HeaderMap, keys: &Keys) -> Option<KeyDigest> {
    let key = shown(headers).ok()??;
    keys(key).map(|_| Sha256::digest(key).into())
}

fn shown(headers: &HeaderMap) -> Result<Option<&str>, BadKey> {
    let mut shown = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = shown.next() else { return Ok(None) };
    let value = value.to_str().map_err(|_| BadKey::Malformed)?;
    let (scheme, key) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Ok(None);
    }
    let key = key.trim();
    if key.is_empty() || key.contains(' ') || shown.next().is_some() {
        return Err(BadKey::Malformed);
    }
    Ok(Some(key))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// The values of the header, and what comes of them.
    type Case = (&'static [&'static str], Result<Option<Merchant>, BadKey>);

    #[test]
    fn who_asks() {
        let keys: Keys = Arc::new(|key| (key == "sesame").then(|| Merchant::named("shop")));
        let table: &[Case] = &[
            (&[], Ok(None)),
            (&["Bearer sesame"], Ok(Some(Merchant::named("shop")))),
            (&["bEARER   sesame "], Ok(Some(Merchant::named("shop")))),
            (&["Basic c2VzYW1l"], Ok(None)),
            (&["sesame"], Ok(None)),
            (&["Bearer"], Err(BadKey::Malformed)),
            (&["Bearer "], Err(BadKey::Malformed)),
            (&["Bearer open sesame"], Err(BadKey::Malformed)),
            (&["Bearer sesame", "Bearer sesame"], Err(BadKey::Malformed)),
            (&["Bearer Sesame"], Err(BadKey::Unknown)),
        ];
        for (values, expected) in table {
            let mut headers = HeaderMap::new();
            for value in *values {
                headers.append(AUTHORIZATION, value.parse().unwrap());
            }
            assert_eq!(&merchant(&headers, &keys), expected, "{values:?}");
            let digest = matches!(expected, Ok(Some(_))).then(|| Sha256::digest("sesame").into());
            assert_eq!(valid_key(&headers, &keys), digest, "{values:?}");
        }
    }
}
