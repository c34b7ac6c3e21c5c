//! The canonical form of a JSON text: one digest for all spellings of one value.
//!
//! Two bodies are one request when they say the same: white space, the order of keys, the escapes of a text and the
//! spelling of a number (`1000`, `1e3`) do not matter. Of a key that comes twice the last one holds, as everywhere.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::number::Decimal;

/// How deep values may be nested: as deep as a body may be.
const MOST_DEPTH: u8 = 128;

/// The SHA-256 of the canonical form; `None` for what is no JSON, or nested deeper than any body may be. Takes time by
/// the length times the depth.
pub(super) fn digest(body: &[u8]) -> Option<[u8; 32]> {
    let value: &RawValue = serde_json::from_slice(body).ok()?;
    let mut hasher = Sha256::new();
    write(value, MOST_DEPTH, &mut hasher)?;
    Some(hasher.finalize().into())
}

fn write(value: &RawValue, depth: u8, out: &mut Sha256) -> Option<()> {
    let text = value.get();
    let deeper = depth.checked_sub(1)?;
    match text.bytes().next()? {
        b'{' => {
            let fields: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
            out.update(b"{");
            for (name, value) in fields {
                write_text(&name, out)?;
                out.update(b":");
                write(value, deeper, out)?;
                out.update(b",");
            }
            out.update(b"}");
        }
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            out.update(b"[");
            for item in items {
                write(item, deeper, out)?;
                out.update(b",");
            }
            out.update(b"]");
        }
        b'"' => write_text(&serde_json::from_str::<String>(text).ok()?, out)?,
        b't' | b'f' | b'n' => out.update(text),
        _ => out.update(Decimal::parse(text)?.canonical()),
    }
    Some(())
}

fn write_text(text: &str, out: &mut Sha256) -> Option<()> {
    out.update(serde_json::to_string(text).ok()?);
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn spellings_of_one_value() {
        let one = r#"{"outputs":[{"address":"bchreg:q","amount":1000}],"memo":"K\u00e4se","merchant_data":{"a":[1,null,true]}}"#;
        let other = "{\"memo\": \"K\u{e4}se\",\n \"merchant_data\": {\"a\": [1.0, null , true]},\t\"outputs\": [ {\"amount\": 1e3, \"address\": \"bchreg:q\"} ] }";
        assert!(digest(one.as_bytes()).is_some());
        assert_eq!(digest(one.as_bytes()), digest(other.as_bytes()));
        assert_eq!(digest(br#"{"a":1,"a":2}"#), digest(br#"{"a":2}"#));
        let different = [
            r#"{"a":1}"#,
            r#"{"a":"1"}"#,
            r#"{"a":[1]}"#,
            r#"{"a":null}"#,
            "{}",
            "[]",
            r#"[{"a":1}]"#,
            r#"{"a":1,"b":2}"#,
            r#"{"a":{"b":2}}"#,
            r#"["a",1]"#,
            r#"["a1"]"#,
            "[[],[]]",
            "[[[]]]",
            r#"{"a":1.5}"#,
            r#"{"a":-1}"#,
            r#"{"a":10}"#,
        ];
        for (at, one) in different.iter().enumerate() {
            for other in &different[..at] {
                assert_ne!(digest(one.as_bytes()), digest(other.as_bytes()), "{one} {other}");
            }
        }
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(digest(deep(100).as_bytes()).is_some());
        for body in ["", "{", "{} x", r#"{"a":"\ud800"}"#, &deep(200), &deep(500_000)] {
            assert_eq!(digest(body.as_bytes()), None);
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map("\\PC{0,4}", inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// The value with its keys in the opposite order, white space, and numbers with an exponent.
    fn respelled(value: &Value, out: &mut String) {
        match value {
            Value::Object(fields) => {
                out.push_str("{ ");
                for (at, (name, value)) in fields.iter().rev().enumerate() {
                    out.push_str(if at > 0 { " ,\n" } else { "" });
                    out.push_str(&serde_json::to_string(name).unwrap());
                    out.push_str(" :\t");
                    respelled(value, out);
                }
                out.push_str(" }");
            }
            Value::Array(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    out.push_str(if at > 0 { " , " } else { " " });
                    respelled(item, out);
                }
                out.push(']');
            }
            Value::Number(number) => out.push_str(&format!("{number}00.00E-2")),
            Value::String(text) => {
                let escaped = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
                out.push_str(&format!("\"{escaped}\""));
            }
            Value::Null | Value::Bool(_) => out.push_str(&value.to_string()),
        }
    }

    proptest! {
        #[test]
        fn one_value_has_one_digest(value in json(), other in json()) {
            let mut spelled = String::new();
            respelled(&value, &mut spelled);
            let text = value.to_string();
            prop_assert!(digest(text.as_bytes()).is_some());
            prop_assert_eq!(digest(text.as_bytes()), digest(spelled.as_bytes()), "{} {}", text, spelled);
            let same = digest(other.to_string().as_bytes()) == digest(text.as_bytes());
            prop_assert_eq!(same, value == other, "{} {}", text, other);
        }

        #[test]
        fn any_bytes_are_answered(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = digest(&body);
        }
    }
}
