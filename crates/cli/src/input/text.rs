//! The characters of a stream, checked as they are read, so that memory is bounded by one piece whatever the input is.

use std::{
    cell::{Cell, RefCell},
    io::{self, BufRead},
    mem,
    rc::Rc,
    sync::Arc,
};

use super::{
    error::InputError,
    json::{Json, ends_in_escape},
};

/// Bytes of a line that are read at once.
const PIECE_BYTES: u64 = 64 << 10;
/// Maximum bytes of one object as indented and escaped text. etcd's limit of 1.5 MiB keeps objects far below.
const MAX_OBJECT_BYTES: usize = 32 << 20;

/// State shared by the reader of the characters and the parser.
#[derive(Clone, Debug, Default)]
pub(super) struct ReaderState {
    /// The error that ended the stream early.
    problem: Rc<RefCell<Option<InputError>>>,
    /// Bytes since the last object began.
    bytes: Rc<Cell<usize>>,
}

impl ReaderState {
    /// Resets the byte count at the start of an object.
    pub(super) fn begin_object(&self) {
        self.bytes.set(0);
    }

    /// Takes the error that ended the stream early, if any.
    pub(super) fn take_problem(&self) -> Option<InputError> {
        self.problem.borrow_mut().take()
    }
}

/// The characters of `reader`, read in pieces.
pub(super) struct Characters<R> {
    reader: R,
    state: ReaderState,
    file: Arc<str>,
    piece: String,
    /// Offset of the next character in `piece`.
    at: usize,
    /// Number of lines before this piece.
    lines: u32,
    is_over: bool,
    /// Whether anything but white space was read.
    has_begun: bool,
    /// Set if the stream is JSON.
    json: Option<Json>,
}

impl<R: BufRead> Characters<R> {
    pub(super) fn new(reader: R, file: Arc<str>, state: ReaderState) -> Self {
        Self {
            reader,
            state,
            file,
            piece: String::new(),
            at: 0,
            lines: 0,
            is_over: false,
            has_begun: false,
            json: None,
        }
    }

    /// Reads the next piece. Returns whether there is one.
    fn next_piece(&mut self) -> bool {
        if self.is_over {
            return false;
        }
        let is_first = self.at == 0;
        let ended = self.piece.bytes().filter(|byte| *byte == b'\n').count();
        self.lines = self.lines.saturating_add(u32::try_from(ended).unwrap_or(u32::MAX));
        self.at = 0;
        let bytes = mem::take(&mut self.piece).into_bytes();
        match self.read(bytes) {
            Ok(piece) => self.piece = piece,
            Err(problem) => {
                *self.state.problem.borrow_mut() = Some(problem.at_line(self.lines.saturating_add(1)));
                self.is_over = true;
            }
        }
        // A byte order mark at the start of a file has no meaning in UTF-8.
        if is_first && self.piece.starts_with('\u{feff}') {
            self.at = '\u{feff}'.len_utf8();
        }
        self.is_over |= self.piece.is_empty();
        let begin = self.piece.get(self.at..).unwrap_or_default().trim_start();
        if !self.has_begun && begin.starts_with('{') {
            self.json = Some(Json::default());
        }
        self.has_begun |= !begin.is_empty();
        if let Some(json) = &mut self.json {
            self.piece = json.as_yaml(self.piece.get(self.at..).unwrap_or_default());
            self.at = 0;
        }
        !self.is_over
    }

    /// Reads the next line, or the next part of a very long one; empty at the end. Reuses `bytes` as its buffer.
    fn read(&mut self, mut bytes: Vec<u8>) -> Result<String, InputError> {
        const TEXT: &str = "pass the output of kubectl get -o yaml or -o json";
        let problem = |reason: String| InputError::new(&self.file, reason, TEXT);
        bytes.clear();
        let mut most = PIECE_BYTES;
        let text = loop {
            let read = io::Read::take(&mut self.reader, most).read_until(b'\n', &mut bytes);
            let read = read.map_err(|error| InputError::new(&self.file, format!("cannot be read: {error}"), ""))?;
            match String::from_utf8(bytes) {
                Ok(text) if read > 0 && (self.json.is_some() || !self.has_begun) && ends_in_escape(text.as_bytes()) => {
                    most = 1;
                    bytes = text.into_bytes();
                }
                Ok(text) => break text,
                // The piece ends in the middle of a character.
                Err(error) if error.utf8_error().error_len().is_none() && read > 0 => {
                    most = 1;
                    bytes = error.into_bytes();
                }
                Err(_) => return Err(problem("is not UTF-8 text".to_owned())),
            }
        };
        self.state.bytes.set(self.state.bytes.get().saturating_add(text.len()));
        if self.state.bytes.get() > MAX_OBJECT_BYTES {
            return Err(problem(format!("an object is larger than {MAX_OBJECT_BYTES} bytes")));
        }
        match text.chars().find(|c| *c < ' ' && !matches!(c, '\t' | '\n' | '\r')) {
            Some(stray) => {
                Err(problem(format!("has the control character {stray:?}, which YAML and JSON do not allow")))
            }
            None => Ok(text),
        }
    }
}

impl<R: BufRead> Iterator for Characters<R> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        loop {
            let rest = self.piece.get(self.at..).unwrap_or_default();
            if let Some(next) = rest.chars().next() {
                self.at += next.len_utf8();
                return Some(next);
            }
            if !self.next_piece() {
                return None;
            }
        }
    }
}
