//! Builds values from everything that serializes to JSON. Unlike [`serde_json::Value`], they keep the order of the fields.

use serde::ser::{
    Error as _, Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, Serializer as SerdeSerializer,
};
use serde_json::{Error, Value};

use super::{Fields, Yaml};

/// The value as it serializes, with its fields in their order; null if JSON cannot express it.
pub(crate) fn serialized(value: &impl Serialize) -> Yaml {
    value.serialize(YamlSerializer).unwrap_or(Yaml::Null)
}

/// Serializes into a [`Yaml`]. Of enums, it takes those that serialize to their names.
struct YamlSerializer;

struct ListItems(Vec<Yaml>);

struct MapFields {
    fields: Fields,
    key: String,
}

macro_rules! scalars {
    ($($method:ident: $type:ty),* $(,)?) => { $(
        fn $method(self, value: $type) -> Result<Yaml, Error> {
            Ok(match serde_json::to_value(value)? {
                Value::Bool(value) => Yaml::Bool(value),
                Value::Number(number) => Yaml::Number(number),
                Value::String(text) => Yaml::Text(text.into()),
                Value::Null | Value::Array(_) | Value::Object(_) => Yaml::Null,
            })
        }
    )* };
}

impl SerdeSerializer for YamlSerializer {
    type Ok = Yaml;
    type Error = Error;
    type SerializeSeq = ListItems;
    type SerializeTuple = Impossible<Yaml, Error>;
    type SerializeTupleStruct = Impossible<Yaml, Error>;
    type SerializeTupleVariant = Impossible<Yaml, Error>;
    type SerializeMap = MapFields;
    type SerializeStruct = MapFields;
    type SerializeStructVariant = Impossible<Yaml, Error>;

    scalars! {
        serialize_bool: bool,
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_f32: f32,
        serialize_f64: f64,
        serialize_char: char,
        serialize_str: &str,
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<Yaml, Error> {
        Err(unsupported())
    }

    fn serialize_none(self) -> Result<Yaml, Error> {
        Ok(Yaml::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Yaml, Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Yaml, Error> {
        Ok(Yaml::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Yaml, Error> {
        Ok(Yaml::Null)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, name: &'static str) -> Result<Yaml, Error> {
        Ok(name.into())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<Yaml, Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Yaml, Error> {
        Err(unsupported())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<ListItems, Error> {
        Ok(ListItems(Vec::new()))
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Error> {
        Err(unsupported())
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Error> {
        Err(unsupported())
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Error> {
        Err(unsupported())
    }

    fn serialize_map(self, _: Option<usize>) -> Result<MapFields, Error> {
        Ok(MapFields { fields: Fields::new(), key: String::new() })
    }

    fn serialize_struct(self, _: &'static str, len: usize) -> Result<MapFields, Error> {
        self.serialize_map(Some(len))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Error> {
        Err(unsupported())
    }
}

impl SerializeSeq for ListItems {
    type Ok = Yaml;
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.0.push(value.serialize(YamlSerializer)?);
        Ok(())
    }

    fn end(self) -> Result<Yaml, Error> {
        Ok(Yaml::List(self.0))
    }
}

impl SerializeMap for MapFields {
    type Ok = Yaml;
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        let Yaml::Text(key) = key.serialize(YamlSerializer)? else { return Err(unsupported()) };
        self.key = key.into_owned();
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        let key = std::mem::take(&mut self.key);
        self.fields.push((key.into(), value.serialize(YamlSerializer)?));
        Ok(())
    }

    fn end(self) -> Result<Yaml, Error> {
        Ok(Yaml::Map(self.fields))
    }
}

impl SerializeStruct for MapFields {
    type Ok = Yaml;
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Error> {
        self.fields.push((key.into(), value.serialize(YamlSerializer)?));
        Ok(())
    }

    fn end(self) -> Result<Yaml, Error> {
        Ok(Yaml::Map(self.fields))
    }
}

fn unsupported() -> Error {
    Error::custom("no configuration has such a value")
}
