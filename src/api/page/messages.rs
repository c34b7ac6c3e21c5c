//! The words of the page: one plain file for each language, compiled in.
//!
//! A key is a field here, so a template that uses one that does not exist is not compiled; and a file that lacks one,
//! or has one too many, does not parse, which a test would find.

use std::sync::LazyLock;

use axum::http::HeaderMap;
use serde::Deserialize;

use crate::api::language;

/// A language that there are words of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    English,
    Spanish,
    German,
    Japanese,
    Filipino,
}

/// What a browser can ask for. Filipino is the standard form of Tagalog, and older systems ask for it by that name.
const OFFERS: [(&str, Language); 6] = [
    ("en", Language::English),
    ("es", Language::Spanish),
    ("de", Language::German),
    ("ja", Language::Japanese),
    ("fil", Language::Filipino),
    ("tl", Language::Filipino),
];

impl Language {
    /// The one that a request asks for; English if that is none of them.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        language::choose(headers, &OFFERS).unwrap_or(Self::English)
    }

    /// Its file.
    fn file(self) -> &'static str {
        match self {
            Self::English => include_str!("messages/en.toml"),
            Self::Spanish => include_str!("messages/es.toml"),
            Self::German => include_str!("messages/de.toml"),
            Self::Japanese => include_str!("messages/ja.toml"),
            Self::Filipino => include_str!("messages/fil.toml"),
        }
    }
}

macro_rules! messages {
    ($($key:ident)*) => {
        /// The words of one language. What each is for is said in the files.
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct Messages {
            $(pub(super) $key: String,)*
        }

        #[cfg(test)]
        impl Messages {
            /// Every key with its words.
            fn all(&self) -> Vec<(&'static str, &str)> {
                vec![$((stringify!($key), self.$key.as_str()),)*]
            }
        }
    };
}

messages! {
    language direction
    waiting waiting_text under_way under_way_text held held_text partial partial_text
    partial_whole_text paid paid_text paid_at_once_text paid_in_blocks_text paid_late
    doubtful
    doubtful_text confirmed confirmed_text expired over_text expired_text cancelled cancelled_text
    node_away another_under_way reverted contested late overpaid tokens_overpaid kept test_network
    amount missing coin satoshis asked received with_tokens memo time_left days_left hours_left minutes_left
    moment_left pay_before expired_at
    pay open scan qr link any_wallet any_wallet_text qr_any_wallet rest_text rest_least_text qr_rest by_hand
    protocol_only copy_amount copy_address copy_link copy_transaction copied
    output outputs address category token_amount token_unit nft capability_none capability_mutable
    capability_minting commitment commitment_empty output_paid output_missing output_missing_tokens output_again
    payment payments transaction paid_at confirmations confirmations_of note
    invoice look_again look_again_text live_text lost_text
    not_found not_found_text away away_text trouble trouble_text
}

impl Messages {
    /// The words of a language. They are those of English where its file cannot be read.
    pub(super) fn of(language: Language) -> &'static Self {
        static ENGLISH: LazyLock<Messages> =
            LazyLock::new(|| Messages::read(Language::English).unwrap_or_default());
        static SPANISH: LazyLock<Option<Messages>> = LazyLock::new(|| Messages::read(Language::Spanish));
        static GERMAN: LazyLock<Option<Messages>> = LazyLock::new(|| Messages::read(Language::German));
        static JAPANESE: LazyLock<Option<Messages>> = LazyLock::new(|| Messages::read(Language::Japanese));
        static FILIPINO: LazyLock<Option<Messages>> = LazyLock::new(|| Messages::read(Language::Filipino));
        let words = match language {
            Language::English => None,
            Language::Spanish => SPANISH.as_ref(),
            Language::German => GERMAN.as_ref(),
            Language::Japanese => JAPANESE.as_ref(),
            Language::Filipino => FILIPINO.as_ref(),
        };
        words.unwrap_or(&ENGLISH)
    }

    fn read(language: Language) -> Option<Self> {
        toml::from_str(language.file())
            .inspect_err(|error| tracing::error!(%error, ?language, "the words of the page cannot be read"))
            .ok()
    }
}

/// Words with values put in for the names in braces.
pub(super) fn fill(words: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(words.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::http::{HeaderValue, header::ACCEPT_LANGUAGE};

    use super::*;

    /// What is rightly the same as in English: in every language, and in one.
    const SAME: [(&str, &[&str]); 3] = [
        ("", &["direction", "coin", "nft"]),
        ("es", &["satoshis", "days_left", "hours_left", "minutes_left"]),
        ("fil", &["address", "invoice"]),
    ];

    /// The words of every language, as its file has them.
    fn files() -> impl Iterator<Item = (&'static str, Messages)> {
        let tags = OFFERS.iter().filter(|(tag, _)| *tag != "tl");
        tags.map(|(tag, language)| {
            let words = toml::from_str(language.file()).unwrap_or_else(|error| panic!("{tag}: {error}"));
            (*tag, words)
        })
    }

    #[test]
    fn every_key_has_its_words() {
        for (tag, messages) in files() {
            for (key, words) in messages.all() {
                assert!(!words.is_empty() && words.trim() == words, "{tag}: {key}");
                assert!(!words.contains(['<', '>', '&']), "{tag}: {key} is no markup");
            }
        }
    }

    #[test]
    fn only_what_is_put_in_stands_in_braces() {
        for (tag, messages) in files() {
            for (key, words) in messages.all() {
                let expected: &[&str] = match key {
                    "overpaid" | "kept" | "output_missing" | "output_missing_tokens" => &["amount"],
                    "days_left" => &["days", "hours"],
                    "hours_left" => &["hours", "minutes"],
                    "minutes_left" => &["minutes"],
                    "outputs" => &["number"],
                    "confirmations_of" => &["number", "required"],
                    _ => &[],
                };
                let mut found: Vec<&str> = words
                    .split('{')
                    .skip(1)
                    .map(|part| part.split_once('}').map_or(part, |it| it.0))
                    .collect();
                found.sort_unstable();
                assert_eq!(found, expected, "{tag}: {key}");
                assert_eq!(words.matches('}').count(), found.len(), "{tag}: {key}");
            }
        }
    }

    #[test]
    fn every_file_is_of_its_language() {
        for (tag, messages) in files() {
            assert_eq!((messages.language.as_str(), messages.direction.as_str()), (tag, "ltr"));
        }
        for (_, language) in OFFERS {
            let messages: Messages = toml::from_str(language.file()).unwrap();
            assert_eq!(Messages::of(language).all(), messages.all(), "{language:?}");
        }
    }

    #[test]
    fn nothing_is_left_in_english() {
        let english = Messages::of(Language::English).all();
        for (tag, messages) in files().filter(|(tag, _)| *tag != "en") {
            let lists = SAME.iter().filter(|(of, _)| ["", tag].contains(of));
            let listed: BTreeSet<&str> = lists.flat_map(|(_, keys)| *keys).copied().collect();
            let all = messages.all();
            let same = all.iter().zip(&english).filter(|(words, english)| words == english);
            let same: BTreeSet<&str> = same.map(|((key, _), _)| *key).collect();
            assert_eq!(same, listed, "{tag}");
        }
    }

    #[test]
    fn who_reads_what() {
        let table = [
            ("es-MX,es;q=0.9,en;q=0.8", Language::Spanish),
            ("de", Language::German),
            ("ja-JP", Language::Japanese),
            ("fil-PH", Language::Filipino),
            ("tl", Language::Filipino),
            ("en-GB", Language::English),
            ("fr", Language::English),
            ("*", Language::English),
            ("en;q=0", Language::English),
        ];
        for (header, language) in table {
            let headers = HeaderMap::from_iter([(ACCEPT_LANGUAGE, HeaderValue::from_static(header))]);
            assert_eq!(Language::of(&headers), language, "{header}");
        }
        assert_eq!(Language::of(&HeaderMap::new()), Language::English);
    }

    #[test]
    fn values_are_put_in() {
        assert_eq!(fill("{a} of {b}", &[("a", "1"), ("b", "{a}")]), "1 of {a}");
        assert_eq!(fill("nothing", &[("a", "1")]), "nothing");
    }
}
