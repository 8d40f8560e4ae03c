//! Turns a struct into `key value` pairs.

use std::fmt;

use serde::{
    Serialize,
    ser::{self, Impossible},
};

/// Something that has no place in a section file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A type, id or key that could not be read back.
    #[error("{what} {text:?} cannot be written: it is empty or has blanks or control characters in the wrong place")]
    Name {
        /// What the text should be.
        what: &'static str,
        /// The text.
        text: String,
    },
    /// A value that could not be read back. The value is not shown, it may be a secret.
    #[error("value of `{key}` cannot be written: it has control characters, or blanks at its start or end")]
    Value {
        /// The property.
        key: String,
    },
    /// The struct has no field to take the section's id from.
    #[error("no field `{key}` to name the section")]
    NoId {
        /// The field that was looked for.
        key: &'static str,
    },
    /// A value without a text form.
    #[error("{0}")]
    Unsupported(String),
}

impl ser::Error for WriteError {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Self::Unsupported(reason.to_string())
    }
}

fn unsupported<T>(what: &str) -> Result<T, WriteError> {
    Err(WriteError::Unsupported(format!("{what} has no text form in a section")))
}

/// One pair per set field, several for a list.
pub(crate) fn to_pairs<T: Serialize>(value: &T) -> Result<Vec<(String, String)>, WriteError> {
    value.serialize(StructToPairs)
}

struct StructToPairs;
struct Pairs(Vec<(String, String)>);
/// Writes one field: no text (unset), one, or one per list element.
struct Texts;
struct List(Vec<String>);

macro_rules! refuse {
    ($ok:ty: $($method:ident($($type:ty),*))*) => {$(
        fn $method(self, $(_: $type),*) -> Result<$ok, WriteError> { unsupported(stringify!($method)) }
    )*};
}

impl ser::Serializer for StructToPairs {
    type Ok = Vec<(String, String)>;
    type Error = WriteError;
    type SerializeSeq = Impossible<Self::Ok, WriteError>;
    type SerializeTuple = Impossible<Self::Ok, WriteError>;
    type SerializeTupleStruct = Impossible<Self::Ok, WriteError>;
    type SerializeTupleVariant = Impossible<Self::Ok, WriteError>;
    type SerializeMap = Impossible<Self::Ok, WriteError>;
    type SerializeStruct = Pairs;
    type SerializeStructVariant = Impossible<Self::Ok, WriteError>;

    refuse! { Self::Ok:
        serialize_bool(bool) serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64)
        serialize_u8(u8) serialize_u16(u16) serialize_u32(u32) serialize_u64(u64) serialize_f32(f32)
        serialize_f64(f64) serialize_char(char) serialize_str(&str) serialize_bytes(&[u8]) serialize_none()
        serialize_unit() serialize_unit_struct(&'static str) serialize_unit_variant(&'static str, u32, &'static str)
    }
    refuse! { Self::SerializeSeq: serialize_seq(Option<usize>) serialize_tuple(usize) }
    refuse! { Self::SerializeMap: serialize_map(Option<usize>) serialize_tuple_struct(&'static str, usize)
        serialize_tuple_variant(&'static str, u32, &'static str, usize)
        serialize_struct_variant(&'static str, u32, &'static str, usize)
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<Self::Ok, WriteError> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Self::Ok, WriteError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Self::Ok, WriteError> {
        unsupported("an enum with data")
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Pairs, WriteError> {
        Ok(Pairs(Vec::new()))
    }
}

impl ser::SerializeStruct for Pairs {
    type Ok = Vec<(String, String)>;
    type Error = WriteError;

    fn serialize_field<T: ?Sized + Serialize>(&mut self, key: &'static str, value: &T) -> Result<(), WriteError> {
        self.0.extend(value.serialize(Texts)?.into_iter().map(|text| (key.to_owned(), text)));
        Ok(())
    }

    fn end(self) -> Result<Self::Ok, WriteError> {
        Ok(self.0)
    }
}

macro_rules! by_display {
    ($($method:ident $type:ty,)*) => {$(
        fn $method(self, value: $type) -> Result<Vec<String>, WriteError> { Ok(vec![value.to_string()]) }
    )*};
}

impl ser::Serializer for Texts {
    type Ok = Vec<String>;
    type Error = WriteError;
    type SerializeSeq = List;
    type SerializeTuple = Impossible<Self::Ok, WriteError>;
    type SerializeTupleStruct = Impossible<Self::Ok, WriteError>;
    type SerializeTupleVariant = Impossible<Self::Ok, WriteError>;
    type SerializeMap = Impossible<Self::Ok, WriteError>;
    type SerializeStruct = Impossible<Self::Ok, WriteError>;
    type SerializeStructVariant = Impossible<Self::Ok, WriteError>;

    by_display! {
        serialize_bool bool, serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64,
        serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64, serialize_char char,
        serialize_str &str,
    }
    refuse! { Self::Ok: serialize_f32(f32) serialize_f64(f64) serialize_bytes(&[u8]) }
    refuse! { Self::SerializeMap: serialize_tuple(usize) serialize_map(Option<usize>)
        serialize_tuple_struct(&'static str, usize) serialize_struct(&'static str, usize)
        serialize_tuple_variant(&'static str, u32, &'static str, usize)
        serialize_struct_variant(&'static str, u32, &'static str, usize)
    }

    fn serialize_none(self) -> Result<Vec<String>, WriteError> {
        Ok(Vec::new())
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<Vec<String>, WriteError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Vec<String>, WriteError> {
        Ok(Vec::new())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Vec<String>, WriteError> {
        Ok(Vec::new())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<Vec<String>, WriteError> {
        Ok(vec![variant.to_owned()])
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Vec<String>, WriteError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Vec<String>, WriteError> {
        unsupported("an enum with data")
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<List, WriteError> {
        Ok(List(Vec::new()))
    }
}

impl ser::SerializeSeq for List {
    type Ok = Vec<String>;
    type Error = WriteError;

    fn serialize_element<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), WriteError> {
        self.0.extend(value.serialize(Texts)?);
        Ok(())
    }

    fn end(self) -> Result<Vec<String>, WriteError> {
        Ok(self.0)
    }
}
