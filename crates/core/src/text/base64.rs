//! Base64 with padding (RFC 4648 section 4), for packed tables. A crate for it would take 3 kB more of the module.

use alloc::{string::String, vec::Vec};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The base64 of some bytes.
pub(crate) fn encode_base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |index: usize| group.get(index).copied().unwrap_or_default();
        let bits = u32::from_be_bytes([0, byte(0), byte(1), byte(2)]);
        for symbol in 0..4 {
            let shifted = bits >> (18 - 6 * symbol) & 0x3f;
            let found = usize::try_from(shifted).ok().and_then(|index| ALPHABET.get(index));
            text.push(found.filter(|_| symbol <= group.len()).map_or('=', |symbol| char::from(*symbol)));
        }
    }
    text
}

/// The bytes of some base64; `None` for anything that [`encode_base64`] does not write.
#[inline(never)]
pub(crate) fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let symbols = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    // The last `count` bits belong to no byte yet. The bits above them are of earlier bytes.
    let (mut bits, mut count) = (0_u32, 0_u32);
    for symbol in symbols {
        bits = bits << 6 | u32::from(value(*symbol)?);
        count += 6;
        if count >= 8 {
            count -= 8;
            let [byte, ..] = (bits >> count).to_le_bytes();
            bytes.push(byte);
        }
    }
    (bits & ((1 << count) - 1) == 0).then_some(bytes)
}

/// The six bits that a symbol stands for.
#[inline(always)]
fn value(symbol: u8) -> Option<u8> {
    match symbol {
        b'A'..=b'Z' => Some(symbol - b'A'),
        b'a'..=b'z' => Some(symbol - b'a' + 26),
        b'0'..=b'9' => Some(symbol - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648 section 10, and bytes whose symbols are the two that are neither letters nor digits.
    #[test]
    fn reads_what_it_writes() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"foob", "Zm9vYg=="),
            (b"fooba", "Zm9vYmE="),
            (b"foobar", "Zm9vYmFy"),
            (b"\xfb\xff\xfe", "+//+"),
        ] {
            assert_eq!(encode_base64(bytes), text);
            assert_eq!(decode_base64(text.as_bytes()).as_deref(), Some(bytes), "{text}");
        }
    }

    #[test]
    fn equals_the_base64_crate() {
        use base64::{Engine, engine::general_purpose::STANDARD};
        for length in 0..256 {
            let bytes: Vec<u8> = (0..length).map(|n: u32| (n * 167 + length * 31).to_le_bytes()[0]).collect();
            assert_eq!(encode_base64(&bytes), STANDARD.encode(&bytes));
            assert_eq!(decode_base64(STANDARD.encode(&bytes).as_bytes()), Some(bytes));
        }
        // Every text of four of these symbols, valid or not.
        let symbols = b"AQZz/+09=-_\n";
        for first in symbols {
            for second in symbols {
                for third in symbols {
                    for fourth in symbols {
                        let text = [*first, *second, *third, *fourth];
                        assert_eq!(decode_base64(&text), STANDARD.decode(text).ok(), "{}", text.escape_ascii());
                    }
                }
            }
        }
    }

    #[test]
    fn refuses_all_else() {
        for text in
            ["Zg", "Zg=", "Zg===", "=", "==", "====", "Zh==", "Zm9=", "Zg==Zg==", "Z=g=", "Zm9v\n", "Zm-_", "Zm9vYg=a"]
        {
            assert_eq!(decode_base64(text.as_bytes()), None, "{text}");
        }
    }
}
