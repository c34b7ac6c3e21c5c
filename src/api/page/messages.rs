//! The words of the page: one plain file for each language, compiled in.
//!
//! A key is a field here, so a template that uses one that does not exist is not compiled; and a file that lacks one,
//! or has one too many, does not parse, which a test would find.

use std::sync::LazyLock;

use serde::Deserialize;

/// The file of English.
const ENGLISH: &str = include_str!("messages/en.toml");

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
    waiting waiting_text under_way under_way_text held held_text partial partial_text paid paid_text paid_at_once_text paid_in_blocks_text doubtful
    doubtful_text confirmed confirmed_text expired expired_text cancelled cancelled_text
    node_away another_under_way reverted contested late overpaid tokens_overpaid kept test_network
    amount missing coin satoshis asked received with_tokens memo time_left days_left hours_left minutes_left
    moment_left pay_before expired_at
    pay open scan qr link any_wallet any_wallet_text qr_any_wallet rest_text rest_least_text qr_rest by_hand
    protocol_only copy_amount copy_address copy_link copy_transaction copied
    output outputs address category token_amount token_unit nft capability_none capability_mutable
    capability_minting commitment commitment_empty output_paid output_missing output_again
    payment payments transaction paid_at confirmations confirmations_of note
    invoice look_again look_again_text live_text lost_text
    not_found not_found_text away away_text trouble trouble_text
}

impl Messages {
    /// The words of English.
    pub(super) fn english() -> &'static Self {
        static WORDS: LazyLock<Messages> = LazyLock::new(|| {
            toml::from_str(ENGLISH).unwrap_or_else(|error| {
                tracing::error!(%error, "the words of the page cannot be read");
                Messages::default()
            })
        });
        &WORDS
    }
}

/// Words with values put in for the names in braces.
pub(super) fn fill(words: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(words.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_words() {
        let messages: Messages = toml::from_str(ENGLISH).unwrap();
        for (key, words) in messages.all() {
            assert!(!words.trim().is_empty(), "{key}");
            assert!(!words.contains(['<', '>', '&']), "{key} is no markup");
        }
    }

    #[test]
    fn only_what_is_put_in_stands_in_braces() {
        let messages: Messages = toml::from_str(ENGLISH).unwrap();
        for (key, words) in messages.all() {
            let expected: &[&str] = match key {
                "overpaid" | "kept" | "output_missing" => &["amount"],
                "days_left" => &["days", "hours"],
                "hours_left" => &["hours", "minutes"],
                "minutes_left" => &["minutes"],
                "outputs" => &["number"],
                "confirmations_of" => &["number", "required"],
                _ => &[],
            };
            let found: Vec<&str> =
                words.split('{').skip(1).filter_map(|part| Some(part.split_once('}')?.0)).collect();
            assert_eq!(found, expected, "{key}");
        }
    }

    #[test]
    fn values_are_put_in() {
        assert_eq!(fill("{a} of {b}", &[("a", "1"), ("b", "{a}")]), "1 of {a}");
        assert_eq!(fill("nothing", &[("a", "1")]), "nothing");
    }
}
