//! Splits YAML and JSON documents into objects, one at a time. The items of a `List` are passed on as they are read, so a dump of
//! a whole cluster is never held in memory.

use std::{
    collections::{HashMap, HashSet},
    io::BufRead,
    sync::Arc,
};

use saphyr_parser::{BufferedInput, Event, Marker, Parser, ScalarStyle, ScanError, Tag};

use super::{
    error::InputError,
    node::{InputNode, InputValue},
    text::{Characters, ReaderState},
};

/// Maximum nesting depth. Kubernetes' own objects stay below 20.
const MAX_DEPTH: usize = 100;
/// Maximum values of one object, with those copied by aliases (`*name`). An EndpointSlice of 1,000 endpoints has 30,000.
const MAX_VALUES: usize = 250_000;

/// One object of a document.
#[derive(Debug)]
pub(super) struct DocumentObject {
    /// Number of its document, from 1.
    pub(super) document: u32,
    /// Its index in a list, from 0; `None` outside a list.
    pub(super) item: Option<u32>,
    /// The type of the list, if it stands before the items.
    pub(super) list: Option<ListType>,
    pub(super) node: InputNode,
}

/// `apiVersion` and `kind` of a list. They apply to items without their own, because the API server omits them in items.
#[derive(Clone, Debug)]
pub(super) struct ListType {
    pub(super) api_version: String,
    pub(super) kind: String,
}

/// Passes every object of `reader` to `each` until that returns an error. Returns whether any document was not empty; an empty
/// list counts.
pub(super) fn objects(
    reader: impl BufRead,
    file: &Arc<str>,
    each: &mut dyn FnMut(DocumentObject) -> Result<(), InputError>,
) -> Result<bool, InputError> {
    let state = ReaderState::default();
    let characters = Characters::new(reader, Arc::clone(file), state.clone());
    let mut documents = Documents {
        parser: Parser::new(BufferedInput::new(characters)),
        file: Arc::clone(file),
        state,
        number: 0,
        holds_something: false,
        anchors: HashMap::new(),
        values: 0,
        anchored: 0,
    };
    let read = documents.read(each);
    // A read error takes precedence: it is why the parser saw an early end.
    match documents.state.take_problem() {
        Some(problem) => Err(problem),
        None => read.map(|()| documents.holds_something),
    }
}

struct Documents<I: Iterator<Item = char>> {
    parser: Parser<'static, BufferedInput<I>>,
    file: Arc<str>,
    state: ReaderState,
    number: u32,
    holds_something: bool,
    anchors: HashMap<usize, InputNode>,
    /// Number of values in the current object.
    values: usize,
    /// Number of values below the anchors of the document.
    anchored: usize,
}

type ParserEvent = (Event<'static>, u32);

impl<I: Iterator<Item = char>> Documents<I> {
    fn read(&mut self, each: &mut dyn FnMut(DocumentObject) -> Result<(), InputError>) -> Result<(), InputError> {
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(()),
                (Event::DocumentStart(_), _) => {
                    self.number = self.number.saturating_add(1);
                    self.anchors.clear();
                    self.anchored = 0;
                    self.begin_object();
                    self.document(each)?;
                }
                _ => {}
            }
        }
    }

    fn begin_object(&mut self) {
        self.state.begin_object();
        self.values = 0;
    }

    fn document(&mut self, each: &mut dyn FnMut(DocumentObject) -> Result<(), InputError>) -> Result<(), InputError> {
        let (event, line) = self.next()?;
        match event {
            // An empty document, such as one with only comments.
            Event::Scalar(text, ScalarStyle::Plain, ..) if text.is_empty() || text == "null" || text == "~" => Ok(()),
            Event::MappingStart(..) => {
                self.holds_something = true;
                self.object(line, each)
            }
            _ => Err(self.problem("is not a Kubernetes object", line)),
        }
    }

    /// Reads an object or a list of objects. kubectl sorts the fields, so `kind` may come after `items`.
    fn object(
        &mut self,
        line: u32,
        each: &mut dyn FnMut(DocumentObject) -> Result<(), InputError>,
    ) -> Result<(), InputError> {
        let mut fields: Vec<(Box<str>, InputNode)> = Vec::new();
        let mut keys = HashSet::new();
        let mut is_list = false;
        loop {
            let (key, key_line) = match self.next()? {
                (Event::MappingEnd, _) => break,
                (event, line) => (self.key(event, line)?, line),
            };
            self.once(&mut keys, &key, key_line)?;
            let (event, line) = self.next()?;
            if !matches!(event, Event::SequenceStart(..)) || &*key != "items" {
                let value = self.value(event, line, 1)?;
                fields.push((key, InputNode { line: key_line, ..value }));
                continue;
            }
            is_list = true;
            let text = |name: &str| {
                let field = fields.iter().find(|(key, _)| **key == *name);
                field.and_then(|(_, node)| node.text()).map(str::to_owned)
            };
            let list = text("kind").zip(text("apiVersion")).map(|(kind, api_version)| ListType { api_version, kind });
            let mut index = 0;
            loop {
                let (event, line) = self.next()?;
                if event == Event::SequenceEnd {
                    break;
                }
                self.begin_object();
                let node = self.value(event, line, 2)?;
                if !matches!(node.value, InputValue::Map(_)) {
                    return Err(self.problem(format!("items[{index}] is not an object"), line));
                }
                each(DocumentObject { document: self.number, item: Some(index), list: list.clone(), node })?;
                index += 1;
            }
        }
        if is_list {
            return Ok(());
        }
        each(DocumentObject {
            document: self.number,
            item: None,
            list: None,
            node: InputNode { line, value: InputValue::Map(fields) },
        })
    }

    /// Adds `key` to `keys`; an error if it is there already.
    fn once(&self, keys: &mut HashSet<Box<str>>, key: &str, line: u32) -> Result<(), InputError> {
        match keys.insert(key.into()) {
            true => Ok(()),
            false => Err(self.problem(format!("has the field {key} twice"), line)),
        }
    }

    fn key(&self, event: Event<'static>, line: u32) -> Result<Box<str>, InputError> {
        match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<" => {
                Err(self.problem("has a merge key (<<), which Kubernetes does not support: write the fields out", line))
            }
            Event::Scalar(text, ..) => Ok(text.into()),
            _ => Err(self.problem("has a key that is not a string", line)),
        }
    }

    fn value(&mut self, event: Event<'static>, line: u32, depth: usize) -> Result<InputNode, InputError> {
        if depth > MAX_DEPTH {
            return Err(self.problem(format!("is nested more than {MAX_DEPTH} levels deep"), line));
        }
        self.count(1, line)?;
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, tag) => (anchor, scalar(&text, style, tag.as_deref())),
            Event::SequenceStart(anchor, _) => {
                let mut items = Vec::new();
                loop {
                    let (event, line) = self.next()?;
                    if event == Event::SequenceEnd {
                        break;
                    }
                    items.push(self.value(event, line, depth + 1)?);
                }
                (anchor, InputValue::List(items))
            }
            Event::MappingStart(anchor, _) => (anchor, self.map(depth)?),
            Event::Alias(anchor) => return self.aliased(anchor, line),
            _ => return Err(self.problem("ends in the middle of an object", line)),
        };
        let node = InputNode { line, value };
        if anchor != 0 {
            // Anchored values are kept until the end of the document.
            self.anchored += node.count();
            if self.anchored > MAX_VALUES {
                return Err(self.problem(format!("has more than {MAX_VALUES} values below anchors"), line));
            }
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn map(&mut self, depth: usize) -> Result<InputValue, InputError> {
        let mut fields: Vec<(Box<str>, InputNode)> = Vec::new();
        let mut keys = HashSet::new();
        loop {
            let (event, key_line) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(InputValue::Map(fields));
            }
            let key = self.key(event, key_line)?;
            self.once(&mut keys, &key, key_line)?;
            let (event, line) = self.next()?;
            let value = self.value(event, line, depth + 1)?;
            fields.push((key, InputNode { line: key_line, ..value }));
        }
    }

    fn aliased(&mut self, anchor: usize, line: u32) -> Result<InputNode, InputError> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err(self.problem("has an alias (*name) to an anchor that is not complete", line));
        };
        let node = node.clone();
        self.count(node.count(), line)?;
        Ok(node)
    }

    /// Adds `more` to the number of values; an error above the limit.
    fn count(&mut self, more: usize, line: u32) -> Result<(), InputError> {
        self.values += more;
        match self.values > MAX_VALUES {
            true => Err(self.problem(format!("has more than {MAX_VALUES} values in one object"), line)),
            false => Ok(()),
        }
    }

    fn next(&mut self) -> Result<ParserEvent, InputError> {
        match self.parser.next_event() {
            None => Ok((Event::StreamEnd, 0)),
            Some(Ok((event, span))) => Ok((event, line_of(&span.start))),
            Some(Err(error)) => Err(self.unreadable(&error)),
        }
    }

    fn unreadable(&self, error: &ScanError) -> InputError {
        let at = error.marker();
        let reason = format!("is not valid YAML or JSON: {}, at column {}", error.info(), at.col() + 1);
        self.problem(reason, line_of(at))
    }

    fn problem(&self, reason: impl Into<String>, line: u32) -> InputError {
        let fix = "pass the output of kubectl get -o yaml or -o json";
        InputError::new(&self.file, reason, fix).at_document(self.number.max(1)).at_line(line)
    }
}

fn line_of(marker: &Marker) -> u32 {
    u32::try_from(marker.line()).unwrap_or(u32::MAX)
}

/// Reads a scalar by YAML's core schema, which covers JSON; a quoted scalar is a string.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> InputValue {
    let is_text = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
    if style != ScalarStyle::Plain || is_text {
        return InputValue::Text(text.into());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return InputValue::Null,
        "true" | "True" | "TRUE" => return InputValue::Bool(true),
        "false" | "False" | "FALSE" => return InputValue::Bool(false),
        _ => {}
    }
    let starts_as_number = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
    let is_number = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
    if !starts_as_number || !text.chars().all(is_number) {
        return InputValue::Text(text.into());
    }
    // kubectl reads YAML 1.1, where a leading 0 is octal.
    if let Some(octal) = text.strip_prefix('0').filter(|rest| !rest.is_empty())
        && let Ok(number) = i64::from_str_radix(octal, 8)
    {
        return InputValue::Int(number);
    }
    if let Ok(number) = text.parse() {
        return InputValue::Int(number);
    }
    match text.parse() {
        Ok(number) => InputValue::Float(number),
        Err(_) => InputValue::Text(text.into()),
    }
}
