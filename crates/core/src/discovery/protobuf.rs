//! The bytes of protobuf: numbers, and fields that hold bytes.
//!
//! By hand, because a generated decoder of the few messages that a stream has would be a sixth of the module.
//! Protocol Buffers, "Encoding".

use alloc::vec::Vec;

/// Appends a field that holds bytes to a protobuf message.
#[inline(never)]
pub fn put_bytes(message: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    put_varint(message, u64::from(field) << 3 | u64::from(LENGTH_DELIMITED));
    // A message is far shorter than 2^32 bytes.
    put_varint(message, bytes.len() as u64);
    message.extend_from_slice(bytes);
}

/// Appends a field that holds a number.
pub fn put_number(message: &mut Vec<u8>, field: u32, number: u64) {
    put_varint(message, u64::from(field) << 3 | u64::from(VARINT));
    put_varint(message, number);
}

fn put_varint(message: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        message.push((number & 0x7f | 0x80) as u8);
        number >>= 7;
    }
    message.push(number as u8);
}

const VARINT: u8 = 0;
const FIXED_64: u8 = 1;
const LENGTH_DELIMITED: u8 = 2;
const FIXED_32: u8 = 5;

/// The message is torn, or is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Torn;

/// The fields of a message that hold bytes, in order: their number and the bytes. Other fields are skipped.
#[derive(Clone, Copy)]
pub(super) struct Fields<'b>(pub(super) &'b [u8]);

impl<'b> Fields<'b> {
    fn varint(&mut self) -> Result<u64, Torn> {
        let mut number = 0;
        for place in 0..10 {
            let (byte, rest) = self.0.split_first().ok_or(Torn)?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Torn)
    }

    fn bytes(&mut self, count: u64) -> Result<&'b [u8], Torn> {
        let (bytes, rest) = self.0.split_at_checked(usize::try_from(count).map_err(|_| Torn)?).ok_or(Torn)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn next_field(&mut self) -> Result<(u32, Option<&'b [u8]>), Torn> {
        let tag = self.varint()?;
        let field = u32::try_from(tag >> 3).map_err(|_| Torn)?;
        let bytes = match (tag & 7) as u8 {
            VARINT => {
                self.varint()?;
                None
            }
            FIXED_64 => {
                self.bytes(8)?;
                None
            }
            FIXED_32 => {
                self.bytes(4)?;
                None
            }
            LENGTH_DELIMITED => {
                let count = self.varint()?;
                Some(self.bytes(count)?)
            }
            _ => return Err(Torn),
        };
        if field == 0 { Err(Torn) } else { Ok((field, bytes)) }
    }
}

impl<'b> Iterator for Fields<'b> {
    type Item = Result<(u32, &'b [u8]), Torn>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.0.is_empty() {
            match self.next_field() {
                Ok((field, Some(bytes))) => return Some(Ok((field, bytes))),
                Ok((_, None)) => {}
                Err(torn) => {
                    // Nothing after it can be read.
                    self.0 = &[];
                    return Some(Err(torn));
                }
            }
        }
        None
    }
}
