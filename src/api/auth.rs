//! Who asks.

use axum::http::{HeaderMap, header::AUTHORIZATION};

use super::state::Keys;
use crate::invoice::Merchant;

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
    keys(key).map(Some).ok_or(BadKey::Unknown)
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
        }
    }
}
