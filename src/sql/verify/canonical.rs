//! A tree without its places in the text: PostgreSQL's parse tree as bytes, where two trees have equal bytes
//! exactly when every field of every node is equal, locations aside.
//!
//! **Why it is total.** The bytes come from the `serde::Serialize` that is derived for every node of the grammar:
//! a field or a node kind that a later grammar adds is compared without a line of this file. Only the fields
//! named in [`super::places`] are left out, by name and only where they are numbers. A kind of value that no
//! tree of today holds (a map, a tuple) is an error, not a gap.
//!
//! **Why equal bytes mean equal trees.** A node's type fixes its fields and their order; each string, list and
//! option is written with its length or presence, each variant with its index.

use std::fmt;

use pg_query::protobuf::Node;
use serde::Serialize;
use serde::ser::{self, Impossible};

use super::places::{Parameter, is_place};

/// A tree's bytes, with what [`super::verify`] must know by place.
pub(super) struct Encoded {
    bytes: Vec<u8>,
    /// Every `$n`, in the tree's order. Their numbers are not in the bytes.
    pub(super) parameters: Vec<Parameter>,
    /// Location of every constant.
    pub(super) constants: Vec<i32>,
}

/// Encodes a tree.
pub(super) fn encode(tree: &Node) -> Result<Encoded, Unexpected> {
    let mut writer = Writer {
        encoded: Encoded {
            bytes: Vec::with_capacity(16 << 10),
            parameters: Vec::new(),
            constants: Vec::new(),
        },
        next: Next::Field,
    };
    tree.serialize(&mut writer)?;
    Ok(writer.encoded)
}

/// Whether two trees are equal when the first one's parameter numbers are read through `renumber`.
pub(super) fn equal(decided: &Encoded, read: &Encoded, renumber: impl Fn(i32) -> i32) -> bool {
    let numbers = decided.parameters.iter().map(|p| renumber(p.number));
    decided.bytes == read.bytes && numbers.eq(read.parameters.iter().map(|p| p.number))
}

/// A value that no parse tree holds.
#[derive(Debug, thiserror::Error)]
#[error("a value of an unexpected kind: {0}")]
pub(super) struct Unexpected(String);

impl ser::Error for Unexpected {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

fn unexpected<T>(kind: &str) -> Result<T, Unexpected> {
    Err(Unexpected(kind.to_owned()))
}

struct Writer {
    encoded: Encoded,
    next: Next,
}

/// What the number that comes next is.
#[derive(Clone, Copy)]
enum Next {
    /// A field like any other.
    Field,
    /// A place that is left out.
    Place,
    /// The number of a parameter.
    ParameterNumber,
    /// The place of the last parameter.
    ParameterPlace,
    /// The place of a constant.
    ConstantPlace,
}

impl Writer {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Unexpected> {
        if !matches!(self.next, Next::Field) {
            return unexpected("a place that is no number");
        }
        self.encoded.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn put_length(&mut self, length: usize) -> Result<(), Unexpected> {
        self.put(&(length as u64).to_le_bytes())
    }

    fn put_text(&mut self, text: &[u8]) -> Result<(), Unexpected> {
        self.put_length(text.len())?;
        self.put(text)
    }
}

impl<'a> ser::Serializer for &'a mut Writer {
    type Ok = ();
    type Error = Unexpected;
    type SerializeSeq = Self;
    type SerializeTuple = Impossible<(), Unexpected>;
    type SerializeTupleStruct = Impossible<(), Unexpected>;
    type SerializeTupleVariant = Impossible<(), Unexpected>;
    type SerializeMap = Impossible<(), Unexpected>;
    type SerializeStruct = Fields<'a>;
    type SerializeStructVariant = Impossible<(), Unexpected>;

    fn serialize_i32(self, value: i32) -> Result<(), Unexpected> {
        let next = std::mem::replace(&mut self.next, Next::Field);
        match next {
            Next::Field => self.put(&value.to_le_bytes())?,
            Next::Place => {}
            Next::ParameterNumber => self.encoded.parameters.push(Parameter { number: value, location: -1 }),
            Next::ParameterPlace => match self.encoded.parameters.last_mut() {
                Some(parameter) => parameter.location = value,
                None => return unexpected("a parameter without a number"),
            },
            Next::ConstantPlace => self.encoded.constants.push(value),
        }
        Ok(())
    }

    fn serialize_bool(self, value: bool) -> Result<(), Unexpected> {
        self.put(&[u8::from(value)])
    }
    fn serialize_i8(self, value: i8) -> Result<(), Unexpected> {
        self.put(&value.to_le_bytes())
    }
    fn serialize_i16(self, value: i16) -> Result<(), Unexpected> {
        self.put(&value.to_le_bytes())
    }
    fn serialize_i64(self, value: i64) -> Result<(), Unexpected> {
        self.put(&value.to_le_bytes())
    }
    fn serialize_u8(self, value: u8) -> Result<(), Unexpected> {
        self.put(&value.to_le_bytes())
    }
    fn serialize_u16(self, value: u16) -> Result<(), Unexpected> {
        self.put(&value.to_le_bytes())
    }
    fn serialize_u32(self, value: u32) -> Result<(), Unexpected> {
        self.put(&value.to_le_bytes())
    }
    fn serialize_u64(self, value: u64) -> Result<(), Unexpected> {
        self.put(&value.to_le_bytes())
    }
    fn serialize_f32(self, value: f32) -> Result<(), Unexpected> {
        self.put(&value.to_bits().to_le_bytes())
    }
    fn serialize_f64(self, value: f64) -> Result<(), Unexpected> {
        self.put(&value.to_bits().to_le_bytes())
    }
    fn serialize_char(self, value: char) -> Result<(), Unexpected> {
        self.put(&u32::from(value).to_le_bytes())
    }
    fn serialize_str(self, value: &str) -> Result<(), Unexpected> {
        self.put_text(value.as_bytes())
    }
    fn serialize_bytes(self, value: &[u8]) -> Result<(), Unexpected> {
        self.put_text(value)
    }
    fn serialize_none(self) -> Result<(), Unexpected> {
        self.put(&[0])
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Unexpected> {
        self.put(&[1])?;
        value.serialize(self)
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        v: &T,
    ) -> Result<(), Unexpected> {
        v.serialize(self)
    }
    fn serialize_unit_variant(self, _: &'static str, index: u32, _: &'static str) -> Result<(), Unexpected> {
        self.put(&index.to_le_bytes())
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Unexpected> {
        self.put(&index.to_le_bytes())?;
        value.serialize(self)
    }
    fn serialize_seq(self, length: Option<usize>) -> Result<Self, Unexpected> {
        match length {
            Some(length) => self.put_length(length)?,
            None => return unexpected("a list of unknown length"),
        }
        Ok(self)
    }
    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Fields<'a>, Unexpected> {
        if !matches!(self.next, Next::Field) {
            return unexpected("a place that is no number");
        }
        let node = match name {
            "ParamRef" => Kind::Parameter,
            "AConst" => Kind::Constant,
            _ => Kind::Other,
        };
        Ok(Fields { writer: self, node })
    }

    fn serialize_unit(self) -> Result<(), Unexpected> {
        unexpected("unit")
    }
    fn serialize_unit_struct(self, name: &'static str) -> Result<(), Unexpected> {
        unexpected(name)
    }
    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Unexpected> {
        unexpected("tuple")
    }
    fn serialize_tuple_struct(
        self,
        name: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, Unexpected> {
        unexpected(name)
    }
    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Unexpected> {
        unexpected(name)
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Unexpected> {
        unexpected("map")
    }
    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Unexpected> {
        unexpected(name)
    }
}

impl ser::SerializeSeq for &mut Writer {
    type Ok = ();
    type Error = Unexpected;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unexpected> {
        value.serialize(&mut **self)
    }
    fn end(self) -> Result<(), Unexpected> {
        Ok(())
    }
}

/// The nodes of which a field is told apart.
#[derive(Clone, Copy)]
enum Kind {
    Parameter,
    Constant,
    Other,
}

/// The fields of one node.
struct Fields<'a> {
    writer: &'a mut Writer,
    node: Kind,
}

impl ser::SerializeStruct for Fields<'_> {
    type Ok = ();
    type Error = Unexpected;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        field: &'static str,
        value: &T,
    ) -> Result<(), Unexpected> {
        self.writer.next = match (self.node, field) {
            (Kind::Parameter, "number") => Next::ParameterNumber,
            (Kind::Parameter, "location") => Next::ParameterPlace,
            (Kind::Constant, "location") => Next::ConstantPlace,
            (_, place) if is_place(place) => Next::Place,
            _ => Next::Field,
        };
        value.serialize(&mut *self.writer)
    }
    fn end(self) -> Result<(), Unexpected> {
        Ok(())
    }
}
