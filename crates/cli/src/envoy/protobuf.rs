//! Envoy's configuration as protobuf, from the same values that are printed as YAML. So a cluster that is pushed is the cluster
//! that `byname compile` prints.

use std::fmt;

use super::message::{FieldType, Message, message};
use crate::output::yaml::{Fields, Yaml};

/// The prefix of the type of a message in an `Any`.
const TYPE_PREFIX: &str = "type.googleapis.com/";
const VARINT: u64 = 0;
const LENGTH_DELIMITED: u64 = 2;

/// A value that the tables of messages do not cover, by the path of its field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnknownField(String);

impl fmt::Display for UnknownField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: has no place in protobuf; add the field to its message", self.0)
    }
}

impl std::error::Error for UnknownField {}

impl UnknownField {
    fn new(name: &str) -> Self {
        Self(name.to_owned())
    }

    fn within(self, name: &str) -> Self {
        Self(format!("{name}.{}", self.0))
    }
}

/// Encodes a value with an `@type`. Returns the URL of its type and its bytes, which are the same for the same value.
pub(crate) fn encode(value: &Yaml) -> Result<(String, Vec<u8>), UnknownField> {
    let Yaml::Map(fields) = plain(value) else { return Err(UnknownField::new("@type")) };
    let mut fields = fields.iter();
    let url = match fields.next() {
        Some((name, Yaml::Text(url))) if name == "@type" => url,
        _ => return Err(UnknownField::new("@type")),
    };
    let name = url.strip_prefix(TYPE_PREFIX).unwrap_or(url);
    let of_type = message(name).ok_or_else(|| UnknownField::new(name))?;
    let mut bytes = Vec::new();
    write_fields(&mut bytes, of_type, fields).map_err(|unknown| unknown.within(name))?;
    Ok((url.clone().into_owned(), bytes))
}

/// The value without its layout.
fn plain(value: &Yaml) -> &Yaml {
    match value {
        Yaml::OneLine(value) | Yaml::Commented(_, value) => plain(value),
        Yaml::Shared(_, value) => plain(value),
        value => value,
    }
}

fn write_fields<'f>(
    to: &mut Vec<u8>,
    of_type: Message,
    fields: impl Iterator<Item = &'f (std::borrow::Cow<'static, str>, Yaml)>,
) -> Result<(), UnknownField> {
    for (name, value) in fields {
        let place = of_type.iter().find(|(known, ..)| known == name);
        let (_, number, field_type) = place.ok_or_else(|| UnknownField::new(name))?;
        let written = match plain(value) {
            Yaml::List(items) => items.iter().try_for_each(|item| write_field(to, *number, *field_type, item)),
            value => write_field(to, *number, *field_type, value),
        };
        written.map_err(|unknown| unknown.within(name))?;
    }
    Ok(())
}

fn write_field(to: &mut Vec<u8>, number: u32, field_type: FieldType, value: &Yaml) -> Result<(), UnknownField> {
    let misfit = || UnknownField::new("(its value)");
    match (field_type, plain(value)) {
        (FieldType::Text, Yaml::Text(text)) => write_bytes(to, number, text.as_bytes()),
        (FieldType::Flag, Yaml::Bool(flag)) => write_number(to, number, u64::from(*flag)),
        (FieldType::Count, Yaml::Number(count)) => write_number(to, number, count.as_u64().ok_or_else(misfit)?),
        (FieldType::Word(words), Yaml::Text(text)) => {
            let word = words.iter().find(|(word, _)| word == text).ok_or_else(misfit)?;
            write_number(to, number, word.1);
        }
        (FieldType::Duration, Yaml::Text(text)) => {
            let (seconds, nanos) = duration(text).ok_or_else(misfit)?;
            let mut bytes = Vec::new();
            write_number(&mut bytes, 1, seconds);
            if nanos > 0 {
                write_number(&mut bytes, 2, nanos);
            }
            write_bytes(to, number, &bytes);
        }
        // Numbers and flags that may be absent are messages with a single field.
        (FieldType::Optional(field_type), value) => {
            let mut bytes = Vec::new();
            write_field(&mut bytes, 1, *field_type, value)?;
            write_bytes(to, number, &bytes);
        }
        (FieldType::Message(of_type), Yaml::Map(fields)) => write_bytes(to, number, &fields_of(of_type, fields)?),
        (FieldType::Any, value) => write_bytes(to, number, &any(value)?),
        (FieldType::Map(field_type), Yaml::Map(entries)) => {
            for (key, value) in entries {
                let mut entry = Vec::new();
                write_bytes(&mut entry, 1, key.as_bytes());
                write_field(&mut entry, 2, *field_type, value).map_err(|unknown| unknown.within(key))?;
                write_bytes(to, number, &entry);
            }
        }
        _ => return Err(misfit()),
    }
    Ok(())
}

fn fields_of(of_type: Message, fields: &Fields) -> Result<Vec<u8>, UnknownField> {
    let mut bytes = Vec::new();
    write_fields(&mut bytes, of_type, fields.iter())?;
    Ok(bytes)
}

fn any(value: &Yaml) -> Result<Vec<u8>, UnknownField> {
    let (url, value) = encode(value)?;
    let mut bytes = Vec::new();
    write_bytes(&mut bytes, 1, url.as_bytes());
    write_bytes(&mut bytes, 2, &value);
    Ok(bytes)
}

/// The seconds and nanoseconds of a text such as `0.3s`.
fn duration(text: &str) -> Option<(u64, u64)> {
    let text = text.strip_suffix('s')?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let nanos = format!("{fraction:0<9}");
    Some((seconds.parse().ok()?, nanos.parse().ok().filter(|_| nanos.len() == 9)?))
}

fn write_bytes(to: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    write_varint(to, u64::from(number) << 3 | LENGTH_DELIMITED);
    // A usize has at most 64 bits.
    write_varint(to, bytes.len() as u64);
    to.extend_from_slice(bytes);
}

fn write_number(to: &mut Vec<u8>, number: u32, value: u64) {
    write_varint(to, u64::from(number) << 3 | VARINT);
    write_varint(to, value);
}

fn write_varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{envoy::value::typed, output::yaml::map};

    #[test]
    fn encodes_as_the_protobuf_documentation_shows() {
        let mut bytes = Vec::new();
        write_number(&mut bytes, 1, 150);
        write_bytes(&mut bytes, 2, b"testing");
        assert_eq!(bytes, b"\x08\x96\x01\x12\x07testing");
    }

    #[test]
    fn reads_durations_as_json_has_them() {
        for (text, wanted) in [
            ("1s", Some((1, 0))),
            ("0.3s", Some((0, 300_000_000))),
            ("1.000000001s", Some((1, 1))),
            ("1", None),
            ("1.0000000001s", None),
            ("s", None),
        ] {
            assert_eq!(duration(text), wanted, "{text}");
        }
    }

    #[test]
    fn names_a_field_that_it_does_not_know() {
        let cluster = typed! { "envoy.config.cluster.v3.Cluster", "eds_cluster_config": map! { "colour": "red" } };
        let unknown = encode(&cluster).unwrap_err();
        assert!(
            unknown.to_string().starts_with("envoy.config.cluster.v3.Cluster.eds_cluster_config.colour: "),
            "{unknown}"
        );
    }
}
