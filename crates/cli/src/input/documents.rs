//! Splits YAML and JSON documents into objects, one at a time. The items of a `List` are passed on as they are read, so a dump of
//! a whole cluster is never held in memory.

use std::{
    collections::{HashMap, HashSet},
    io::{BufRead, BufReader},
    mem,
    sync::Arc,
};

use super::{
    bad_document::{BadDocument, Remains, TopLevel, WATCH_EVENTS},
    error::InputError,
    node::{InputNode, InputValue, RepeatedField},
    scalar,
    scanner::{ScanError, Scanner},
    text::Text,
    token::{Token, TokenKind},
};

/// What to do about input that cannot be read.
const FIX: &str = "pass the output of kubectl get -o yaml or -o json";

/// What to do about bytes that are not UTF-8.
const UTF_8_FIX: &str = "convert the file: iconv -f WINDOWS-1252 -t UTF-8";

/// Mappings whose keys may be given twice: the last one counts.
const LABELS: [&str; 2] = ["labels", "annotations"];
/// Maximum nesting depth. Kubernetes' own objects stay below 20.
const MAX_DEPTH: usize = 100;
/// Maximum values of one object, with those copied by aliases (`*name`). An EndpointSlice of 1,000 endpoints has 30,000.
const MAX_VALUES: usize = 250_000;
/// Maximum bytes that all aliases of a file may copy.
const MAX_ALIASED_BYTES: usize = 32 << 20;

/// One object of a document.
#[derive(Debug)]
pub(super) struct DocumentObject {
    /// Number of its document, from 1.
    pub(super) document: u32,
    /// Its index in a list, from 0; `None` outside a list.
    pub(super) item: Option<u32>,
    /// The type of the list.
    pub(super) list: Option<ListType>,
    /// The first field that it has twice.
    pub(super) repeated: Option<RepeatedField>,
    pub(super) node: InputNode,
}

impl DocumentObject {
    /// The object and the type of a watch event, as `kubectl get --watch --output-watch-events` prints it.
    pub(super) fn watch_event(&mut self) -> Option<(Box<str>, InputNode)> {
        let event = self.node.get("type").and_then(InputNode::text).filter(|text| WATCH_EVENTS.contains(text))?.into();
        if self.node.get("kind").is_some() {
            return None;
        }
        let object = self.node.get_mut("object").filter(|object| matches!(object.value, InputValue::Map(_)))?;
        Some((event, mem::replace(object, InputNode { line: object.line, value: InputValue::Null })))
    }
}

/// `apiVersion` and `kind` of a list. They apply to items without their own, because the API server omits them in items.
#[derive(Clone, Debug)]
pub(super) struct ListType {
    pub(super) api_version: String,
    pub(super) kind: String,
}

/// What was read of a file.
#[derive(Debug)]
pub(super) struct ReadFile {
    /// Whether any document was not empty; an empty list counts.
    pub(super) holds_something: bool,
    /// The first byte that is not UTF-8.
    pub(super) garbled: Option<InputError>,
}

impl ReadFile {
    /// Whether any document was not empty.
    ///
    /// # Errors
    /// The first byte that is not UTF-8.
    pub(super) fn in_utf_8(self) -> Result<bool, InputError> {
        self.garbled.map_or(Ok(self.holds_something), Err)
    }
}

/// Passes every object of `text` to `each` until that returns an error, and each document that cannot be read.
pub(super) fn objects(text: Text<'_>, file: &Arc<str>, each: Each<'_>) -> Result<ReadFile, InputError> {
    let mut documents = Documents::new(Scanner::new(text, 0), Arc::clone(file), 0);
    while documents.read_next(each)? {}
    let garbled = documents.scanner.garbled();
    let garbled = garbled.map(|error| InputError::new(file, error.reason.clone(), UTF_8_FIX).at_line(error.line));
    Ok(ReadFile { holds_something: documents.holds_something, garbled })
}

/// The caller's function for each object, and for each document that cannot be read.
pub(super) type Each<'e> = &'e mut dyn FnMut(Result<DocumentObject, BadDocument>) -> Result<(), InputError>;

struct Documents<'r> {
    scanner: Scanner<'r>,
    file: Arc<str>,
    number: u32,
    holds_something: bool,
    anchors: HashMap<Box<str>, InputNode>,
    /// Number of values in the current object.
    values: usize,
    /// Bytes of the values below the anchors of the document.
    anchored: usize,
    /// Bytes that the aliases of the file have copied.
    aliased: usize,
    /// The first field that the current object has twice.
    repeated: Option<RepeatedField>,
    /// Set while a list is read for the second time, because its type came after its items.
    again: Option<ListType>,
    /// The fields of the document that say what it holds, as far as it was read.
    top_level: TopLevel,
}

/// Why a document is not read to its end.
enum Halt {
    /// It cannot be read.
    Unreadable(InputError),
    /// The caller wants no more.
    Caller(InputError),
}

impl From<InputError> for Halt {
    fn from(error: InputError) -> Self {
        Self::Unreadable(error)
    }
}

/// The form of a list or mapping.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// By indentation.
    Block,
    /// A list in the column of its key.
    Indentless,
    /// In brackets.
    Flow,
}

/// What stands before a value.
#[derive(Default)]
struct Properties {
    anchor: Option<Box<str>>,
    tag: Option<Box<str>>,
}

impl<'r> Documents<'r> {
    fn new(scanner: Scanner<'r>, file: Arc<str>, number: u32) -> Self {
        Self {
            scanner,
            file,
            number,
            holds_something: false,
            anchors: HashMap::new(),
            values: 0,
            anchored: 0,
            aliased: 0,
            repeated: None,
            again: None,
            top_level: TopLevel::default(),
        }
    }

    /// Reads the next document. Returns whether another one may follow.
    fn read_next(&mut self, each: Each<'_>) -> Result<bool, InputError> {
        let read = self.document(each);
        match (read, self.scanner.text_error()) {
            (Err(Halt::Caller(error)), _) => Err(error),
            // A read error takes precedence: it is why the document seems to end early.
            (_, Some(error)) => {
                let problem = InputError::new(&self.file, error.reason.clone(), FIX).at_line(error.line);
                let remains = if error.is_lost { Remains::Lost } else { Remains::Unread };
                let bad = BadDocument { problem, top_level: self.whole_top_level(), remains };
                each(Err(bad)).map(|()| false)
            }
            (Ok(is_read), None) => Ok(is_read),
            (Err(Halt::Unreadable(problem)), None) => {
                let is_skipped = self.scanner.skip_document();
                let remains = if is_skipped { Remains::Readable } else { Remains::Unread };
                each(Err(BadDocument { problem, top_level: self.whole_top_level(), remains }))?;
                Ok(is_skipped)
            }
        }
    }

    /// The fields that say what the document holds, with those of the lines that were only skipped.
    fn whole_top_level(&mut self) -> TopLevel {
        let mut top_level = mem::take(&mut self.top_level);
        if let Some(copy) = self.scanner.take_copy() {
            let lines = BufReader::new(copy).split(b'\n').map_while(Result::ok);
            top_level.add_lines(lines);
        }
        top_level
    }

    /// Reads a document. Returns whether there was one.
    fn document(&mut self, each: Each<'_>) -> Result<bool, Halt> {
        self.top_level = TopLevel::default();
        match self.scanner.begin_document() {
            Ok(false) => return Ok(false),
            Ok(true) => self.number = self.number.saturating_add(1),
            Err(error) => {
                self.scanner.start_copy();
                return Err(self.unreadable(error).into());
            }
        }
        self.anchors.clear();
        self.anchored = 0;
        self.begin_object();
        let (lines, is_again) = (self.scanner.line().saturating_sub(1), self.again.is_some());
        if !is_again {
            self.scanner.start_copy();
        }
        let properties = self.properties()?;
        let line = self.line()?;
        match self.next()? {
            TokenKind::BlockMap => self.root(Form::Block, line, lines, each)?,
            TokenKind::FlowMap => self.root(Form::Flow, line, lines, each)?,
            TokenKind::Scalar { .. } | TokenKind::DocumentEnd => {
                // A document with only comments is empty.
                let value = self.value_with(properties, 1, Form::Flow)?.value;
                if !matches!(value, InputValue::Null) {
                    return Err(self.no_object(line));
                }
            }
            _ => return Err(self.no_object(line)),
        }
        // Behind the bracket that closes a JSON document another one may begin.
        if !self.scanner.is_json() && *self.next()? != TokenKind::DocumentEnd {
            let line = self.line()?;
            return Err(self.problem("has text after the end of the document", line).into());
        }
        Ok(true)
    }

    /// The error of a document that is a list or a scalar.
    fn no_object(&mut self, line: u32) -> Halt {
        self.top_level.is_other = true;
        self.problem("is not a Kubernetes object", line).into()
    }

    /// Reads a document's mapping, which begins in `line`; `lines` end before the document.
    fn root(&mut self, form: Form, line: u32, lines: u32, each: Each<'_>) -> Result<(), Halt> {
        self.holds_something = true;
        self.take()?;
        let Some(again) = self.object(form, line, each)? else { return Ok(()) };
        let copy =
            self.scanner.take_copy().ok_or_else(|| self.problem("has a list that cannot be read again", line))?;
        let text = Text::new(Box::new(BufReader::new(copy)), lines);
        let mut second = Documents::new(Scanner::new(text, lines), Arc::clone(&self.file), self.number - 1);
        second.aliased = self.aliased;
        second.again = Some(again);
        second.document(each)?;
        self.aliased = second.aliased;
        Ok(())
    }

    fn begin_object(&mut self) {
        self.scanner.begin_object();
        self.values = 0;
        self.repeated = None;
    }

    /// Reads an object or a list of objects. Returns the type of a list that has to be read again, because its type comes after
    /// its items and they have none: kubectl sorts the fields.
    fn object(&mut self, form: Form, line: u32, each: Each<'_>) -> Result<Option<ListType>, Halt> {
        let mut fields = Fields::default();
        let (mut is_list, mut are_passed) = (false, true);
        let mut is_first = true;
        while self.next_field(form, mem::take(&mut is_first))? {
            let key_line = self.line()?;
            let key = self.key()?;
            let is_given = self.takes_value()?;
            let list_form = match self.next()? {
                TokenKind::BlockList => Some(Form::Block),
                TokenKind::FlowList => Some(Form::Flow),
                TokenKind::BlockItem if form == Form::Block => Some(Form::Indentless),
                _ => None,
            };
            match (key, list_form) {
                (Some(key), Some(list_form)) if is_given && &*key == "items" => {
                    is_list = true;
                    self.top_level.has_items = true;
                    if list_form != Form::Indentless {
                        self.take()?;
                    }
                    are_passed &= self.items(list_form, fields.list_type(), each)?;
                }
                (key, _) => {
                    self.field(&mut fields, key, key_line, is_given, form, 0)?;
                    if let Some((key, value)) = fields.entries.last() {
                        self.top_level.add(key, value.text());
                    }
                }
            }
        }
        if !are_passed {
            let text = |name| fields.text(name).unwrap_or_default().to_owned();
            return Ok(Some(ListType { api_version: text("apiVersion"), kind: text("kind") }));
        }
        // kubectl prints the empty lists of some commands so.
        let is_empty_list = || {
            let has_no_items =
                fields.entries.iter().any(|(key, node)| &**key == "items" && matches!(node.value, InputValue::Null));
            has_no_items && fields.text("kind").is_some_and(|kind| kind.ends_with("List"))
        };
        if is_list || is_empty_list() {
            // An object of its own: without EndpointSlices, a Service without a selector has no endpoints.
            let is_of_slices = fields.list_type().is_some_and(|list| list.kind == "EndpointSliceList");
            if is_of_slices && !self.top_level.has_passed_items {
                let value = self.finish(fields);
                self.pass(None, None, InputNode { line, value }, each)?;
            }
            return Ok(None);
        }
        let value = self.finish(fields);
        self.pass(None, None, InputNode { line, value }, each)?;
        Ok(None)
    }

    /// Passes on the items of a list. Returns whether their type is known: else none is passed on.
    fn items(&mut self, form: Form, list: Option<ListType>, each: Each<'_>) -> Result<bool, Halt> {
        let list = self.again.clone().or(list);
        let mut is_known = true;
        let mut index = 0;
        while self.next_item(form, index == 0)? {
            self.begin_object();
            let line = self.line()?;
            let node = self.item(form, 2)?;
            if !matches!(node.value, InputValue::Map(_)) {
                self.top_level.is_other = true;
                return Err(self.problem(format!("items[{index}] is not an object"), line).into());
            }
            if index == 0 {
                is_known = list.is_some() || node.get("kind").is_some();
            }
            if is_known {
                self.scanner.take_copy();
                self.top_level.has_passed_items = true;
                self.pass(Some(index), list.clone(), node, each)?;
            }
            index += 1;
        }
        Ok(is_known)
    }

    fn pass(&mut self, item: Option<u32>, list: Option<ListType>, node: InputNode, each: Each<'_>) -> Result<(), Halt> {
        let object = DocumentObject { document: self.number, item, list, repeated: self.repeated.take(), node };
        each(Ok(object)).map_err(Halt::Caller)
    }

    /// Goes on to the next item of a list. Returns whether there is one.
    fn next_item(&mut self, form: Form, is_first: bool) -> Result<bool, InputError> {
        match (form, self.next()?) {
            (Form::Block | Form::Indentless, TokenKind::BlockItem) => self.take().map(|_| true),
            (Form::Block, TokenKind::BlockEnd) => self.take().map(|_| false),
            (Form::Block, _) => Err(self.unexpected("an item (- )")),
            (Form::Indentless, _) => Ok(false),
            (Form::Flow, _) => self.next_in_brackets(is_first, &TokenKind::FlowListEnd, "a comma or ]"),
        }
    }

    /// Goes on to the next field of a mapping. Returns whether there is one.
    fn next_field(&mut self, form: Form, is_first: bool) -> Result<bool, InputError> {
        if form == Form::Flow {
            let is_found = self.next_in_brackets(is_first, &TokenKind::FlowMapEnd, "a comma or }")?;
            if is_found && *self.next()? == TokenKind::Key {
                self.take()?;
            }
            return Ok(is_found);
        }
        match self.next()? {
            TokenKind::Key => self.take().map(|_| true),
            TokenKind::BlockEnd => self.take().map(|_| false),
            _ => Err(self.unexpected("a key; check the indentation")),
        }
    }

    fn next_in_brackets(&mut self, is_first: bool, end: &TokenKind, expected: &str) -> Result<bool, InputError> {
        if self.next()? == end {
            return self.take().map(|_| false);
        }
        if !is_first {
            if *self.next()? != TokenKind::Comma {
                return Err(self.unexpected(expected));
            }
            self.take()?;
        }
        if self.next()? == end {
            return self.take().map(|_| false);
        }
        match *self.next()? {
            TokenKind::Comma | TokenKind::DocumentEnd => Err(self.unexpected("a value")),
            _ => Ok(true),
        }
    }

    /// Reads an item, which in brackets may be a field (`[a: b]`).
    fn item(&mut self, form: Form, depth: usize) -> Result<InputNode, InputError> {
        if form != Form::Flow || *self.next()? != TokenKind::Key {
            return self.value(depth, Form::Flow);
        }
        let line = self.take()?.line;
        let mut fields = Fields::default();
        let key = self.key()?;
        let is_given = self.takes_value()?;
        self.field(&mut fields, key, line, is_given, Form::Flow, depth)?;
        Ok(InputNode { line, value: self.finish(fields) })
    }

    /// Reads a key. `None` for a merge key.
    fn key(&mut self) -> Result<Option<Box<str>>, InputError> {
        let properties = self.properties()?;
        let line = self.line()?;
        let is_bare = properties.anchor.is_none() && properties.tag.is_none();
        let key = match self.next()? {
            TokenKind::Scalar { is_plain: true, .. } if is_bare => match self.take()?.kind {
                TokenKind::Scalar { text, .. } if text == "<<" => return Ok(None),
                TokenKind::Scalar { text, .. } => scalar::plain_key(text),
                _ => None,
            },
            TokenKind::BlockList
            | TokenKind::BlockItem
            | TokenKind::BlockMap
            | TokenKind::FlowList
            | TokenKind::FlowMap => None,
            _ => scalar::key(self.value_with(properties, 1, Form::Flow)?.value),
        };
        key.map(Some).ok_or_else(|| self.problem("has a key that is not a string: null, a list or a mapping", line))
    }

    /// Takes the colon behind a key. Returns whether there is one.
    fn takes_value(&mut self) -> Result<bool, InputError> {
        match self.next()? {
            TokenKind::Value => self.take().map(|_| true),
            _ => Ok(false),
        }
    }

    /// Reads the value of a field, and adds it to `fields`. Without a key it is a merge.
    fn field(
        &mut self,
        fields: &mut Fields,
        key: Option<Box<str>>,
        line: u32,
        is_given: bool,
        form: Form,
        depth: usize,
    ) -> Result<(), InputError> {
        let repeated = self.repeated.take();
        let value = match is_given {
            true => self.value(depth + 1, form)?.value,
            false => InputValue::Null,
        };
        // Charts often write a label twice, and kubectl takes the last one without a word.
        if key.as_deref().is_some_and(|key| LABELS.contains(&key)) {
            self.repeated = None;
        }
        self.repeated = repeated.or(self.repeated.take());
        match key {
            Some(key) => fields.entries.push((key, InputNode { line, value })),
            None => fields.merge(value).map_err(|reason| self.problem(reason, line))?,
        }
        Ok(())
    }

    fn value(&mut self, depth: usize, around: Form) -> Result<InputNode, InputError> {
        let properties = self.properties()?;
        self.value_with(properties, depth, around)
    }

    /// Reads the value behind `properties`, which is null if no value begins there. `around` is the form of the mapping whose
    /// field has it.
    fn value_with(&mut self, properties: Properties, depth: usize, around: Form) -> Result<InputNode, InputError> {
        let line = self.line()?;
        if depth > MAX_DEPTH {
            return Err(self.problem(format!("is nested more than {MAX_DEPTH} levels deep"), line));
        }
        self.count(1, line)?;
        let Properties { anchor, tag } = properties;
        let value = match self.next()? {
            TokenKind::Alias(_) => return self.aliased(anchor.is_some() || tag.is_some()),
            TokenKind::Scalar { .. } => match (self.take()?.kind, tag) {
                (TokenKind::Scalar { text, is_plain: true }, None) => scalar::plain(text),
                (TokenKind::Scalar { text, .. }, Some(tag)) => {
                    scalar::tagged(text, &tag).map_err(|reason| self.problem(reason, line))?
                }
                (TokenKind::Scalar { text, .. }, None) => InputValue::Text(text.into()),
                _ => InputValue::Null,
            },
            TokenKind::BlockList => self.take().and_then(|_| self.list(Form::Block, depth))?,
            TokenKind::FlowList => self.take().and_then(|_| self.list(Form::Flow, depth))?,
            TokenKind::BlockItem if around == Form::Block => self.list(Form::Indentless, depth)?,
            TokenKind::BlockMap => self.take().and_then(|_| self.map(Form::Block, depth))?,
            TokenKind::FlowMap => self.take().and_then(|_| self.map(Form::Flow, depth))?,
            _ => match tag {
                Some(tag) => scalar::tagged(String::new(), &tag).map_err(|reason| self.problem(reason, line))?,
                None => InputValue::Null,
            },
        };
        let node = InputNode { line, value };
        if let Some(anchor) = anchor {
            self.keep(anchor, &node)?;
        }
        Ok(node)
    }

    fn properties(&mut self) -> Result<Properties, InputError> {
        let mut properties = Properties::default();
        loop {
            let place = match self.next()? {
                TokenKind::Anchor(_) => &mut properties.anchor,
                TokenKind::Tag(_) => &mut properties.tag,
                _ => return Ok(properties),
            };
            let token = self.take()?;
            if let TokenKind::Anchor(text) | TokenKind::Tag(text) = token.kind
                && place.replace(text).is_some()
            {
                return Err(self.problem("has two anchors or two tags before one value", token.line));
            }
        }
    }

    fn list(&mut self, form: Form, depth: usize) -> Result<InputValue, InputError> {
        let mut items = Vec::new();
        while self.next_item(form, items.is_empty())? {
            items.push(self.item(form, depth + 1)?);
        }
        Ok(InputValue::List(items))
    }

    fn map(&mut self, form: Form, depth: usize) -> Result<InputValue, InputError> {
        let mut fields = Fields::default();
        let mut is_first = true;
        while self.next_field(form, mem::take(&mut is_first))? {
            let line = self.line()?;
            let key = self.key()?;
            let is_given = self.takes_value()?;
            self.field(&mut fields, key, line, is_given, form, depth)?;
        }
        Ok(self.finish(fields))
    }

    fn finish(&mut self, fields: Fields) -> InputValue {
        let (entries, repeated) = fields.finish();
        self.repeated = self.repeated.take().or(repeated);
        InputValue::Map(entries)
    }

    /// Keeps the value of an anchor until the end of the document.
    fn keep(&mut self, anchor: Box<str>, node: &InputNode) -> Result<(), InputError> {
        self.anchored += node.size().1;
        if self.anchored > MAX_ALIASED_BYTES {
            return Err(
                self.problem(format!("has more than {MAX_ALIASED_BYTES} bytes below anchors (&name)"), node.line)
            );
        }
        self.anchors.insert(anchor, node.clone());
        Ok(())
    }

    fn aliased(&mut self, has_properties: bool) -> Result<InputNode, InputError> {
        let Token { kind, line } = self.take()?;
        let TokenKind::Alias(name) = kind else { return Ok(InputNode { line, value: InputValue::Null }) };
        if has_properties {
            return Err(self.problem("has an anchor or a tag before an alias (*name)", line));
        }
        let Some((values, bytes)) = self.anchors.get(&name).map(InputNode::size) else {
            return Err(
                self.problem(format!("has an alias *{name}, and no anchor &{name} is complete before it"), line)
            );
        };
        self.count(values, line)?;
        self.aliased += bytes;
        if self.aliased > MAX_ALIASED_BYTES {
            let reason = format!("has aliases (*name) that copy more than {MAX_ALIASED_BYTES} bytes in one file");
            return Err(self.problem(reason, line));
        }
        let value = self.anchors.get(&name).map_or(InputValue::Null, |node| node.value.clone());
        Ok(InputNode { line, value })
    }

    /// Adds `more` to the number of values; an error above the limit.
    fn count(&mut self, more: usize, line: u32) -> Result<(), InputError> {
        self.values += more;
        match self.values > MAX_VALUES {
            true => Err(self.problem(format!("has more than {MAX_VALUES} values in one object"), line)),
            false => Ok(()),
        }
    }

    /// The next token, which stays.
    fn next(&mut self) -> Result<&TokenKind, InputError> {
        let Self { scanner, file, number, .. } = self;
        match scanner.next() {
            Ok(token) => Ok(&token.kind),
            Err(ScanError { line, reason }) => Err(problem(file, *number, reason, line)),
        }
    }

    /// The line of the next token.
    fn line(&mut self) -> Result<u32, InputError> {
        let line = self.scanner.next().map(|token| token.line);
        line.map_err(|error| self.unreadable(error))
    }

    fn take(&mut self) -> Result<Token, InputError> {
        self.scanner.take_token().map_err(|error| self.unreadable(error))
    }

    fn unexpected(&mut self, expected: &str) -> InputError {
        let line = self.line().unwrap_or_default();
        self.problem(format!("is not valid YAML or JSON: expected {expected}"), line)
    }

    fn unreadable(&self, ScanError { line, reason }: ScanError) -> InputError {
        self.problem(reason, line)
    }

    fn problem(&self, reason: impl Into<String>, line: u32) -> InputError {
        problem(&self.file, self.number, reason, line)
    }
}

fn problem(file: &str, document: u32, reason: impl Into<String>, line: u32) -> InputError {
    InputError::new(file, reason, FIX).at_document(document.max(1)).at_line(line)
}

type Field = (Box<str>, InputNode);

/// The fields of a mapping while it is read.
#[derive(Default)]
struct Fields {
    entries: Vec<Field>,
    /// Fields of merged mappings (`<<`), which may be written again.
    merged: HashSet<Box<str>>,
}

impl Fields {
    fn text(&self, name: &str) -> Option<&str> {
        let field = self.entries.iter().rfind(|(key, _)| **key == *name);
        field.and_then(|(_, node)| node.text())
    }

    fn list_type(&self) -> Option<ListType> {
        let text = |name| self.text(name).map(str::to_owned);
        text("kind").zip(text("apiVersion")).map(|(kind, api_version)| ListType { api_version, kind })
    }

    /// Adds the fields of a mapping, or of a list of mappings, of which the first takes precedence. kubectl lets the last one
    /// win between merged fields and the others.
    fn merge(&mut self, value: InputValue) -> Result<(), &'static str> {
        const MAPPINGS: &str = "has a merge key (<<) without a mapping or a list of mappings";
        match value {
            InputValue::Map(entries) => {
                self.merged.extend(entries.iter().map(|(key, _)| key.clone()));
                self.entries.extend(entries);
                Ok(())
            }
            InputValue::List(items) => items.into_iter().rev().try_for_each(|item| match item.value {
                value @ InputValue::Map(_) => self.merge(value),
                _ => Err(MAPPINGS),
            }),
            _ => Err(MAPPINGS),
        }
    }

    /// The last value of each field, and the first field that was written twice.
    fn finish(self) -> (Vec<Field>, Option<RepeatedField>) {
        /// Up to this number of fields comparing all is cheaper than a set.
        const FEW: usize = 16;
        let Self { entries, merged } = self;
        let is_repeated = if entries.len() > FEW {
            let mut keys = HashSet::with_capacity(entries.len());
            !entries.iter().all(|(key, _)| keys.insert(&**key))
        } else {
            entries
                .iter()
                .enumerate()
                .any(|(index, (key, _))| entries.iter().take(index).any(|(other, _)| other == key))
        };
        if !is_repeated {
            return (entries, None);
        }
        let mut repeated = None;
        let mut places: HashMap<Box<str>, usize> = HashMap::new();
        let mut last: Vec<Field> = Vec::with_capacity(entries.len());
        for (key, node) in entries {
            match places.get(&key).and_then(|place| last.get_mut(*place)) {
                Some((_, slot)) => {
                    if repeated.is_none() && !merged.contains(&key) {
                        repeated = Some(RepeatedField { name: key, line: node.line });
                    }
                    *slot = node;
                }
                None => {
                    places.insert(key.clone(), last.len());
                    last.push((key, node));
                }
            }
        }
        (last, repeated)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::{super::text::Text, objects};

    /// The kinds and errors of a text, in order.
    fn outcomes(text: &str) -> Vec<String> {
        let mut outcomes = Vec::new();
        let read = objects(Text::new(Box::new(Cursor::new(text)), 0), &"f".into(), &mut |object| {
            outcomes.push(match object {
                Ok(object) => object.node.get("kind").and_then(|kind| kind.text()).unwrap_or_default().to_owned(),
                Err(error) => error.problem.to_string().split(';').next().unwrap_or_default().to_owned(),
            });
            Ok(())
        });
        assert!(read.is_ok(), "{read:?}");
        outcomes
    }

    #[test]
    fn reading_goes_on_behind_a_document_that_is_not_yaml() {
        for (text, expected) in [
            (
                "kind: A\n---\nkind: [\n---\nkind: B\n",
                &["A", "f:4: document 2: is not valid YAML or JSON: expected a comma or ]", "B"] as &[&str],
            ),
            ("kind: 'a\n---\nkind: B\n", &["f:1: document 1: has a quoted text without its end", "B"]),
            (
                "kind: A\n x: y\n---\nkind: B\n...\nlost\n",
                &["f:2: document 1: has a value (: ) where none can begin", "B", "f:6: document 3: is not"],
            ),
            ("--- {\n---\n- a\n---\n7\n---\nkind: B", &["", "", "", "B"]),
            ("{\"kind\": \"A\", \"b\": [}\n}\n{\"kind\":\"B\"}\n", &["f:1: document 1: is not valid", "B"]),
            (
                "a: *b\n---\nkind: B\n",
                &["f:1: document 1: has an alias *b, and no anchor &b is complete before it", "B"],
            ),
        ] {
            let found = outcomes(text);
            assert_eq!(found.len(), expected.len(), "{text}\n{found:?}");
            for (found, expected) in found.iter().zip(expected) {
                assert!(found.starts_with(expected), "{text}\n{found}\n{expected}");
            }
        }
    }
}
