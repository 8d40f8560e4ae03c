//! Parameters: where they come from, what a call allows, and typed access.
//!
//! A query, a form and path segments carry text; JSON bodies carry typed values and are not coerced. Every call lists
//! its parameters; anything else is refused by name.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use formats::{BackupId, BackupTime, BackupType, GroupId, Namespace, SnapshotId};
use serde_json::Value;

use super::error::ApiError;

/// Type of a parameter.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Text of at most so many bytes; its grammar is checked where it is parsed.
    Text(usize),
    /// `1 on yes true` or `0 off no false`, any case; a JSON boolean.
    Bool,
    /// A decimal number within bounds.
    Int(i64, i64),
    /// A repeated key, or a JSON list of texts.
    Texts,
    /// A repeated key, or a JSON list of numbers that are not negative.
    Ints,
}

/// One parameter of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Param {
    name: &'static str,
    kind: Kind,
    required: bool,
}

#[cfg(test)]
impl Param {
    /// Its name.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }
}

/// A parameter that must be given.
pub(crate) const fn required(name: &'static str, kind: Kind) -> Param {
    Param { name, kind, required: true }
}

/// A parameter that may be given.
pub(crate) const fn optional(name: &'static str, kind: Kind) -> Param {
    Param { name, kind, required: false }
}

/// Text of ordinary length.
pub(crate) const TEXT: Kind = Kind::Text(1024);

/// A parameter as it arrived.
#[derive(Debug, Clone)]
pub(crate) enum RawValue {
    /// From a query, a form or the path.
    Text(String),
    /// From a JSON body.
    Json(Value),
}

/// Parameters as they arrived.
pub(crate) type RawParams = Vec<(String, RawValue)>;

/// Adds the parameters of a query or a form. `_dc` is a browser's cache buster and is dropped.
pub(crate) fn add_form(raw: &mut RawParams, text: &[u8]) {
    for (key, value) in form_urlencoded::parse(text) {
        if key != "_dc" {
            raw.push((key.into_owned(), RawValue::Text(value.into_owned())));
        }
    }
}

/// Adds the parameters of a JSON body; an empty one has none.
///
/// # Errors
/// 400 when it is not a JSON object.
pub(crate) fn add_json(raw: &mut RawParams, body: &[u8]) -> Result<(), ApiError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(());
    }
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| ApiError::bad_request(format!("request body is not valid JSON: {error}")))?;
    let Value::Object(object) = value else {
        return Err(ApiError::bad_request("request body is not a JSON object"));
    };
    raw.extend(object.into_iter().map(|(key, value)| (key, RawValue::Json(value))));
    Ok(())
}

/// A checked value.
#[derive(Debug, Clone)]
enum Checked {
    Text(String),
    Bool(bool),
    Int(i64),
    Texts(Vec<String>),
    Ints(Vec<u64>),
}

/// Checked parameters of a call.
#[derive(Debug, Default)]
pub(crate) struct Params(HashMap<&'static str, Checked>);

impl Params {
    /// Checks what arrived against what the call allows.
    ///
    /// # Errors
    /// 400 naming the first parameter that is unknown, given twice, missing or of the wrong type.
    pub(crate) fn check(schema: &[Param], raw: RawParams) -> Result<Self, ApiError> {
        let mut values: HashMap<&'static str, Checked> = HashMap::with_capacity(raw.len());
        for (name, value) in raw {
            let Some(param) = schema.iter().find(|param| param.name == name) else {
                return Err(ApiError::parameter(&name, "schema does not allow additional properties."));
            };
            let checked = check(param, value)?;
            match (values.get_mut(param.name), checked) {
                (None, checked) => {
                    values.insert(param.name, checked);
                }
                (Some(Checked::Texts(list)), Checked::Texts(more)) => list.extend(more),
                (Some(Checked::Ints(list)), Checked::Ints(more)) => list.extend(more),
                (Some(_), _) => return Err(ApiError::parameter(param.name, "given twice")),
            }
        }
        match schema.iter().find(|param| param.required && !values.contains_key(param.name)) {
            Some(param) => Err(ApiError::parameter(param.name, "parameter is missing and it is not optional.")),
            None => Ok(Self(values)),
        }
    }

    /// A text, if given.
    pub(crate) fn opt_text(&self, name: &str) -> Option<&str> {
        match self.0.get(name) {
            Some(Checked::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A text.
    pub(crate) fn text(&self, name: &str) -> Result<&str, ApiError> {
        self.opt_text(name).ok_or_else(|| missing(name))
    }

    /// A text parsed as what it stands for, if given.
    pub(crate) fn opt<T>(&self, name: &str) -> Result<Option<T>, ApiError>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        self.opt_text(name).map(|text| text.parse().map_err(|error| ApiError::parameter(name, error))).transpose()
    }

    /// A text parsed as what it stands for.
    pub(crate) fn parse<T>(&self, name: &str) -> Result<T, ApiError>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        self.opt(name)?.ok_or_else(|| missing(name))
    }

    /// A boolean, if given.
    pub(crate) fn opt_bool(&self, name: &str) -> Option<bool> {
        match self.0.get(name) {
            Some(Checked::Bool(value)) => Some(*value),
            _ => None,
        }
    }

    /// A boolean with its default.
    pub(crate) fn bool(&self, name: &str, default: bool) -> bool {
        self.opt_bool(name).unwrap_or(default)
    }

    /// A number, if given.
    pub(crate) fn opt_int(&self, name: &str) -> Option<i64> {
        match self.0.get(name) {
            Some(Checked::Int(value)) => Some(*value),
            _ => None,
        }
    }

    /// A number that is not negative, if given.
    pub(crate) fn opt_uint(&self, name: &str) -> Option<u64> {
        self.opt_int(name).and_then(|value| u64::try_from(value).ok())
    }

    /// A number that is not negative.
    pub(crate) fn uint(&self, name: &str) -> Result<u64, ApiError> {
        self.opt_uint(name).ok_or_else(|| missing(name))
    }

    /// All that was given but for `except`, as texts; of a list one for each item. For settings, whose files hold texts.
    pub(crate) fn pairs(&self, except: &[&str]) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        for (name, value) in self.0.iter().filter(|(name, _)| !except.contains(*name)) {
            let texts = match value {
                Checked::Text(text) => vec![text.clone()],
                Checked::Bool(value) => vec![value.to_string()],
                Checked::Int(value) => vec![value.to_string()],
                Checked::Texts(list) => list.clone(),
                Checked::Ints(list) => list.iter().map(u64::to_string).collect(),
            };
            pairs.extend(texts.into_iter().map(|text| ((*name).to_owned(), text)));
        }
        pairs
    }

    /// A list of texts; empty when not given.
    pub(crate) fn texts(&self, name: &str) -> &[String] {
        match self.0.get(name) {
            Some(Checked::Texts(list)) => list,
            _ => &[],
        }
    }

    /// A list of numbers; empty when not given.
    pub(crate) fn ints(&self, name: &str) -> &[u64] {
        match self.0.get(name) {
            Some(Checked::Ints(list)) => list,
            _ => &[],
        }
    }

    /// The namespace in `name`; absent and empty both mean the root.
    pub(crate) fn namespace(&self, name: &str) -> Result<Namespace, ApiError> {
        Ok(self.opt(name)?.unwrap_or_else(Namespace::root))
    }

    /// `backup-type` and `backup-id`.
    pub(crate) fn group(&self) -> Result<GroupId, ApiError> {
        Ok(GroupId { backup_type: self.parse::<BackupType>("backup-type")?, id: self.parse::<BackupId>("backup-id")? })
    }

    /// `backup-type`, `backup-id` and `backup-time`.
    pub(crate) fn snapshot(&self) -> Result<SnapshotId, ApiError> {
        let time = self.opt_int("backup-time").ok_or_else(|| missing("backup-time"))?;
        let time = BackupTime::from_unix(time).map_err(|error| ApiError::parameter("backup-time", error))?;
        Ok(SnapshotId { group: self.group()?, time })
    }
}

fn missing(name: &str) -> ApiError {
    ApiError::parameter(name, "parameter is missing and it is not optional.")
}

fn check(param: &Param, value: RawValue) -> Result<Checked, ApiError> {
    let wrong = |reason: &str| Err(ApiError::parameter(param.name, reason));
    match (param.kind, value) {
        (Kind::Text(max), RawValue::Text(text) | RawValue::Json(Value::String(text))) => {
            if text.len() > max {
                wrong("value is too long")
            } else {
                Ok(Checked::Text(text))
            }
        }
        (Kind::Bool, RawValue::Json(Value::Bool(value))) => Ok(Checked::Bool(value)),
        (Kind::Bool, RawValue::Text(text)) => match text.to_ascii_lowercase().as_str() {
            "1" | "on" | "yes" | "true" => Ok(Checked::Bool(true)),
            "0" | "off" | "no" | "false" => Ok(Checked::Bool(false)),
            _ => wrong("expected a boolean"),
        },
        (Kind::Int(min, max), value) => {
            let number = match value {
                RawValue::Text(text) => text.parse::<i64>().ok(),
                RawValue::Json(value) => value.as_i64(),
            };
            match number {
                None => wrong("expected an integer"),
                Some(number) if number < min => wrong(&format!("value must be at least {min}")),
                Some(number) if number > max => wrong(&format!("value must be at most {max}")),
                Some(number) => Ok(Checked::Int(number)),
            }
        }
        (Kind::Texts, RawValue::Text(text)) => Ok(Checked::Texts(vec![text])),
        (Kind::Texts, RawValue::Json(Value::Array(list))) => {
            let texts: Option<Vec<String>> = list
                .into_iter()
                .map(|value| match value {
                    Value::String(text) => Some(text),
                    _ => None,
                })
                .collect();
            texts.map(Checked::Texts).map_or_else(|| wrong("expected a list of texts"), Ok)
        }
        (Kind::Ints, RawValue::Text(text)) => match text.parse() {
            Ok(number) => Ok(Checked::Ints(vec![number])),
            Err(_) => wrong("expected an integer"),
        },
        (Kind::Ints, RawValue::Json(Value::Array(list))) => {
            let numbers: Option<Vec<u64>> = list.iter().map(Value::as_u64).collect();
            numbers.map(Checked::Ints).map_or_else(|| wrong("expected a list of integers"), Ok)
        }
        (Kind::Text(_), _) => wrong("expected a text"),
        (Kind::Bool, _) => wrong("expected a boolean"),
        (Kind::Texts | Kind::Ints, _) => wrong("expected a list"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &[Param] = &[
        required("id", TEXT),
        optional("flag", Kind::Bool),
        optional("depth", Kind::Int(0, 7)),
        optional("digest-list", Kind::Texts),
        optional("offset-list", Kind::Ints),
    ];

    fn form(text: &str) -> Result<Params, ApiError> {
        let mut raw = RawParams::new();
        add_form(&mut raw, text.as_bytes());
        Params::check(SCHEMA, raw)
    }

    fn json(text: &str) -> Result<Params, ApiError> {
        let mut raw = RawParams::new();
        add_json(&mut raw, text.as_bytes())?;
        Params::check(SCHEMA, raw)
    }

    #[test]
    fn text_parameters_are_converted_by_their_type() {
        let params = form("id=a+b%2Fc&flag=ON&depth=3&digest-list=x&digest-list=y&offset-list=7&_dc=1").unwrap();
        assert_eq!(params.text("id").unwrap(), "a b/c");
        assert!(params.bool("flag", false));
        assert_eq!(params.opt_uint("depth"), Some(3));
        assert_eq!(params.texts("digest-list"), ["x", "y"]);
        assert_eq!(params.ints("offset-list"), [7]);
    }

    #[test]
    fn json_values_are_not_coerced() {
        assert!(json(r#"{"id":"x","flag":true,"depth":1,"offset-list":[0,5]}"#).is_ok());
        for bad in [
            r#"{"id":1}"#,
            r#"{"id":"x","flag":"true"}"#,
            r#"{"id":"x","depth":"1"}"#,
            r#"{"id":"x","digest-list":"y"}"#,
        ] {
            assert_eq!(json(bad).unwrap_err().status, 400, "{bad}");
        }
    }

    #[test]
    fn unknown_repeated_missing_and_out_of_range_parameters_are_named() {
        for (text, name) in [("id=x&foo=1", "foo"), ("id=x&id=y", "id"), ("flag=1", "id"), ("id=x&depth=8", "depth")] {
            let error = form(text).unwrap_err();
            assert_eq!(error.parameters[0].0, name, "{text}");
        }
    }

    #[test]
    fn an_empty_json_body_has_no_parameters() {
        assert_eq!(json("").unwrap_err().parameters[0].0, "id");
        assert!(add_json(&mut RawParams::new(), b"[1]").is_err());
    }
}
