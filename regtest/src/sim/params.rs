//! The parameters of one call, and the words in which the node refuses them.
//!
//! The node has two ways to look at a type, and both are kept because clients see both: a check of the whole list
//! before the call (-3 `Expected type …`), and a conversion where the value is used (-1 `JSON value is not …`).

use std::str::FromStr;

use serde_json::Value;

use crate::node::RpcFailure;

/// Positional parameters; names were put into their places before.
#[derive(Clone, Debug)]
pub(super) struct Params(Vec<Value>);

/// JSON types as the node prints them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Json {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

impl Json {
    fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "false/true",
            Self::Number => "number",
            Self::String => "string",
            Self::Array => "array",
            Self::Object => "object",
        }
    }

    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Bool,
            Value::Number(_) => Self::Number,
            Value::String(_) => Self::String,
            Value::Array(_) => Self::Array,
            Value::Object(_) => Self::Object,
        }
    }
}

impl Params {
    /// Takes the `params` member of a request for a method whose parameters are called `names`.
    pub(super) fn read(given: Option<&Value>, names: &[&str]) -> Result<Self, RpcFailure> {
        let named = match given {
            Some(Value::Array(list)) => return Ok(Self(list.clone())),
            Some(Value::Object(named)) => named,
            _ => return Ok(Self(Vec::new())),
        };
        if let Some(unknown) = named.keys().find(|name| !names.contains(&name.as_str())) {
            return Err(RpcFailure::new(-8, format!("Unknown named parameter {unknown}")));
        }
        let last = names.iter().rposition(|name| named.contains_key(*name));
        let places = last.map_or(0, |last| last + 1);
        Ok(Self(
            names.iter().take(places).map(|name| named.get(*name).cloned().unwrap_or_default()).collect(),
        ))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The value, if it was given and is not null.
    pub(super) fn get(&self, index: usize) -> Option<&Value> {
        self.0.get(index).filter(|value| !value.is_null())
    }

    /// The check of types before a call: `allowed` by place.
    pub(super) fn expect(&self, allowed: &[&[Json]]) -> Result<(), RpcFailure> {
        for (index, (value, types)) in self.0.iter().zip(allowed).enumerate() {
            if !types.contains(&Json::of(value)) {
                let wanted: Vec<_> = types.iter().map(|json| json.name()).collect();
                let got = match value.as_bool() {
                    Some(true) => "true",
                    Some(false) => "false",
                    None => Json::of(value).name(),
                };
                let wanted = wanted.join("/");
                return Err(RpcFailure::new(
                    -3,
                    format!("Expected type {wanted} at index {index}, got {got}"),
                ));
            }
        }
        Ok(())
    }

    pub(super) fn text(&self, index: usize) -> Result<&str, RpcFailure> {
        self.get(index)
            .and_then(Value::as_str)
            .ok_or_else(|| RpcFailure::new(-1, "JSON value is not a string as expected"))
    }

    pub(super) fn flag(&self, index: usize) -> Result<bool, RpcFailure> {
        self.get(index)
            .and_then(Value::as_bool)
            .ok_or_else(|| RpcFailure::new(-1, "JSON value is not a boolean as expected"))
    }

    /// A flag that may be left out.
    pub(super) fn flag_or(&self, index: usize, absent: bool) -> Result<bool, RpcFailure> {
        if self.get(index).is_none() { Ok(absent) } else { self.flag(index) }
    }

    pub(super) fn integer(&self, index: usize) -> Result<i32, RpcFailure> {
        integer(self.get(index).unwrap_or(&Value::Null))
    }

    /// A verbosity: a number, or a flag for 0 and 1; `absent` where there is none.
    pub(super) fn verbosity(&self, index: usize, absent: i32) -> Result<i32, RpcFailure> {
        match self.get(index) {
            None => Ok(absent),
            Some(Value::Bool(flag)) => Ok(i32::from(*flag)),
            Some(other) => integer(other),
        }
    }

    /// A hash of 64 hexadecimal digits; `label` is the name by which the node complains about it.
    pub(super) fn hash<T: FromStr>(&self, index: usize, label: &str) -> Result<T, RpcFailure> {
        hash(self.text(index)?, label)
    }
}

/// A 32 bit number, as the node converts one.
pub(super) fn integer(value: &Value) -> Result<i32, RpcFailure> {
    if !value.is_number() {
        return Err(RpcFailure::new(-1, "JSON value is not an integer as expected"));
    }
    let small = value.as_i64().and_then(|number| i32::try_from(number).ok());
    small.ok_or_else(|| RpcFailure::new(-1, "JSON integer out of range"))
}

/// A hash of 64 hexadecimal digits.
pub(super) fn hash<T: FromStr>(text: &str, label: &str) -> Result<T, RpcFailure> {
    if text.len() != 64 {
        let length = text.len();
        return Err(RpcFailure::new(
            -8,
            format!("{label} must be of length 64 (not {length}, for '{text}')"),
        ));
    }
    text.to_lowercase()
        .parse()
        .map_err(|_| RpcFailure::new(-8, format!("{label} must be hexadecimal string (not '{text}')")))
}
