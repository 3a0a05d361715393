//! The module's file: the newest schema of the configuration that the module reads.

use std::{fs, io, path::Path};

use crate::input::InputError;

/// The custom section that the build writes.
const SECTION: &[u8] = b"byname.schema";

/// The first bytes of a module: the magic number and version 1 of the format.
const PREAMBLE: &[u8] = b"\0asm\x01\0\0\0";

/// The schema of the module at `path`, `VERSION.MINOR`. `None` if the file is not on this machine, or if the module does not say.
///
/// # Errors
/// If the file cannot be read, or is not a module.
pub fn schema_of(path: &Path) -> Result<Option<String>, InputError> {
    let fix = "correct --module: it is the path of byname.wasm on Envoy's machine";
    let error = |reason: String| InputError::new(&path.display().to_string(), reason, fix);
    match fs::read(path) {
        Ok(bytes) => schema(&bytes).ok_or_else(|| error("is not a WebAssembly module".to_owned())),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(unreadable) => Err(error(format!("cannot be read: {unreadable}"))),
    }
}

/// The content of [`SECTION`]. The outer `None` is for bytes that are not a module.
fn schema(module: &[u8]) -> Option<Option<String>> {
    let mut rest = module.strip_prefix(PREAMBLE)?;
    while let Some((id, after)) = rest.split_first() {
        let (section, after) = sized(after)?;
        if *id == 0 {
            let (name, content) = sized(section)?;
            if name == SECTION {
                return Some(Some(String::from_utf8(content.to_owned()).ok()?));
            }
        }
        rest = after;
    }
    Some(None)
}

/// The bytes whose number stands before them in LEB128, and the rest.
fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut size = 0_usize;
    for (index, byte) in bytes.iter().enumerate().take(5) {
        size |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return bytes.get(index + 1..)?.split_at_checked(size);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(sections: &[&[u8]]) -> Vec<u8> {
        [&[PREAMBLE], sections].concat().concat()
    }

    #[test]
    fn finds_the_schema_among_other_sections() {
        let of_schema = [b"\0\x11\x0d".as_slice(), SECTION, b"1.7"].concat();
        // A type section of 128 bytes has a size of two bytes.
        let long = [b"\x01\x80\x01".as_slice(), &[0; 128]].concat();
        assert_eq!(schema(&module(&[&long, b"\0\x03\x02ab", &of_schema])), Some(Some("1.7".to_owned())));
        assert_eq!(schema(&module(&[&long])), Some(None));
    }

    #[test]
    fn refuses_bytes_that_are_not_a_module() {
        for bytes in [&b"GIF89a"[..], b"", &module(&[b"\x01\x05abc"]), &module(&[b"\x01\xff\xff\xff\xff\xff\x01"])] {
            assert_eq!(schema(bytes), None, "{bytes:?}");
        }
    }
}
