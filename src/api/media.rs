//! Media types: what a client accepts, and what it sends (RFC 9110, sections 8.3 and 12.5.1).

use axum::http::{
    HeaderMap,
    header::{ACCEPT, CONTENT_TYPE},
};
use mediatype::{MediaType, MediaTypeList, Name, ReadParams as _, names};

/// How much a client likes something, in thousandths.
pub(super) type Weight = u32;

/// The weight of what no weight is given to.
pub(super) const FULL: Weight = 1000;

/// What stands for any type, and any subtype.
const ANY: &str = "*";

/// How the `Accept` begins that Java's `HttpURLConnection` sent before Java 21 for a program that said nothing of it:
/// `…, *; q=.2, */*; q=.2`, later `…, */*; q=0.2`. No browser sends it.
const NOTHING_SAID: &str = "text/html, image/gif, image/jpeg, *";

/// The media type of a body, without parameters, in lower case; empty if there is none.
pub(super) fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// What a client accepts: the ranges of its `Accept` headers. What is no range is passed over, as if it was not there;
/// and so is what Java says of itself, for its program asked for no page.
#[derive(Clone, Debug)]
pub(super) struct Accept<'a> {
    ranges: Vec<(MediaType<'a>, Weight)>,
}

impl<'a> Accept<'a> {
    /// Reads the headers.
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        let lines = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
        let lines = lines.filter(|line| !line.starts_with(NOTHING_SAID));
        let ranges = lines.flat_map(MediaTypeList::new).flatten();
        Self { ranges: ranges.map(|range| (range.clone(), weight(&range))).collect() }
    }

    /// The one that the client likes best; among equals the one that it names most exactly, and then the first.
    /// Without a word of the client it is the first; `None` if it accepts none of them.
    pub(super) fn choose<T: Copy>(&self, offers: &[(&str, T)]) -> Option<T> {
        if self.ranges.is_empty() {
            return offers.first().map(|(_, offer)| *offer);
        }
        let mut best: Option<((Weight, Exactness), T)> = None;
        for (name, offer) in offers {
            let Some((exactness, weight)) = self.best_range(name) else { continue };
            let rank = (weight, exactness);
            if weight > 0 && best.is_none_or(|(found, _)| rank > found) {
                best = Some((rank, *offer));
            }
        }
        best.map(|(_, offer)| offer)
    }

    /// Whether the client names this very type, and does not refuse it.
    pub(super) fn names(&self, name: &str) -> bool {
        self.best_range(name).is_some_and(|(exactness, weight)| exactness == Exactness::Type && weight > 0)
    }

    /// The most exact range that a media type is in.
    fn best_range(&self, name: &str) -> Option<(Exactness, Weight)> {
        let (ty, subty) = name.split_once('/')?;
        let exactness = |range: &MediaType<'_>| {
            let is = |part: Name<'_>, name: &str| part.as_ref().eq_ignore_ascii_case(name);
            let subtype = match range.suffix {
                Some(suffix) => format!("{}+{suffix}", range.subty),
                None => range.subty.to_string(),
            };
            if is(range.ty, ty) && subtype.eq_ignore_ascii_case(subty) {
                Some(Exactness::Type)
            } else if is(range.ty, ty) && is(range.subty, ANY) {
                Some(Exactness::Subtypes)
            } else if is(range.ty, ANY) && is(range.subty, ANY) {
                Some(Exactness::Everything)
            } else {
                None
            }
        };
        self.ranges.iter().filter_map(|(range, weight)| Some((exactness(range)?, *weight))).max()
    }
}

/// How exactly a range names a media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Exactness {
    Everything,
    Subtypes,
    Type,
}

/// The weight of a range: its `q`.
fn weight(range: &MediaType<'_>) -> Weight {
    range.get_param(names::Q).map_or(FULL, |value| quality(&value.unquoted_str()))
}

/// The weight that a `q` says: 0 or 1, with at most three decimals (RFC 9110, section 12.4.2). What is none counts as if
/// it was not there.
pub(super) fn quality(text: &str) -> Weight {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    match whole {
        "0" if decimals.len() <= 3 && digits(decimals) => format!("{decimals:0<3}").parse().unwrap_or(FULL),
        _ => FULL,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const OFFERS: [(&str, &str); 5] = [
        ("application/json", "json"),
        ("application/payment-options", "options"),
        ("application/payment-request", "request"),
        ("application/bitcoincash-paymentrequest", "bip70"),
        ("text/html", "page"),
    ];

    fn headers(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (ACCEPT, HeaderValue::from_bytes(line.as_bytes()).unwrap())).collect()
    }

    #[test]
    fn the_best_offer() {
        let table: [(&[&str], Option<&str>); 31] = [
            (&[], Some("json")),
            (&[""], Some("json")),
            (&["  , ,"], Some("json")),
            (&["*/*"], Some("json")),
            (&["application/*"], Some("json")),
            (&["application/json, text/plain, */*"], Some("json")),
            (&["application/payment-options"], Some("options")),
            (&["APPLICATION/Payment-Options"], Some("options")),
            (&["application/payment-options;q=1"], Some("options")),
            (&["application/payment-options ; charset=\"utf-8\" ;q=0.5"], Some("options")),
            (&["application/payment-request"], Some("request")),
            (&["application/bitcoincash-paymentrequest"], Some("bip70")),
            (&["application/bitcoincash-paymentrequest, application/bitcoincash-paymentack"], Some("bip70")),
            (&["application/bitcoincash-paymentrequest;q=0.9, application/payment-request"], Some("request")),
            (&["*/*, application/bitcoincash-paymentrequest"], Some("bip70")),
            (&["*/*;q=0.1", "application/bitcoincash-paymentrequest;q=0.2"], Some("bip70")),
            (&["application/json;q=0, */*"], Some("options")),
            (&["application/json;q=0.000, application/*"], Some("options")),
            (&["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"], Some("page")),
            (&["text/html"], Some("page")),
            (&["text/*"], Some("page")),
            (&["text/html;q=0.5, application/json"], Some("json")),
            (&["text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"], Some("json")),
            (&["text/html, image/gif, image/jpeg, */*; q=0.2"], Some("json")),
            (&["application/xhtml+xml"], None),
            (&["application/simpleledger-paymentrequest"], None),
            (&["application/payment-options;q=0"], None),
            (&["application/payment-options;q=nonsense"], Some("options")),
            (&["nonsense, application/payment-request"], Some("request")),
            (&["application/payment-options, application/payment-options;q=0.1"], Some("options")),
            (&["\"application/payment-request\", application/payment-options"], Some("options")),
        ];
        for (lines, expected) in table {
            assert_eq!(Accept::of(&headers(lines)).choose(&OFFERS), expected, "{lines:?}");
        }
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_bytes(b"\xff").unwrap())]);
        assert_eq!(Accept::of(&headers).choose(&OFFERS), Some("json"), "not a text at all");
    }

    #[test]
    fn a_type_is_named_or_only_included() {
        let table = [
            ("application/json, text/plain, */*", true),
            ("Application/JSON;q=0.1", true),
            ("application/json;q=0", false),
            ("application/*", false),
            ("*/*", false),
            ("application/payment-options", false),
        ];
        for (line, expected) in table {
            assert_eq!(Accept::of(&headers(&[line])).names("application/json"), expected, "{line}");
        }
        assert!(Accept::of(&headers(&["application/hal+json"])).names("application/hal+json"));
        assert!(!Accept::of(&headers(&["application/hal+json"])).names("application/hal"));
    }

    #[test]
    fn weights() {
        let table = [
            ("0", 0),
            ("0.", 0),
            ("0.000", 0),
            ("0.2", 200),
            ("0.05", 50),
            ("0.999", 999),
            ("1", FULL),
            ("1.000", FULL),
            // None of these is one.
            ("", FULL),
            (".2", FULL),
            ("0.0000", FULL),
            ("0.-1", FULL),
            ("0.+1", FULL),
            (" 0", FULL),
            ("00", FULL),
            ("0,5", FULL),
            ("0.\u{661}", FULL),
            ("-0", FULL),
            ("7", FULL),
        ];
        for (text, expected) in table {
            assert_eq!(quality(text), expected, "{text:?}");
        }
    }

    #[test]
    fn the_type_of_a_body() {
        let table = [
            ("application/payment", "application/payment"),
            ("Application/Payment;", "application/payment"),
            (" application/json ; charset=utf-8", "application/json"),
            ("", ""),
        ];
        for (value, expected) in table {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))]);
            assert_eq!(content_type(&headers), expected, "{value:?}");
        }
        assert_eq!(content_type(&HeaderMap::new()), "");
    }

    proptest! {
        #[test]
        fn any_header_is_answered(line in "[ -~\u{80}-\u{ff}]{0,80}", ranges in "([a-z*]{1,3}/[a-z*+;=q.0-9\" ]{0,9},?){0,5}") {
            for text in [line, ranges] {
                if let Ok(value) = HeaderValue::from_str(&text) {
                    let headers = HeaderMap::from_iter([(ACCEPT, value.clone()), (CONTENT_TYPE, value)]);
                    let _ = Accept::of(&headers).choose(&OFFERS);
                    let _ = content_type(&headers);
                }
            }
        }
    }
}
