//! Languages: which of those that there are a client likes best (RFC 9110, section 12.5.4).

use std::{cmp::Reverse, iter::successors};

use axum::http::{HeaderMap, header::ACCEPT_LANGUAGE};

use super::media::{FULL, Weight, quality};

/// What stands for any language.
const ANY: &str = "*";

/// The offer that the client likes best, by lookup (RFC 4647, section 3.4): what it likes best comes first, among equals
/// what it names first, and each of these is cut short, subtag by subtag, until something is offered for it. Where that
/// finds nothing, any language is the first one that it does not refuse. What is no range is passed over, as if it was
/// not there. `None` if nothing that it likes is offered.
pub(super) fn choose<T: Copy>(headers: &HeaderMap, offers: &[(&str, T)]) -> Option<T> {
    let lines = headers.get_all(ACCEPT_LANGUAGE).iter();
    let parts = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let mut ranges: Vec<(&str, Weight)> = parts.filter_map(range).collect();
    ranges.sort_by_key(|(_, weight)| Reverse(*weight));
    let is_refused = |name: &str| {
        let best = ranges.iter().find(|(range, _)| range.eq_ignore_ascii_case(name));
        best.is_some_and(|(_, weight)| *weight == 0)
    };
    let offers: Vec<_> = offers.iter().filter(|(name, _)| !is_refused(name)).collect();
    let liked = ranges.iter().filter(|(_, weight)| *weight > 0).map(|(range, _)| *range);
    let named = liked
        .clone()
        .flat_map(|range| successors(Some(range), |range| Some(range.rsplit_once('-')?.0)))
        .find_map(|tag| offers.iter().find(|(name, _)| name.eq_ignore_ascii_case(tag)));
    let any = || offers.first().filter(|_| liked.clone().any(|range| range == ANY));
    named.or_else(any).map(|(_, offer)| *offer)
}

/// One range of the header, with its weight.
fn range(part: &[u8]) -> Option<(&str, Weight)> {
    let mut parts = std::str::from_utf8(part).ok()?.split(';').map(str::trim);
    let range = parts.next()?;
    let is_subtag = |subtag: &str| {
        (1..=8).contains(&subtag.len()) && subtag.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let mut parameters = parts.filter_map(|parameter| parameter.split_once('='));
    let weight = parameters.find(|(name, _)| name.eq_ignore_ascii_case("q"));
    let weight = weight.map_or(FULL, |(_, value)| quality(value));
    (range == ANY || range.split('-').all(is_subtag)).then_some((range, weight))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const OFFERS: [(&str, &str); 5] = [
        ("en", "English"),
        ("de", "German"),
        ("pt-BR", "Brazilian"),
        ("fil", "Filipino"),
        ("tl", "Filipino"),
    ];

    fn headers(lines: &[&[u8]]) -> HeaderMap {
        lines.iter().map(|line| (ACCEPT_LANGUAGE, HeaderValue::from_bytes(line).unwrap())).collect()
    }

    #[test]
    fn the_best_offer() {
        let table: [(&[&str], Option<&str>); 45] = [
            (&[], None),
            (&[""], None),
            (&[" , ,;,"], None),
            (&["fr"], None),
            (&["de"], Some("German")),
            (&["DE"], Some("German")),
            (&["de-AT"], Some("German")),
            (&["de-Latn-AT-1996-x-private"], Some("German")),
            (&["de-AT,de;q=0.9,en;q=0.8"], Some("German")),
            (&["den"], None),
            (&["d"], None),
            (&["pt-br"], Some("Brazilian")),
            (&["pt-BR-x-a"], Some("Brazilian")),
            (&["pt"], None),
            (&["pt-PT, de;q=0.1"], Some("German")),
            (&["fil-PH,fil;q=0.9,en-US;q=0.8,en;q=0.7"], Some("Filipino")),
            (&["tl"], Some("Filipino")),
            (&["tl-PH, en"], Some("Filipino")),
            (&["en;q=0.5, de"], Some("German")),
            (&["en;q=0.5, de;q=0.55"], Some("German")),
            (&["en;q=0.5 , de ; Q=0.6"], Some("German")),
            (&["en;q=0.5;x=1, de;x;y=2;q=0.6"], Some("German")),
            (&["de, en"], Some("German")),
            (&["de;q=0.5, en;q=0.5"], Some("German")),
            (&["en;q=0.5", "de"], Some("German")),
            (&["de;q=nonsense, en;q=0.9"], Some("German")),
            (&["de;q=0, en;q=0.1"], Some("English")),
            (&["de;q=0.000"], None),
            (&["de;q=0, de-AT"], None),
            (&["de;q=0, de;q=0.1"], Some("German")),
            (&["de-AT;q=0, de"], Some("German")),
            (&["*"], Some("English")),
            (&["fr, *;q=0.1"], Some("English")),
            (&["*, de;q=0.1"], Some("German")),
            (&["en;q=0, *"], Some("German")),
            (&["en;q=0, de;q=0, *;q=0.1"], Some("Brazilian")),
            (&["de, *;q=0"], Some("German")),
            (&["*;q=0"], None),
            (&["de_AT, en"], Some("English")),
            (&["de-, en"], Some("English")),
            (&["-de, en"], Some("English")),
            (&["de-*, en"], Some("English")),
            (&["de AT, en"], Some("English")),
            (&["de-ninechars, en"], Some("English")),
            (&["\"de\", en"], Some("English")),
        ];
        for (lines, expected) in table {
            let bytes: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
            assert_eq!(choose(&headers(&bytes), &OFFERS), expected, "{lines:?}");
        }
        assert_eq!(choose(&headers(&[b"en-\xff, de"]), &OFFERS), Some("German"), "not a text at all");
    }

    #[test]
    fn a_huge_header_is_a_header() {
        let table = [
            ("de-a,".repeat(20_000), Some("German")),
            (format!("de{},en;q=0.1", "-a".repeat(50_000)), Some("German")),
            (format!("{}de;q=0", "de-a,".repeat(20_000)), None),
            (format!("{}de", ";".repeat(100_000)), None),
            (format!("{}de", ",".repeat(100_000)), Some("German")),
        ];
        for (line, expected) in table {
            assert_eq!(choose(&headers(&[line.as_bytes()]), &OFFERS), expected);
        }
    }

    proptest! {
        #[test]
        fn any_header_is_answered(line in "[ -~\u{80}-\u{ff}]{0,80}", ranges in "((de|en|tl|\\*|[a-z]{1,3})[-a-z*; q=.0-9]{0,9},?){0,5}") {
            for text in [line, ranges] {
                if let Ok(value) = HeaderValue::from_str(&text) {
                    let headers = HeaderMap::from_iter([(ACCEPT_LANGUAGE, value)]);
                    let _ = choose(&headers, &OFFERS);
                }
            }
        }
    }
}
