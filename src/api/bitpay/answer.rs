//! An answer: JSON in ASCII alone, signed over its bytes.

use std::io;

use axum::{
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use serde_json::{Serializer, ser::Formatter};

use crate::api::state::ApiState;

/// A document, with the headers that wallets check it by.
pub(super) fn signed<S, T: Serialize>(state: &ApiState<S>, document: &T) -> Response {
    let mut body = Vec::new();
    if let Err(error) = document.serialize(&mut Serializer::with_formatter(&mut body, Ascii)) {
        tracing::error!(%error, "an answer could not be written");
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let content_type = HeaderValue::from_static("application/json; charset=utf-8");
    let signature = state.signing.jpp.as_ref().map(|keys| keys.headers(&body));
    let mut answer = ([(CONTENT_TYPE, content_type)], body).into_response();
    answer.headers_mut().extend(signature.into_iter().flatten());
    answer
}

/// JSON in which everything that is not ASCII is escaped: whatever a wallet takes the encoding for, it hashes the same
/// bytes.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut units = [0; 2];
        let mut plain = 0;
        for (at, character) in fragment.char_indices().filter(|(_, character)| !character.is_ascii()) {
            writer.write_all(fragment.get(plain..at).unwrap_or_default().as_bytes())?;
            for unit in character.encode_utf16(&mut units) {
                write!(writer, "\\u{unit:04x}")?;
            }
            plain = at + character.len_utf8();
        }
        writer.write_all(fragment.get(plain..).unwrap_or_default().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ascii(text: &str) -> String {
        let mut body = Vec::new();
        text.serialize(&mut Serializer::with_formatter(&mut body, Ascii)).unwrap();
        String::from_utf8(body).unwrap()
    }

    #[test]
    fn what_is_not_ascii_is_escaped() {
        let table = [
            ("tea", r#""tea""#),
            ("K\u{e4}se \u{2013} 3 \u{20ac}", r#""K\u00e4se \u2013 3 \u20ac""#),
            ("\u{1f375}", r#""\ud83c\udf75""#),
            ("a\"\\\n\u{7f}\u{80}", "\"a\\\"\\\\\\n\u{7f}\\u0080\""),
            ("", r#""""#),
        ];
        for (text, expected) in table {
            assert_eq!(ascii(text), expected);
        }
    }

    proptest! {
        #[test]
        fn every_text_is_ascii_and_comes_back(text in ".*") {
            let written = ascii(&text);
            prop_assert!(written.is_ascii());
            prop_assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
        }
    }
}
