//! UTF-16, as `kubectl get … > dump.yaml` writes it in Windows PowerShell.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

/// The byte order mark, which programs on Windows put in front of UTF-8 too.
pub const BYTE_ORDER_MARK: char = '\u{feff}';

/// The text of a file in UTF-8 or UTF-16, without a byte order mark.
///
/// # Errors
/// If the file cannot be read, or is no such text.
pub fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    as_utf8(BufReader::new(File::open(path)?))?.read_to_string(&mut text)?;
    Ok(text.strip_prefix(BYTE_ORDER_MARK).map(str::to_owned).unwrap_or(text))
}

/// The bytes of `reader`, with UTF-16 (told by its byte order mark) decoded to UTF-8.
///
/// # Errors
/// If the first bytes cannot be read.
pub fn as_utf8<'r>(mut reader: impl BufRead + 'r) -> io::Result<Box<dyn BufRead + 'r>> {
    let mut mark = Vec::with_capacity(2);
    // A pipe may bring the mark in two reads.
    reader.by_ref().take(2).read_to_end(&mut mark)?;
    let unit = match *mark {
        [0xff, 0xfe] => u16::from_le_bytes,
        [0xfe, 0xff] => u16::from_be_bytes,
        _ => return Ok(Box::new(io::Cursor::new(mark).chain(reader))),
    };
    Ok(Box::new(BufReader::new(Utf16 { reader, unit, high: None, decoded: io::Cursor::new(Vec::new()) })))
}

struct Utf16<R> {
    reader: R,
    unit: fn([u8; 2]) -> u16,
    /// The first half of a surrogate pair, until its second half is read.
    high: Option<u16>,
    decoded: io::Cursor<Vec<u8>>,
}

impl<R: BufRead> Utf16<R> {
    /// Decodes the next units into `decoded`; none at the end.
    fn decode(&mut self) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(1 << 12);
        self.reader.by_ref().take(1 << 12).read_to_end(&mut bytes)?;
        let (pairs, odd) = bytes.as_chunks();
        let mut units: Vec<u16> =
            self.high.take().into_iter().chain(pairs.iter().map(|pair| (self.unit)(*pair))).collect();
        if !pairs.is_empty() {
            self.high = units.pop_if(|last| (0xd800..0xdc00).contains(last));
        }
        let invalid = || io::Error::new(io::ErrorKind::InvalidData, "is not valid UTF-16");
        let text = String::from_utf16(&units).map_err(|_| invalid())?;
        if !odd.is_empty() {
            return Err(invalid());
        }
        self.decoded = io::Cursor::new(text.into_bytes());
        Ok(())
    }
}

impl<R: BufRead> Read for Utf16<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.decoded.read(buffer)?;
        if bytes > 0 || buffer.is_empty() {
            return Ok(bytes);
        }
        self.decode()?;
        // A block may be the half of one surrogate pair alone.
        if self.decoded.get_ref().is_empty() && self.high.is_some() {
            self.decode()?;
        }
        self.decoded.read(buffer)
    }
}
