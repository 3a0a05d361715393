//! Splits a stream into documents, and each document into tokens, by the rules of the YAML library of kubectl (libyaml's, in
//! go-yaml 2): a flow collection knows no indentation, tabs may separate, and U+0085, U+2028 and U+2029 break lines.
//!
//! JSON takes the same way with its own rules where they differ: see [`Scanner::is_json`].

use std::{
    collections::VecDeque,
    io::{Seek, Write},
};

use tempfile::SpooledTempFile;

use super::{
    scalar::CORE_TAG,
    text::{Text, TextError},
    token::{Token, TokenKind},
};

/// Maximum characters of a key without `? ` before it.
const MAX_KEY: u64 = 1024;
/// Maximum bytes of one object as indented and escaped text. etcd's limit of 1.5 MiB keeps objects far below.
const MAX_OBJECT_BYTES: u64 = 32 << 20;
const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];
/// Maximum bytes of a copy in memory. A larger copy is a temporary file.
const MAX_COPY_IN_MEMORY: usize = 8 << 20;

/// Why a document is not YAML, and where.
#[derive(Debug)]
pub(super) struct ScanError {
    pub(super) line: u32,
    pub(super) reason: String,
}

type Scanned<T> = Result<T, ScanError>;

/// A place where a key began, if `:` follows the token there.
#[derive(Clone, Copy, Debug)]
struct PossibleKey {
    /// The number of the token.
    token: u64,
    /// Whether there must be a key: a value cannot begin in the column of the keys.
    is_required: bool,
    line: u32,
    column: u32,
    /// Line breaks and characters before it.
    breaks: u64,
    index: u64,
}

/// The scanner of a stream.
pub(super) struct Scanner<'r> {
    text: Text<'r>,
    /// What was read and is not scanned yet begins at `at`.
    buffer: String,
    at: usize,
    /// Set once nothing more can be read, because the stream is at its end or has an error.
    end: Option<Option<TextError>>,
    /// A copy of what is read, in memory as long as it is small.
    copy: Option<SpooledTempFile>,
    line: u32,
    /// Characters before the next one, in its line and in the stream.
    column: u32,
    index: u64,
    /// Line breaks before it, those included that count no line.
    breaks: u64,
    /// Bytes that were read, and as many when the current object began.
    bytes: u64,
    object: u64,
    /// Characters before the document.
    document: u64,
    /// Whether the document begins with `{`. Then keys may be long, no character but CR and LF breaks a line, and the next `{`
    /// begins another document.
    is_json: bool,
    /// The columns of the open indented collections: the innermost, and those around it.
    indent: Option<u32>,
    indents: Vec<Option<u32>>,
    is_key_allowed: bool,
    /// The possible key of the indented collections, and of each open flow collection.
    keys: Vec<Option<PossibleKey>>,
    tokens: VecDeque<Token>,
    /// The number of tokens that were taken.
    taken: u64,
}

impl<'r> Scanner<'r> {
    /// The scanner of `text`, which begins after `lines` lines of its file.
    pub(super) fn new(text: Text<'r>, lines: u32) -> Self {
        Self {
            text,
            buffer: String::new(),
            at: 0,
            end: None,
            copy: None,
            line: lines.saturating_add(1),
            column: 0,
            index: 0,
            breaks: 0,
            bytes: 0,
            object: 0,
            document: 0,
            is_json: false,
            indent: None,
            indents: Vec::new(),
            is_key_allowed: true,
            keys: Vec::new(),
            tokens: VecDeque::new(),
            taken: 0,
        }
    }

    /// The line of the next character.
    pub(super) fn line(&self) -> u32 {
        self.line
    }

    /// The error that ended the stream early, if any.
    pub(super) fn text_error(&self) -> Option<&TextError> {
        self.end.as_ref()?.as_ref()
    }

    /// The first byte that is not UTF-8, if one was read.
    pub(super) fn garbled(&self) -> Option<&TextError> {
        self.text.garbled()
    }

    /// Resets the byte count at the start of an object.
    pub(super) fn begin_object(&mut self) {
        self.object = self.bytes;
    }

    /// Copies what is scanned from here on.
    pub(super) fn start_copy(&mut self) {
        let mut copy = SpooledTempFile::new(MAX_COPY_IN_MEMORY);
        let written = copy.write_all(self.buffer.get(self.at..).unwrap_or_default().as_bytes());
        self.copy = written.is_ok().then_some(copy);
    }

    /// Ends the copy, and returns it.
    pub(super) fn take_copy(&mut self) -> Option<SpooledTempFile> {
        let mut copy = self.copy.take()?;
        copy.rewind().ok()?;
        Some(copy)
    }

    /// Whether the document is JSON, or YAML in its form.
    pub(super) fn is_json(&self) -> bool {
        self.is_json
    }

    /// Goes on to the next document, past comments and separators. Returns whether there is one, empty or not.
    pub(super) fn begin_document(&mut self) -> Scanned<bool> {
        let found = self.find_document();
        self.document = self.index;
        found
    }

    fn find_document(&mut self) -> Scanned<bool> {
        let follows_json = self.is_json;
        self.is_json = false;
        self.indent = None;
        self.indents.clear();
        self.keys = vec![None];
        self.tokens.clear();
        self.begin_object();
        let mut is_separated = self.index == 0 || follows_json;
        loop {
            self.limit()?;
            self.skip_run(|byte| matches!(byte, b' ' | b'\t'));
            match self.peek(0) {
                0 => return Ok(false),
                _ if self.is_break(0) => _ = self.skip_break(),
                // Files that were joined byte by byte have a mark at the start of each.
                _ if self.is_byte_order_mark() => self.at += BYTE_ORDER_MARK.len(),
                b'#' => self.skip_line(),
                // A directive, such as %YAML 1.1.
                b'%' if self.column == 0 => {
                    is_separated = true;
                    self.skip_line();
                }
                b'.' if self.is_at_marker() => {
                    is_separated = true;
                    self.skip_line();
                }
                b'-' if self.is_at_marker() => {
                    self.skip_bytes(3);
                    // A mapping that begins in the line of the separator would have no column.
                    self.is_key_allowed = false;
                    self.skip_run(|byte| matches!(byte, b' ' | b'\t'));
                    self.is_json = self.peek(0) == b'{';
                    // Files that were joined with separators have a mark behind each.
                    if self.is_break(0) {
                        self.skip_break();
                        self.is_key_allowed = true;
                        if self.is_byte_order_mark() {
                            self.at += BYTE_ORDER_MARK.len();
                        }
                    }
                    return Ok(true);
                }
                b'{' if is_separated => {
                    self.is_json = true;
                    return Ok(true);
                }
                _ if is_separated => {
                    self.is_key_allowed = true;
                    return Ok(true);
                }
                _ => return Err(self.problem("has text after the end of the document")),
            }
        }
    }

    /// Skips the rest of a document that cannot be read, up to a line that can only begin another one. Returns `false` if it is
    /// larger than an object may be; then nothing more of the stream can be read.
    pub(super) fn skip_document(&mut self) -> bool {
        loop {
            let is_next = self.index > self.document && self.column == 0;
            // JSON never begins with `{{`, as lines of templates do.
            let is_at_json = self.is_json && self.peek(0) == b'{' && self.peek(1) != b'{';
            if self.is_end() || is_next && (is_at_json || self.is_at_marker()) {
                return true;
            }
            if self.limit().is_err() {
                return false;
            }
            // kubectl splits files at line feeds alone.
            let rest = self.buffer.get(self.at..).unwrap_or_default();
            let line = rest.find('\n').map(|end| end + 1);
            let skipped = line.unwrap_or(rest.len());
            self.at += skipped;
            self.index += skipped as u64;
            self.line = self.line.saturating_add(u32::from(line.is_some()));
            self.column = u32::from(line.is_none());
        }
    }

    /// The next token, which stays.
    pub(super) fn next(&mut self) -> Scanned<&Token> {
        while self.needs_tokens()? {
            self.scan()?;
        }
        // A token was scanned above.
        self.tokens.front().ok_or_else(|| ScanError { line: self.line, reason: String::new() })
    }

    /// Takes the next token.
    pub(super) fn take_token(&mut self) -> Scanned<Token> {
        self.next()?;
        self.taken += 1;
        self.tokens.pop_front().ok_or_else(|| ScanError { line: self.line, reason: String::new() })
    }

    /// Whether the next token is unknown: none was scanned, or it may still turn out to be a key.
    fn needs_tokens(&mut self) -> Scanned<bool> {
        if self.tokens.is_empty() {
            return Ok(true);
        }
        let taken = self.taken;
        match self.keys.iter().position(|key| key.is_some_and(|key| key.token == taken)) {
            Some(level) => self.has_key(level),
            None => Ok(false),
        }
    }

    /// Whether a key may have begun at `level` of the flow collections. Forgets a key that has become too long.
    fn has_key(&mut self, level: usize) -> Scanned<bool> {
        let Some(slot) = self.keys.get_mut(level) else { return Ok(false) };
        let Some(key) = *slot else { return Ok(false) };
        if self.is_json || key.breaks == self.breaks && self.index <= key.index + MAX_KEY {
            return Ok(true);
        }
        *slot = None;
        if key.is_required { Err(no_colon(key.line)) } else { Ok(false) }
    }

    /// Notes that the next token may be a key.
    fn may_be_key(&mut self) -> Scanned<()> {
        if !self.is_key_allowed {
            return Ok(());
        }
        self.no_key()?;
        let key = PossibleKey {
            token: self.next_number(),
            is_required: self.is_block() && self.indent == Some(self.column),
            line: self.line,
            column: self.column,
            breaks: self.breaks,
            index: self.index,
        };
        if let Some(last) = self.keys.last_mut() {
            *last = Some(key);
        }
        Ok(())
    }

    /// Notes that what was scanned in the innermost collection is no key.
    fn no_key(&mut self) -> Scanned<()> {
        match self.keys.last_mut().and_then(Option::take) {
            Some(key) if key.is_required => Err(no_colon(key.line)),
            _ => Ok(()),
        }
    }

    fn is_block(&self) -> bool {
        self.keys.len() <= 1
    }

    fn push(&mut self, kind: TokenKind, line: u32) {
        self.tokens.push_back(Token { kind, line });
    }

    /// Inserts a token before the token of this number.
    fn insert(&mut self, number: u64, kind: TokenKind, line: u32) {
        let at = usize::try_from(number.saturating_sub(self.taken)).unwrap_or_default().min(self.tokens.len());
        self.tokens.insert(at, Token { kind, line });
    }

    /// The number of the next token that is scanned.
    fn next_number(&self) -> u64 {
        self.taken + self.tokens.len() as u64
    }

    /// Opens an indented collection at `column`, unless it is open. `token` is the number of its first token.
    fn open(&mut self, column: u32, token: u64, kind: TokenKind, line: u32) {
        if self.is_block() && self.indent.is_none_or(|indent| indent < column) {
            self.indents.push(self.indent);
            self.indent = Some(column);
            self.insert(token, kind, line);
        }
    }

    /// Closes the indented collections that are deeper than `column`; all of them for `None`.
    fn close(&mut self, column: Option<u32>) {
        while self.is_block() && self.indent > column {
            self.push(TokenKind::BlockEnd, self.line);
            self.indent = self.indents.pop().flatten();
        }
    }

    /// Scans the next token.
    fn scan(&mut self) -> Scanned<()> {
        self.skip_blank();
        self.limit()?;
        if self.is_end() || self.is_at_marker() {
            // An open flow collection shows as one to the reader of the tokens.
            self.keys.truncate(1);
            self.close(None);
            self.no_key()?;
            self.push(TokenKind::DocumentEnd, self.line);
            return Ok(());
        }
        self.close(Some(self.column));
        let (first, line) = (self.peek(0), self.line);
        match first {
            b'[' | b'{' => {
                // In JSON keys are strings, so there is no need to look ahead for a `:` behind the collection.
                if self.is_json {
                    self.no_key()?
                } else {
                    self.may_be_key()?
                }
                self.keys.push(None);
                self.is_key_allowed = true;
                self.push(if first == b'[' { TokenKind::FlowList } else { TokenKind::FlowMap }, line);
            }
            b']' | b'}' => {
                self.no_key()?;
                if !self.is_block() {
                    self.keys.pop();
                }
                self.is_key_allowed = false;
                self.push(if first == b']' { TokenKind::FlowListEnd } else { TokenKind::FlowMapEnd }, line);
            }
            b',' => {
                self.no_key()?;
                self.is_key_allowed = true;
                self.push(TokenKind::Comma, line);
            }
            b'-' if self.is_blank_or_end(1) => self.item()?,
            b'?' if !self.is_block() || self.is_blank_or_end(1) => self.key()?,
            b':' if !self.is_block() || self.is_blank_or_end(1) => self.value()?,
            b'*' | b'&' => return self.anchor(first),
            b'!' => return self.tag(),
            b'|' | b'>' if self.is_block() => return self.block_scalar(first == b'|'),
            b'"' | b'\'' => return self.quoted_scalar(first),
            b'#' | b'|' | b'>' | b'%' | b'@' | b'`' | b'\t' => return Err(self.unexpected()),
            _ => return self.plain_scalar(),
        }
        self.skip_char();
        Ok(())
    }

    fn item(&mut self) -> Scanned<()> {
        if self.is_block() {
            if !self.is_key_allowed {
                return Err(self.problem("has a list item (- ) where none can begin"));
            }
            self.open(self.column, self.next_number(), TokenKind::BlockList, self.line);
        }
        self.no_key()?;
        self.is_key_allowed = true;
        self.push(TokenKind::BlockItem, self.line);
        Ok(())
    }

    fn key(&mut self) -> Scanned<()> {
        if self.is_block() {
            if !self.is_key_allowed {
                return Err(self.problem("has a key (? ) where none can begin"));
            }
            self.open(self.column, self.next_number(), TokenKind::BlockMap, self.line);
        }
        self.no_key()?;
        self.is_key_allowed = self.is_block();
        self.push(TokenKind::Key, self.line);
        Ok(())
    }

    fn value(&mut self) -> Scanned<()> {
        let level = self.keys.len().saturating_sub(1);
        if self.has_key(level)?
            && let Some(key) = self.keys.last_mut().and_then(Option::take)
        {
            self.insert(key.token, TokenKind::Key, key.line);
            self.open(key.column, key.token, TokenKind::BlockMap, key.line);
            self.is_key_allowed = false;
        } else {
            if self.is_block() {
                if !self.is_key_allowed {
                    return Err(self.problem("has a value (: ) where none can begin; quote a text that has a colon"));
                }
                self.open(self.column, self.next_number(), TokenKind::BlockMap, self.line);
            }
            self.is_key_allowed = self.is_block();
        }
        self.push(TokenKind::Value, self.line);
        Ok(())
    }

    fn anchor(&mut self, indicator: u8) -> Scanned<()> {
        self.may_be_key()?;
        self.is_key_allowed = false;
        let line = self.line;
        self.skip_char();
        let mut name = String::new();
        self.take_run(&mut name, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        let ends =
            self.is_blank_or_end(0) || matches!(self.peek(0), b'?' | b':' | b',' | b']' | b'}' | b'%' | b'@' | b'`');
        if name.is_empty() || !ends {
            return Err(self.problem("has an anchor (&) or an alias (*) whose name is not letters and digits"));
        }
        self.push(if indicator == b'*' { TokenKind::Alias(name.into()) } else { TokenKind::Anchor(name.into()) }, line);
        Ok(())
    }

    fn tag(&mut self) -> Scanned<()> {
        self.may_be_key()?;
        self.is_key_allowed = false;
        let line = self.line;
        let mut tag = String::new();
        if self.peek(1) == b'<' {
            self.skip_bytes(2);
            self.take_run(&mut tag, |byte| byte.is_ascii_graphic() && byte != b'>');
            if self.peek(0) != b'>' {
                return Err(self.problem("has a tag (!<) without its end (>)"));
            }
            self.skip_char();
            if let Some(core) = tag.strip_prefix(CORE_TAG) {
                tag = format!("!!{core}");
            }
        } else {
            self.take_run(&mut tag, |byte| byte.is_ascii_graphic() && !matches!(byte, b'{' | b'}' | b'"' | b'#'));
        }
        if !self.is_blank_or_end(0) {
            return Err(self.problem("has a tag (!) without a space behind it"));
        }
        self.push(TokenKind::Tag(tag.into()), line);
        Ok(())
    }

    fn plain_scalar(&mut self) -> Scanned<()> {
        self.may_be_key()?;
        self.is_key_allowed = false;
        let (line, is_block) = (self.line, self.is_block());
        let indent = self.indent.map_or(0, |indent| indent + 1);
        let mut text = String::new();
        let mut folds = Folds::default();
        let mut blanks = String::new();
        loop {
            if self.is_at_marker() || self.peek(0) == b'#' {
                break;
            }
            while !self.is_blank_or_end(0) {
                let first = self.peek(0);
                if first == b':' && self.is_blank_or_end(1)
                    || !is_block && matches!(first, b',' | b'?' | b'[' | b']' | b'{' | b'}')
                {
                    break;
                }
                if !folds.join(&mut text) {
                    text.push_str(&blanks);
                }
                blanks.clear();
                self.take(&mut text, |byte| {
                    byte > b' ' && !matches!(byte, b':' | b',' | b'?' | b'[' | b']' | b'{' | b'}' | 0xc2 | 0xe2)
                });
                self.limit()?;
            }
            if !self.is_blank(0) && !self.is_break(0) {
                break;
            }
            loop {
                if self.is_break(0) {
                    folds.push(self.skip_break());
                } else if !self.is_blank(0) {
                    break;
                } else if folds.are_none() {
                    self.take_char(&mut blanks);
                } else if self.peek(0) == b'\t' && self.column < indent {
                    return Err(self.problem("has a tab where an indentation by spaces is expected"));
                } else {
                    self.skip_char();
                }
                self.limit()?;
            }
            if is_block && self.column < indent {
                break;
            }
        }
        // Line breaks behind it were skipped, so a key may follow.
        self.is_key_allowed |= !folds.are_none();
        self.push(TokenKind::Scalar { text, is_plain: true }, line);
        Ok(())
    }

    fn quoted_scalar(&mut self, quote: u8) -> Scanned<()> {
        self.may_be_key()?;
        self.is_key_allowed = false;
        let line = self.line;
        self.skip_char();
        let mut text = String::new();
        let mut folds = Folds::default();
        let mut blanks = String::new();
        loop {
            if self.is_at_marker() || self.is_end() {
                return Err(ScanError { line, reason: "has a quoted text without its end".to_owned() });
            }
            self.limit()?;
            let first = self.peek(0);
            if self.is_break(0) {
                blanks.clear();
                folds.push(self.skip_break());
                continue;
            }
            if matches!(first, b' ' | b'\t') {
                if folds.are_none() {
                    self.take_run(&mut blanks, |byte| matches!(byte, b' ' | b'\t'));
                } else {
                    self.skip_char();
                }
                continue;
            }
            if !folds.join(&mut text) {
                text.push_str(&blanks);
            }
            blanks.clear();
            match first {
                b'\'' if quote == b'\'' && self.peek(1) == b'\'' => {
                    text.push('\'');
                    self.skip_bytes(2);
                }
                _ if first == quote => break,
                b'\\' if quote == b'"' => {
                    self.skip_char();
                    if self.is_break(0) {
                        self.skip_break();
                        folds.skip();
                    } else {
                        let escaped = self.escape()?;
                        text.push(escaped);
                    }
                }
                _ => {
                    self.take(&mut text, |byte| byte > b' ' && !matches!(byte, b'"' | b'\'' | b'\\' | 0xc2 | 0xe2));
                }
            }
        }
        self.skip_char();
        self.push(TokenKind::Scalar { text, is_plain: false }, line);
        Ok(())
    }

    /// The character of the escape behind a backslash.
    fn escape(&mut self) -> Scanned<char> {
        let letter = self.peek(0);
        let simple = match letter {
            b'0' => '\0',
            b'a' => '\x07',
            b'b' => '\x08',
            b't' | b'\t' => '\t',
            b'n' => '\n',
            b'v' => '\x0b',
            b'f' => '\x0c',
            b'r' => '\r',
            b'e' => '\x1b',
            // The slash is of JSON, the single quote of kubectl's library.
            b' ' | b'"' | b'\'' | b'\\' | b'/' => char::from(letter),
            b'N' => '\u{85}',
            b'_' => '\u{a0}',
            b'L' => '\u{2028}',
            b'P' => '\u{2029}',
            b'x' | b'u' | b'U' => {
                let digits = match letter {
                    b'x' => 2,
                    b'u' => 4,
                    _ => 8,
                };
                return self.escaped_code(digits);
            }
            _ => return Err(self.problem("has an unknown escape (\\) in a quoted text")),
        };
        self.skip_char();
        Ok(simple)
    }

    /// The character of a hexadecimal escape, whose letter is next. JSON has characters beyond U+FFFF as two escapes.
    fn escaped_code(&mut self, digits: usize) -> Scanned<char> {
        let code = self.hexadecimal(1, digits);
        let low =
            (self.peek(digits + 1) == b'\\' && self.peek(digits + 2) == b'u').then(|| self.hexadecimal(digits + 3, 4));
        let (found, length) = match (code, low.flatten()) {
            (Some(high @ 0xd800..0xdc00), Some(low @ 0xdc00..0xe000)) => {
                (char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)), 2 * digits + 3)
            }
            // In JSON half a pair stands for no character.
            (Some(0xd800..0xe000), _) if self.is_json => (Some(char::REPLACEMENT_CHARACTER), digits + 1),
            (code, _) => (code.and_then(char::from_u32), digits + 1),
        };
        let found = found.ok_or_else(|| self.problem("has an escape (\\) in a quoted text that is no character"))?;
        self.skip_bytes(length);
        Ok(found)
    }

    fn hexadecimal(&mut self, ahead: usize, digits: usize) -> Option<u32> {
        (ahead..ahead + digits).try_fold(0_u32, |number, ahead| {
            let digit = char::from(self.peek(ahead)).to_digit(16)?;
            number.checked_mul(16)?.checked_add(digit)
        })
    }

    fn block_scalar(&mut self, is_literal: bool) -> Scanned<()> {
        self.no_key()?;
        self.is_key_allowed = true;
        let line = self.line;
        self.skip_char();
        let (mut chomping, mut deeper) = (None, None);
        for _ in 0..2 {
            match self.peek(0) {
                sign @ (b'+' | b'-') if chomping.is_none() => chomping = Some(sign),
                digit @ b'1'..=b'9' if deeper.is_none() => deeper = Some(u32::from(digit - b'0')),
                _ => break,
            }
            self.skip_char();
        }
        self.skip_run(|byte| matches!(byte, b' ' | b'\t'));
        if self.peek(0) == b'#' {
            self.skip_line();
        }
        if !self.is_break_or_end(0) {
            return Err(self.problem("has text behind | or >; begin it in the next line"));
        }
        self.skip_break();
        let mut text = String::new();
        let mut first_break = "";
        let mut more_breaks = String::new();
        let mut indent = deeper.map(|deeper| self.indent.unwrap_or(0) + deeper);
        let mut column = self.block_breaks(&mut indent, &mut more_breaks)?;
        let mut was_blank = false;
        while self.column == column && !self.is_end() {
            let is_blank = self.is_blank(0);
            if is_literal || was_blank || is_blank || first_break != "\n" {
                text.push_str(first_break);
            } else if more_breaks.is_empty() {
                text.push(' ');
            }
            text.push_str(&more_breaks);
            more_breaks.clear();
            was_blank = is_blank;
            while !self.is_break_or_end(0) {
                self.take(&mut text, |byte| byte >= b' ' && !matches!(byte, 0xc2 | 0xe2));
                self.limit()?;
            }
            first_break = self.skip_break();
            column = self.block_breaks(&mut indent, &mut more_breaks)?;
        }
        if chomping != Some(b'-') {
            text.push_str(first_break);
        }
        if chomping == Some(b'+') {
            text.push_str(&more_breaks);
        }
        self.push(TokenKind::Scalar { text, is_plain: false }, line);
        Ok(())
    }

    /// Skips the indentation of a block scalar's next line, and the empty lines before it. Returns the block's column.
    fn block_breaks(&mut self, indent: &mut Option<u32>, breaks: &mut String) -> Scanned<u32> {
        let mut deepest = 0;
        loop {
            while indent.is_none_or(|indent| self.column < indent) && self.peek(0) == b' ' {
                self.skip_char();
            }
            deepest = deepest.max(self.column);
            if indent.is_none_or(|indent| self.column < indent) && self.peek(0) == b'\t' {
                return Err(self.problem("has a tab where an indentation by spaces is expected"));
            }
            if !self.is_break(0) {
                break;
            }
            breaks.push_str(self.skip_break());
            self.limit()?;
        }
        Ok(*indent.get_or_insert_with(|| deepest.max(self.indent.map_or(0, |indent| indent + 1)).max(1)))
    }

    /// Skips white space, line breaks and comments before a token.
    fn skip_blank(&mut self) {
        loop {
            // A tab is no indentation.
            let may_be_tab = !self.is_block() || !self.is_key_allowed;
            self.skip_run(|byte| byte == b' ' || byte == b'\t' && may_be_tab);
            if self.peek(0) == b'#' {
                self.skip_line();
            }
            if !self.is_break(0) || self.bytes - self.object > MAX_OBJECT_BYTES {
                return;
            }
            self.skip_break();
            self.is_key_allowed |= self.is_block();
        }
    }

    /// Skips the rest of the line, without its break.
    fn skip_line(&mut self) {
        while !self.is_break_or_end(0) {
            self.skip_char();
            self.skip_run(|byte| byte >= b' ' && !matches!(byte, 0xc2 | 0xe2));
        }
    }

    /// Whether the next line is `---` or `...`, perhaps with text behind a space.
    fn is_at_marker(&mut self) -> bool {
        if self.column > 0 {
            return false;
        }
        let start = if self.is_byte_order_mark() { BYTE_ORDER_MARK.len() } else { 0 };
        let marker = self.peek(start);
        matches!(marker, b'-' | b'.')
            && (self.peek(start + 1), self.peek(start + 2)) == (marker, marker)
            && self.is_blank_or_end(start + 3)
    }

    fn is_byte_order_mark(&mut self) -> bool {
        (0..).zip(BYTE_ORDER_MARK).all(|(ahead, byte)| self.peek(ahead) == byte)
    }

    fn is_blank(&mut self, ahead: usize) -> bool {
        matches!(self.peek(ahead), b' ' | b'\t')
    }

    fn is_break(&mut self, ahead: usize) -> bool {
        match self.peek(ahead) {
            b'\n' | b'\r' => true,
            0xc2 => !self.is_json && self.peek(ahead + 1) == 0x85,
            0xe2 => !self.is_json && self.peek(ahead + 1) == 0x80 && matches!(self.peek(ahead + 2), 0xa8 | 0xa9),
            _ => false,
        }
    }

    fn is_break_or_end(&mut self, ahead: usize) -> bool {
        self.peek(ahead) == 0 || self.is_break(ahead)
    }

    fn is_blank_or_end(&mut self, ahead: usize) -> bool {
        self.is_blank(ahead) || self.is_break_or_end(ahead)
    }

    /// The byte `ahead` of the next one; 0 behind the end. The text has no other.
    #[inline]
    fn peek(&mut self, ahead: usize) -> u8 {
        match self.buffer.as_bytes().get(self.at + ahead) {
            Some(byte) => *byte,
            None => self.peek_behind(ahead),
        }
    }

    #[cold]
    fn peek_behind(&mut self, ahead: usize) -> u8 {
        while self.buffer.len() <= self.at + ahead && self.end.is_none() {
            self.fill();
        }
        self.buffer.as_bytes().get(self.at + ahead).copied().unwrap_or_default()
    }

    fn is_end(&mut self) -> bool {
        self.peek(0) == 0
    }

    /// Reads on.
    fn fill(&mut self) {
        self.buffer.drain(..self.at);
        self.at = 0;
        let before = self.buffer.len();
        match self.text.read(&mut self.buffer) {
            // Logs are left out between documents, whose text was scanned up to here.
            Ok(Some(left_out)) => self.line = self.line.saturating_add(left_out),
            Ok(None) => self.end = Some(None),
            Err(error) => self.end = Some(Some(error)),
        }
        let read = self.buffer.as_bytes().get(before..).unwrap_or_default();
        self.bytes += read.len() as u64;
        if let Some(copy) = &mut self.copy
            && let Err(error) = copy.write_all(read)
        {
            let reason =
                format!("has a list that does not begin with its kind and cannot be held in a temporary file: {error}");
            self.end = Some(Some(TextError { line: self.line, reason, is_lost: true }));
        }
    }

    fn skip_char(&mut self) {
        let Some(next) = self.buffer.get(self.at..).and_then(|rest| rest.chars().next()) else { return };
        self.at += next.len_utf8();
        self.column = self.column.saturating_add(1);
        self.index += 1;
    }

    /// Skips ASCII characters.
    fn skip_bytes(&mut self, count: usize) {
        for _ in 0..count {
            self.skip_char();
        }
    }

    /// Skips a line break, if there is one. Returns the break as the values of scalars have it.
    fn skip_break(&mut self) -> &'static str {
        // Editors count no line for the others.
        let (found, length, lines) = match self.peek(0) {
            b'\r' if self.peek(1) == b'\n' => ("\n", 2, 1),
            b'\r' | b'\n' => ("\n", 1, 1),
            0xc2 if self.is_break(0) => ("\n", 2, 0),
            0xe2 if self.is_break(0) => (if self.peek(2) == 0xa8 { "\u{2028}" } else { "\u{2029}" }, 3, 0),
            _ => return "",
        };
        self.at += length;
        self.line = self.line.saturating_add(lines);
        self.column = 0;
        self.index += 1;
        self.breaks += 1;
        found
    }

    /// Appends the next character to `text`.
    fn take_char(&mut self, text: &mut String) {
        let from = self.at;
        self.skip_char();
        text.push_str(self.buffer.get(from..self.at).unwrap_or_default());
    }

    /// Appends the next character to `text`, and the bytes behind it if all are `wanted`.
    fn take(&mut self, text: &mut String, wanted: impl Fn(u8) -> bool) {
        if !wanted(self.peek(0)) {
            self.take_char(text);
        }
        self.take_run(text, wanted);
    }

    /// Appends the bytes up to one that is not `wanted` to `text`.
    fn take_run(&mut self, text: &mut String, wanted: impl Fn(u8) -> bool) {
        self.each_run(wanted, |run| text.push_str(run));
    }

    /// Skips the bytes up to one that is not `wanted`.
    fn skip_run(&mut self, wanted: impl Fn(u8) -> bool) {
        self.each_run(wanted, |_| {});
    }

    /// Passes on the bytes up to one that is not `wanted`, or up to the size of an object. `wanted` keeps characters whole, and
    /// wants no line break.
    fn each_run(&mut self, wanted: impl Fn(u8) -> bool, mut each: impl FnMut(&str)) {
        while self.peek(0) != 0 && self.bytes - self.object <= MAX_OBJECT_BYTES {
            let rest = self.buffer.get(self.at..).unwrap_or_default();
            let length = rest.bytes().position(|byte| !wanted(byte)).unwrap_or(rest.len());
            let run = rest.get(..length).unwrap_or_default();
            each(run);
            let is_over = length < rest.len();
            let characters = if run.is_ascii() { length } else { run.chars().count() };
            self.at += length;
            self.column = self.column.saturating_add(u32::try_from(characters).unwrap_or(u32::MAX));
            self.index += characters as u64;
            if is_over {
                return;
            }
        }
    }

    /// An error if the object is too large.
    fn limit(&self) -> Scanned<()> {
        if self.bytes - self.object > MAX_OBJECT_BYTES {
            return Err(self.problem(format!("an object is larger than {MAX_OBJECT_BYTES} bytes")));
        }
        Ok(())
    }

    fn unexpected(&mut self) -> ScanError {
        let found = self.buffer.get(self.at..).and_then(|rest| rest.chars().next()).unwrap_or_default();
        let column = self.column.saturating_add(1);
        self.problem(format!("has {found:?} where no value can begin with it, at column {column}"))
    }

    fn problem(&self, reason: impl Into<String>) -> ScanError {
        ScanError { line: self.line, reason: reason.into() }
    }
}

fn no_colon(line: u32) -> ScanError {
    ScanError { line, reason: "has a key without its colon (:)".to_owned() }
}

/// The line breaks between two words of a scalar. One break is a space; of more the first is left out.
#[derive(Debug, Default)]
struct Folds {
    first: Option<&'static str>,
    more: String,
}

impl Folds {
    fn are_none(&self) -> bool {
        self.first.is_none()
    }

    fn push(&mut self, found: &'static str) {
        match self.first {
            None => self.first = Some(found),
            Some(_) => self.more.push_str(found),
        }
    }

    /// Begins with a break that leaves nothing.
    fn skip(&mut self) {
        self.first = Some("");
    }

    /// Appends the breaks to `text` and forgets them. Returns whether there were any.
    fn join(&mut self, text: &mut String) -> bool {
        let Some(first) = self.first.take() else { return false };
        match first {
            "\n" if self.more.is_empty() => text.push(' '),
            "\n" => text.push_str(&self.more),
            other => {
                text.push_str(other);
                text.push_str(&self.more);
            }
        }
        self.more.clear();
        true
    }
}
