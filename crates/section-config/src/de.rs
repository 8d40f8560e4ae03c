//! Reads a struct from `key value` pairs, all of them text.

use std::fmt;

use serde::{
    de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor},
    forward_to_deserialize_any,
};

use crate::section::{Property, Read, Section};

/// A property that does not fit its field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// Line in the file, counted from 1; 0 if the text came from elsewhere.
    pub line: usize,
    /// The property.
    pub key: Option<String>,
    /// Why it does not fit.
    pub reason: String,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        if let Some(key) = &self.key {
            write!(f, "property `{key}`: ")?;
        }
        f.write_str(&self.reason)
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Self { line: 0, key: None, reason: reason.to_string() }
    }

    fn missing_field(field: &'static str) -> Self {
        Self { line: 0, key: Some(field.to_owned()), reason: "missing and not optional".to_owned() }
    }
}

impl ReadError {
    fn at(mut self, property: &Property) -> Self {
        if self.key.is_none() {
            self.key = Some(property.key.clone());
        }
        if self.line == 0 {
            self.line = property.line;
        }
        self
    }
}

/// Reads a BOOL: `1 on yes true` or `0 off no false`, any letter case.
pub fn parse_bool(text: &str) -> Option<bool> {
    let is_one_of = |words: [&str; 4]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    if is_one_of(["1", "on", "yes", "true"]) {
        Some(true)
    } else if is_one_of(["0", "off", "no", "false"]) {
        Some(false)
    } else {
        None
    }
}

/// Reads `T` from properties, and from the section's id under the name given with it.
pub(crate) fn read<T: DeserializeOwned>(
    id: Option<(&str, &Section)>,
    properties: &[Property],
) -> Result<Read<T>, ReadError> {
    let mut fields: Vec<Vec<&Property>> = Vec::new();
    let id_property =
        id.map(|(key, section)| Property { key: key.to_owned(), value: section.id().to_owned(), line: section.line() });
    for property in id_property.iter().chain(properties) {
        match fields.iter_mut().find(|values| values[0].key == property.key) {
            Some(values) => values.push(property),
            None => fields.push(vec![property]),
        }
    }
    let mut unknown = Vec::new();
    let fields = Fields { fields: fields.into_iter(), current: None, unknown: &mut unknown };
    let value = T::deserialize(fields).map_err(|mut error| {
        if error.line == 0 {
            error.line = id.map_or(0, |(_, section)| section.line());
        }
        error
    })?;
    unknown.sort_by_key(|property| property.line);
    Ok(Read { value, unknown })
}

struct Fields<'a, 'u> {
    fields: std::vec::IntoIter<Vec<&'a Property>>,
    current: Option<Vec<&'a Property>>,
    unknown: &'u mut Vec<Property>,
}

impl<'de> de::Deserializer<'de> for Fields<'_, '_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_map(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> MapAccess<'de> for Fields<'_, '_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        self.current = self.fields.next();
        match &self.current {
            Some(values) => seed.deserialize(values[0].key.as_str().into_deserializer()).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, ReadError> {
        let values =
            self.current.take().ok_or_else(|| <ReadError as de::Error>::custom("value asked before its key"))?;
        let first = values[0];
        seed.deserialize(Values { values: &values, unknown: self.unknown }).map_err(|error| error.at(first))
    }
}

/// The values of one key, at least one.
struct Values<'a, 'u> {
    values: &'a [&'a Property],
    unknown: &'u mut Vec<Property>,
}

impl<'a> Values<'a, '_> {
    fn single(&self) -> Result<&'a str, ReadError> {
        match self.values {
            [only] => Ok(&only.value),
            [_, second, ..] => Err(<ReadError as de::Error>::custom("given more than once").at(second)),
            [] => Err(<ReadError as de::Error>::custom("no value")),
        }
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty,)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            let text = self.single()?;
            let number = text.parse::<$type>().map_err(|error| {
                <ReadError as de::Error>::custom(format_args!("`{text}` is not a fitting integer: {error}"))
            })?;
            visitor.$visit(number)
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Values<'_, '_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_str(self.single()?)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let text = self.single()?;
        let value = parse_bool(text).ok_or_else(|| {
            <ReadError as de::Error>::custom(format_args!("`{text}` is no boolean (1 on yes true / 0 off no false)"))
        })?;
        visitor.visit_bool(value)
    }

    integers! {
        deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32, deserialize_u64 visit_u64 u64,
        deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32, deserialize_i64 visit_i64 i64,
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_seq(Elements(self.values.iter()))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_enum(self.single()?.into_deserializer())
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.unknown.extend(self.values.iter().map(|&property| property.clone()));
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i128 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple tuple_struct map struct identifier
    }
}

struct Elements<'a>(std::slice::Iter<'a, &'a Property>);

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = ReadError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, ReadError> {
        let Some(&property) = self.0.next() else { return Ok(None) };
        let element = Values { values: &[property], unknown: &mut Vec::new() };
        seed.deserialize(element).map(Some).map_err(|error| error.at(property))
    }
}
