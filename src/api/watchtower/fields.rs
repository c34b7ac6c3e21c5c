//! Reading the fields of a body, as the original's framework reads them, and to the last digit.
//!
//! Values stay the text they came as until somebody says what they are to be: so a number is never a float, an amount
//! of 2^63 - 1 stays one, and what a merchant wants kept is kept as it was written. That the whole body is good JSON,
//! not nested too deeply and with text that is text, is found out before anything else.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::{Complaint, Fault};
use crate::api::number::Decimal;

/// A value of a body, as it was written.
pub(super) type Value<'a> = &'a RawValue;

/// What a value is, by the framework's word for it.
fn type_name(value: Value<'_>) -> &'static str {
    match value.get().bytes().next() {
        Some(b'{') => "dict",
        Some(b'[') => "list",
        Some(b'"') => "str",
        Some(b't' | b'f') => "bool",
        Some(b'n') | None => "NoneType",
        Some(_) if value.get().bytes().all(|byte| byte == b'-' || byte.is_ascii_digit()) => "int",
        Some(_) => "float",
    }
}

fn is_null(value: Value<'_>) -> bool {
    type_name(value) == "NoneType"
}

/// The fields of an object, and what is wrong with them.
#[derive(Debug)]
pub(super) struct Form<'a> {
    fields: BTreeMap<String, Value<'a>>,
    complaints: Vec<(&'static str, Complaint)>,
}

impl<'a> Form<'a> {
    /// The fields of a body. An empty body has none.
    ///
    /// # Errors
    ///
    /// [`Fault::Bad`] if it is no JSON, [`Fault::Invalid`] if it is no object.
    pub(super) fn of_body(body: &'a [u8]) -> Result<Self, Fault> {
        if body.is_empty() {
            return Ok(Self { fields: BTreeMap::new(), complaints: Vec::new() });
        }
        // Taken apart once for good measure: a text that is skipped is not looked into.
        let parse_error = |error: serde_json::Error| Fault::Bad(format!("JSON parse error - {error}"));
        let _: serde_json::Value = serde_json::from_slice(body).map_err(parse_error)?;
        let value: Value<'a> = serde_json::from_slice(body).map_err(parse_error)?;
        Ok(Self::of_value(value)?)
    }

    /// The fields of a value.
    ///
    /// # Errors
    ///
    /// A [`Complaint`] if it is no object.
    pub(super) fn of_value(value: Value<'a>) -> Result<Self, Complaint> {
        if is_null(value) {
            return Err(Complaint::whole("No data provided"));
        }
        let fields = serde_json::from_str(value.get()).map_err(|_| {
            let found = type_name(value);
            Complaint::whole(format!("Invalid data. Expected a dictionary, but got {found}."))
        })?;
        Ok(Self { fields, complaints: Vec::new() })
    }

    /// Reads a field that must be there. `None` if something is wrong with it.
    pub(super) fn required<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(Value<'a>) -> Result<T, Complaint>,
    ) -> Option<T> {
        if !self.fields.contains_key(name) {
            self.complain(name, Complaint::required());
        }
        self.not_null(name, read)
    }

    /// Reads a field that may be left out, and must not be `null`. `None` if it is left out, or if something is wrong
    /// with it.
    pub(super) fn not_null<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(Value<'a>) -> Result<T, Complaint>,
    ) -> Option<T> {
        let value = *self.fields.get(name)?;
        let read = if is_null(value) { Err(Complaint::null()) } else { read(value) };
        read.map_err(|complaint| self.complain(name, complaint)).ok()
    }

    /// Reads a field that may be left out or `null`. `None` in these cases, and if something is wrong with it.
    pub(super) fn optional<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(Value<'a>) -> Result<T, Complaint>,
    ) -> Option<T> {
        if self.fields.get(name).is_some_and(|value| is_null(value)) {
            return None;
        }
        self.not_null(name, read)
    }

    /// Whether a field is there, whatever it is.
    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// Something is wrong with a field.
    pub(super) fn complain(&mut self, name: &'static str, complaint: impl Into<Complaint>) {
        self.complaints.push((name, complaint.into()));
    }

    /// Something is wrong with the whole.
    pub(super) fn complain_of_all(&mut self, text: impl Into<String>) {
        self.complain("non_field_errors", text.into());
    }

    /// Ends reading.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, if anything is.
    pub(super) fn finish(self) -> Result<(), Complaint> {
        if self.complaints.is_empty() { Ok(()) } else { Err(Complaint::Fields(self.complaints)) }
    }
}

/// The items of a list.
pub(super) fn list(value: Value<'_>) -> Result<Vec<Value<'_>>, Complaint> {
    serde_json::from_str(value.get()).map_err(|_| {
        Complaint::whole(format!("Expected a list of items but got type \"{}\".", type_name(value)))
    })
}

/// A text, without the white space around it. A number will do, as it is written.
pub(super) fn text(value: Value<'_>) -> Result<String, Complaint> {
    let not_text = || Complaint::text("Not a valid string.");
    let text = match type_name(value) {
        "str" => serde_json::from_str::<String>(value.get()).map_err(|_| not_text())?,
        "int" | "float" => value.get().to_owned(),
        _ => return Err(not_text()),
    };
    if text.contains('\0') {
        return Err(Complaint::text("Null characters are not allowed."));
    }
    Ok(text.trim().to_owned())
}

/// A text of at most so many characters.
pub(super) fn text_within(value: Value<'_>, most: usize) -> Result<String, Complaint> {
    let text = text(value)?;
    if text.chars().nth(most).is_some() {
        return Err(Complaint::text(format!("Ensure this field has no more than {most} characters.")));
    }
    Ok(text)
}

/// A text that is not empty.
pub(super) fn filled_text(value: Value<'_>) -> Result<String, Complaint> {
    let text = text(value)?;
    if text.is_empty() { Err(Complaint::text("This field may not be blank.")) } else { Ok(text) }
}

/// A decimal number without an exponent, from a number or a text in any spelling. What is no number stays as it is
/// written: the reader of the field says what is wrong with it.
pub(super) fn decimal(value: Value<'_>) -> Result<String, Complaint> {
    let text = text(value)?;
    Ok(Decimal::parse(&text).and_then(|decimal| decimal.plain()).unwrap_or(text))
}

/// An integer within bounds, as a number or as a text, in any spelling that leaves no fraction: `1000`, `1000.0`, `1e3`.
pub(super) fn integer_within(value: Value<'_>, least: u64, most: u64) -> Result<u64, Complaint> {
    let text = match type_name(value) {
        "str" => serde_json::from_str::<String>(value.get()).unwrap_or_default(),
        "int" | "float" => value.get().to_owned(),
        _ => String::new(),
    };
    let integer = Decimal::parse(text.trim()).and_then(|decimal| decimal.integer());
    let integer = integer.ok_or_else(|| Complaint::text("A valid integer is required."))?;
    match u64::try_from(integer) {
        Ok(integer) if integer > most => Err(too_large(most)),
        Ok(integer) if integer >= least => Ok(integer),
        Err(_) if integer > 0 => Err(too_large(most)),
        Ok(_) | Err(_) => {
            Err(Complaint::text(format!("Ensure this value is greater than or equal to {least}.")))
        }
    }
}

fn too_large(most: u64) -> Complaint {
    Complaint::text(format!("Ensure this value is less than or equal to {most}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(json: &str) -> Value<'_> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn integers() {
        let table = [
            ("1000", Some(1000)),
            ("\"1000\"", Some(1000)),
            ("\" +1000 \"", Some(1000)),
            ("1000.0", Some(1000)),
            ("\"1000.\"", Some(1000)),
            ("0", Some(0)),
            ("-0", Some(0)),
            ("-7", Some(-7)),
            ("9223372036854775807", Some(9_223_372_036_854_775_807)),
            ("1000.5", None),
            ("1e3", Some(1000)),
            ("1.2345678E7", Some(12_345_678)),
            ("\"1.2345678E7\"", Some(12_345_678)),
            ("10e-1", Some(1)),
            ("-7E0", Some(-7)),
            ("1.5e0", None),
            ("1e-3", None),
            ("\"1_000\"", None),
            ("\"\"", None),
            ("\"-\"", None),
            ("true", None),
            ("[]", None),
            ("{}", None),
        ];
        for (json, expected) in table {
            let found = integer_within(value(json), 0, u64::MAX);
            match expected {
                Some(expected) if expected >= 0 => {
                    assert_eq!(found.map(i128::from), Ok(expected), "{json}");
                }
                Some(_) => {
                    let complaint = Complaint::text("Ensure this value is greater than or equal to 0.");
                    assert_eq!(found, Err(complaint), "{json}");
                }
                None => {
                    assert_eq!(found, Err(Complaint::text("A valid integer is required.")), "{json}");
                }
            }
        }
        let huge = "9".repeat(60);
        assert_eq!(integer_within(value(&huge), 1, 5), Err(too_large(5)));
        let least = Complaint::text("Ensure this value is greater than or equal to 1.");
        for negative in [format!("-{huge}"), "-1e300".to_owned()] {
            assert_eq!(integer_within(value(&negative), 1, 5), Err(least.clone()));
        }
        assert_eq!(integer_within(value("1e300"), 1, 5), Err(too_large(5)));
    }

    #[test]
    fn the_last_of_two_fields_holds() {
        let mut form = Form::of_body(br#"{"a": 1, "a": 2}"#).unwrap();
        assert_eq!(form.required("a", |value| integer_within(value, 0, 9)), Some(2));
        assert_eq!(form.finish(), Ok(()));
    }

    #[test]
    fn what_is_no_form() {
        let deep = format!("{{\"a\": {}{}}}", "[".repeat(5000), "]".repeat(5000));
        let table: &[(&[u8], &str)] = &[
            (b"{", "JSON parse error - EOF while parsing an object at line 1 column 1"),
            (b"{} x", "JSON parse error - trailing characters at line 1 column 4"),
            (deep.as_bytes(), "JSON parse error - recursion limit exceeded at line 1 column 133"),
            (br#"{"a": "\ud800"}"#, "JSON parse error - unexpected end of hex escape at line 1 column 14"),
            (b"{\"a\": \"\xff\"}", "JSON parse error - invalid unicode code point at line 1 column 8"),
            (b"{\"a\": NaN}", "JSON parse error - expected value at line 1 column 7"),
        ];
        for (body, text) in table {
            assert_eq!(Form::of_body(body).unwrap_err(), Fault::Bad((*text).to_owned()));
        }
        for (body, found) in
            [("[]", "list"), ("3", "int"), ("3.5", "float"), ("\"x\"", "str"), ("true", "bool")]
        {
            let complaint =
                Complaint::whole(format!("Invalid data. Expected a dictionary, but got {found}."));
            assert_eq!(Form::of_body(body.as_bytes()).unwrap_err(), Fault::Invalid(complaint));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_answered(body in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = Form::of_body(&body);
        }
    }
}
