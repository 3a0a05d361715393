//! The text of a stream, checked as it is read, so that memory is bounded by one piece whatever the input is.

use std::{
    io::{self, BufRead, Read},
    mem,
};

/// Bytes of a line that are read at once.
const PIECE_BYTES: u64 = 64 << 10;
/// `kubectl cluster-info dump` prints the logs of each container between a line that begins so and a line that ends likewise.
const LOGS_START: &[u8] = b"==== START logs for ";
const LOGS_END: &[u8] = b"==== END logs for ";

/// A stream of text without control characters. A byte that is not UTF-8 becomes U+FFFD, as kubectl reads it.
pub(super) struct Text<'r> {
    reader: Box<dyn BufRead + 'r>,
    bytes: Vec<u8>,
    /// The first byte that is not UTF-8.
    garbled: Option<TextError>,
    /// Whether the next piece begins a line.
    at_line_start: bool,
    /// The number of lines that were read.
    lines: u32,
}

/// Why a stream cannot be read on.
#[derive(Clone, Debug)]
pub(super) struct TextError {
    pub(super) line: u32,
    pub(super) reason: String,
    /// Whether reading failed. Otherwise the stream is no text.
    pub(super) is_lost: bool,
}

impl<'r> Text<'r> {
    /// The text of `reader`, which begins after `lines` lines of its file.
    pub(super) fn new(reader: Box<dyn BufRead + 'r>, lines: u32) -> Self {
        Self { reader, bytes: Vec::new(), garbled: None, at_line_start: true, lines }
    }

    /// The first byte that is not UTF-8, if one was read.
    pub(super) fn garbled(&self) -> Option<&TextError> {
        self.garbled.as_ref()
    }

    /// Appends the next line, or the next part of a very long one, to `text`. Returns the number of lines that were left out
    /// before it; `None` at the end.
    pub(super) fn read(&mut self, text: &mut String) -> Result<Option<u32>, TextError> {
        let mut left_out = 0;
        self.read_piece()?;
        while self.at_line_start && self.bytes.starts_with(LOGS_START) {
            left_out += self.skip_logs()?;
            self.read_piece()?;
        }
        let lossy;
        let piece = match str::from_utf8(&self.bytes) {
            Ok(piece) => piece,
            Err(error) => {
                let byte = self.bytes.get(error.valid_up_to()).copied().unwrap_or_default();
                let reason = format!("has the byte 0x{byte:x}, which is not UTF-8 and becomes U+FFFD, as in kubectl");
                self.garbled = self.garbled.take().or_else(|| Some(self.problem(reason)));
                lossy = String::from_utf8_lossy(&self.bytes);
                &*lossy
            }
        };
        if piece.is_empty() {
            // kubectl ends the last line, which shows in a block scalar.
            let is_ended = mem::replace(&mut self.at_line_start, true);
            return Ok((!is_ended).then(|| text.push('\n')).map(|()| 0));
        }
        if let Some(stray) = piece.bytes().find(|byte| *byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r')) {
            return Err(self.problem(match stray {
                _ if str::from_utf8(&self.bytes).is_err() => "is not UTF-8 text".to_owned(),
                0 => "has the control character '\\0', as UTF-16 without a byte order mark and UTF-32 have".to_owned(),
                _ => format!("has the control character {:?}, which YAML and JSON do not allow", char::from(stray)),
            }));
        }
        self.at_line_start = piece.ends_with('\n');
        text.push_str(piece);
        self.lines = self.lines.saturating_add(u32::from(self.at_line_start));
        Ok(Some(left_out))
    }

    /// Reads the next line, or the next part of a very long one, into `bytes`. A part ends with a whole character.
    fn read_piece(&mut self) -> Result<(), TextError> {
        self.bytes.clear();
        let mut most = PIECE_BYTES;
        loop {
            let read = self.reader.by_ref().take(most).read_until(b'\n', &mut self.bytes);
            let read = read.map_err(|error| match error.kind() {
                io::ErrorKind::InvalidData => self.problem(error.to_string()),
                _ => TextError { is_lost: true, ..self.problem(format!("cannot be read: {error}")) },
            })?;
            // A piece that ends with a line break cannot end inside a character.
            if self.bytes.ends_with(b"\n") {
                return Ok(());
            }
            if !ends_inside_character(&self.bytes) || read == 0 {
                return Ok(());
            }
            most = 1;
        }
    }

    /// Skips the logs of a container up to the line that ends them. Returns the number of skipped lines.
    fn skip_logs(&mut self) -> Result<u32, TextError> {
        let before = self.lines;
        let of_container = self.bytes.get(LOGS_START.len()..).unwrap_or_default().trim_ascii_end();
        // Logs may have lines of the same form, so the container's name counts; and they may lack a last line break.
        let end = [LOGS_END, of_container].concat();
        let mut line = Vec::new();
        loop {
            self.lines = self.lines.saturating_add(u32::from(self.bytes.ends_with(b"\n")));
            if line.trim_ascii_end().ends_with(&end) {
                return Ok(self.lines - before);
            }
            if self.bytes.ends_with(b"\n") {
                line.clear();
            }
            self.read_piece()?;
            if self.bytes.is_empty() {
                return Err(self.problem("has logs of a container without the line that ends them"));
            }
            // The end may stand in two pieces of a long line.
            line.drain(..line.len().saturating_sub(end.len()));
            line.extend_from_slice(&self.bytes);
        }
    }

    fn problem(&self, reason: impl Into<String>) -> TextError {
        TextError { line: self.lines.saturating_add(1), reason: reason.into(), is_lost: false }
    }
}

/// Whether the last bytes begin a character and lack its end.
fn ends_inside_character(bytes: &[u8]) -> bool {
    // A character has at most 4 bytes. What precedes the last 3 may be the end of one, and is not looked at.
    (1..4).any(|count| {
        let last = bytes.len().checked_sub(count).and_then(|from| bytes.get(from..)).unwrap_or_default();
        str::from_utf8(last).is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
    })
}
