//! The values of plain scalars, as kubectl reads them: by YAML 1.1, with the liberties of its library (go-yaml 2).

use base64::{Engine, alphabet, engine};

use super::node::InputValue;

/// The prefix of `!!` in full.
pub(super) const CORE_TAG: &str = "tag:yaml.org,2002:";

/// The value of a plain scalar.
pub(super) fn plain(text: String) -> InputValue {
    resolved(&text).map_or_else(|| InputValue::Text(text.into()), written)
}

/// A number as kubectl hands it on in JSON, where `8e1` is 80.
fn written(value: InputValue) -> InputValue {
    match value {
        #[allow(clippy::cast_possible_truncation, reason = "the number is whole and in the range")]
        InputValue::Float(number) if number.fract() == 0.0 && number.abs() < 9.0e18 => InputValue::Int(number as i64),
        other => other,
    }
}

/// The value of a text that stands for another type: a word, such as `yes`, or a number.
fn resolved(text: &str) -> Option<InputValue> {
    match text.as_bytes() {
        [b'0'..=b'9', ..] => number(text),
        [b'+' | b'-', ..] => word(text).or_else(|| number(text)),
        [b'.', ..] => word(text).or_else(|| fraction(text)),
        _ => word(text),
    }
}

/// The value of a scalar with a tag such as `!!int`, quoted or not.
///
/// # Errors
/// If the text is not of that type.
pub(super) fn tagged(text: String, tag: &str) -> Result<InputValue, String> {
    let value = match tag.strip_prefix("!!") {
        Some("bool" | "int" | "float" | "null" | "timestamp") => {
            resolved(&text).unwrap_or_else(|| InputValue::Text(text.as_str().into()))
        }
        Some("binary") => return binary(&text).map(InputValue::Text).ok_or_else(|| "is not Base64".to_owned()),
        // The tag !!str, and every tag that Kubernetes does not know.
        _ => return Ok(InputValue::Text(text.into())),
    };
    match (tag, value) {
        ("!!float", value @ InputValue::Float(_)) => Ok(written(value)),
        #[allow(clippy::cast_precision_loss, reason = "kubectl rounds too")]
        ("!!float", InputValue::Int(number)) => Ok(written(InputValue::Float(number as f64))),
        ("!!bool", value @ InputValue::Bool(_))
        | ("!!int", value @ InputValue::Int(_))
        | ("!!null", value @ InputValue::Null)
        | ("!!timestamp", value @ InputValue::Text(_)) => Ok(value),
        // Integers beyond 64 bits with sign.
        ("!!int", value @ InputValue::Float(_)) if !text.contains(['.', 'e', 'E']) => Ok(value),
        _ => Err(format!("is not of the type {tag}")),
    }
}

/// The key that a plain scalar is; `None` for null.
pub(super) fn plain_key(text: String) -> Option<Box<str>> {
    match resolved(&text) {
        Some(value) => key(value),
        None => Some(text.into()),
    }
}

/// The key that a value is; `None` for null, lists and mappings. kubectl makes strings of numbers and booleans.
pub(super) fn key(value: InputValue) -> Option<Box<str>> {
    match value {
        InputValue::Text(text) => Some(text),
        InputValue::Bool(value) => Some(value.to_string().into()),
        InputValue::Int(number) => Some(number.to_string().into()),
        #[allow(clippy::cast_possible_truncation, reason = "kubectl writes such keys with 32 bits")]
        InputValue::Float(number) => Some(shortest(number as f32).into()),
        InputValue::Null | InputValue::List(_) | InputValue::Map(_) => None,
    }
}

fn word(text: &str) -> Option<InputValue> {
    Some(match text {
        "" | "~" | "null" | "Null" | "NULL" => InputValue::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => InputValue::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => InputValue::Bool(false),
        ".nan" | ".NaN" | ".NAN" => InputValue::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => InputValue::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => InputValue::Float(f64::NEG_INFINITY),
        _ => return None,
    })
}

/// The number of a text that begins with a digit or a sign.
fn number(text: &str) -> Option<InputValue> {
    let plain = match text.contains('_') {
        true => &*text.replace('_', ""),
        false => text,
    };
    integer(plain).or_else(|| float(plain))
}

/// An integer: decimal, or by its prefix hexadecimal (`0x`), octal (`0o`, `0`) or binary (`0b`).
fn integer(text: &str) -> Option<InputValue> {
    let (is_negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, text.get(1..)?),
        [b'+', ..] => (false, text.get(1..)?),
        _ => (false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, digits.get(2..)?),
        [b'0', b'o' | b'O', ..] => (8, digits.get(2..)?),
        [b'0', b'b' | b'B', ..] => (2, digits.get(2..)?),
        [b'0', _, ..] => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    // `from_str_radix` takes a sign of its own.
    if !digits.bytes().all(|digit| char::from(digit).is_digit(radix)) {
        return None;
    }
    let number = i128::from(u64::from_str_radix(digits, radix).ok()?);
    match i64::try_from(if is_negative { -number } else { number }) {
        Ok(number) => Some(InputValue::Int(number)),
        // Beyond 64 bits with sign kubectl knows positive integers without one alone.
        #[allow(clippy::cast_precision_loss, reason = "JSON numbers of this size are rounded by most readers")]
        Err(_) => (!is_negative && !text.starts_with('+')).then_some(InputValue::Float(number as f64)),
    }
}

/// A decimal number. A number beyond the range of a double is a text, and printed without quotes: `1e999`.
fn float(text: &str) -> Option<InputValue> {
    let bytes = text.as_bytes();
    let begins =
        bytes.iter().find(|byte| !matches!(byte, b'+' | b'-')).is_some_and(|byte| matches!(byte, b'0'..=b'9' | b'.'));
    let is_decimal = bytes.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    let number: f64 = (begins && is_decimal).then(|| text.parse().ok())??;
    number.is_finite().then_some(InputValue::Float(number))
}

/// A decimal number that begins with its point. There `_` may stand between digits alone.
fn fraction(text: &str) -> Option<InputValue> {
    let groups: Vec<&str> = text.split('_').collect();
    let are_between = groups.windows(2).all(|pair| match pair {
        [before, after] => {
            before.ends_with(|end: char| end.is_ascii_digit())
                && after.starts_with(|start: char| start.is_ascii_digit())
        }
        _ => true,
    });
    if are_between { float(&groups.concat()) } else { None }
}

/// Base64 as text, in which a replacement character stands for each byte that is none.
fn binary(text: &str) -> Option<Box<str>> {
    const STANDARD: engine::GeneralPurpose =
        engine::GeneralPurpose::new(&alphabet::STANDARD, engine::general_purpose::PAD);
    let bytes = STANDARD.decode(text.replace(['\r', '\n'], "")).ok()?;
    let mut decoded = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        decoded.push_str(chunk.valid());
        decoded.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Some(decoded.into())
}

/// The shortest decimal that is this number, with an exponent from 10^6 and below 10^-4.
fn shortest(number: f32) -> String {
    if number.is_nan() {
        return ".nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse().unwrap_or(0) {
        -4..6 => number.to_string(),
        exponent @ 0.. => format!("{digits}e+{exponent:02}"),
        exponent => format!("{digits}e-{:02}", -exponent),
    }
}
