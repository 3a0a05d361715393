//! Reads objects, and leaves out what stops nothing else: documents that cannot be read, and files of other programs.

use std::{
    io::BufRead,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    bad_document::{BadDocument, Remains},
    directory::{self, Excluded, Files},
    documents::{DocumentObject, ReadFile},
    error::{InputError, InputErrors},
    file::{empty, no_input, objects, open, shown},
    object::RawObject,
    watched::Watched,
};

/// A source of objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The standard input.
    Stdin,
    /// A file, or a directory: every `.yaml`, `.yml` and `.json` below it.
    Path(PathBuf),
    /// A file that a directory has, and that the user did not name.
    Found(PathBuf),
}

impl Source {
    /// The source that `text` names; `-` is the standard input.
    #[must_use]
    pub fn new(text: &str) -> Self {
        if text == "-" { Self::Stdin } else { Self::Path(text.into()) }
    }
}

/// What to do about a document that cannot be read and is a template.
const TEMPLATE_FIX: &str =
    "it is a template: read what `helm template` or another renderer prints, or leave the file out with --exclude";

/// How objects are read.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// Whether objects of this `apiVersion` and kind are needed: one that is broken is an error. An empty `apiVersion` is unknown.
    pub is_needed: fn(&str, &str) -> bool,
    /// The files and directories to leave out below a directory.
    pub excluded: Excluded,
    /// Whether everything that would be left out is an error.
    pub is_strict: bool,
}

/// What was left out while objects were read.
#[derive(Debug, Default)]
pub struct LeftOut {
    /// Documents and files that cannot be read, and documents that are no object beside others that are, each with the reason.
    pub problems: InputErrors,
    /// Objects that do not fit their kind and are not needed, and those whose names are unknown, each with the reason.
    pub unfit: InputErrors,
    /// Files with objects and with bytes that are not UTF-8: nothing is left out, and these bytes are read as U+FFFD.
    pub garbled: InputErrors,
    /// Entries of directories that are neither file nor directory, such as FIFOs, each with the reason.
    pub special: InputErrors,
    /// Files whose documents are all no Kubernetes object, such as `kustomization.yaml`.
    pub foreign: Vec<Arc<str>>,
    /// Files without a document.
    pub empty: Vec<Arc<str>>,
}

impl LeftOut {
    /// The errors of all that may have held needed objects: everything but files of other programs and objects of other kinds.
    #[must_use]
    pub fn into_incomplete(self) -> InputErrors {
        let Self { mut problems, garbled, empty: files, .. } = self;
        problems.append(garbled);
        files.iter().for_each(|file| problems.push(empty(file)));
        problems
    }

    /// Adds all of `other`.
    pub fn append(&mut self, other: Self) {
        let Self { problems, unfit, garbled, special, foreign, empty } = other;
        self.problems.append(problems);
        self.unfit.append(unfit);
        self.garbled.append(garbled);
        self.special.append(special);
        self.foreign.extend(foreign);
        self.empty.extend(empty);
    }
}

/// Objects being read.
pub(super) struct Reading<'o> {
    options: &'o ReadOptions,
    left_out: LeftOut,
    pub(super) problems: InputErrors,
}

/// What a file holds.
#[derive(Default)]
struct Contents {
    /// Number of Kubernetes objects.
    objects: usize,
    /// Number of documents that cannot be read.
    unreadable: usize,
    /// Documents that are no Kubernetes object.
    foreign: InputErrors,
}

impl<'o> Reading<'o> {
    pub(super) fn new(options: &'o ReadOptions) -> Self {
        Self { options, left_out: LeftOut::default(), problems: InputErrors::default() }
    }

    /// The sources, with the files of each directory in its place.
    pub(super) fn files_of(&mut self, sources: &[Source]) -> Vec<Source> {
        let mut all = Vec::new();
        for source in sources {
            let Source::Path(path) = source else {
                all.push(source.clone());
                continue;
            };
            match directory::files(path, &self.options.excluded) {
                Ok(Files { files, unreadable, special, is_directory }) => {
                    unreadable.into_iter().for_each(|problem| self.leave_out(problem));
                    let kept = if self.options.is_strict { &mut self.problems } else { &mut self.left_out.special };
                    special.into_iter().for_each(|problem| kept.push(problem));
                    all.extend(files.into_iter().map(if is_directory { Source::Found } else { Source::Path }));
                }
                Err(problem) => self.problems.push(problem),
            }
        }
        all
    }

    /// What was left out.
    ///
    /// # Errors
    /// All errors.
    pub(super) fn finish(self) -> Result<LeftOut, InputErrors> {
        self.problems.or(self.left_out)
    }

    /// Leaves out what `problem` names, or reports it.
    pub(super) fn leave_out(&mut self, problem: InputError) {
        let problems = if self.options.is_strict { &mut self.problems } else { &mut self.left_out.problems };
        problems.push(problem);
    }

    /// Reads a file. `is_found` says that a directory has it, and that no one named it.
    pub(super) fn file(
        &mut self,
        path: &Path,
        is_found: bool,
        progress: &mut dyn FnMut(u64),
        each: &mut dyn FnMut(RawObject) -> Result<(), InputError>,
    ) {
        match open(path, progress) {
            Ok(reader) => self.stream(reader, &shown(path), false, each),
            Err(problem) if is_found => self.leave_out(problem),
            Err(problem) => self.problems.push(problem),
        }
    }

    /// Reads every object of `reader`, which errors call `name`. An `only` stream has to be read to its end and to hold something:
    /// the command before the pipe may have failed.
    pub(super) fn stream(
        &mut self,
        reader: impl BufRead,
        name: &str,
        only: bool,
        each: &mut dyn FnMut(RawObject) -> Result<(), InputError>,
    ) {
        let file: Arc<str> = name.into();
        let mut watched = Watched::default();
        let mut contents = Contents::default();
        let read = objects(reader, &file, &mut |object| {
            match object {
                Ok(object) => self.object(object, &file, &mut watched, &mut contents, each),
                Err(bad) => self.bad_document(bad, only, &mut contents),
            }
            Ok(())
        });
        for object in watched.into_objects() {
            self.pass(object, each);
        }
        let Contents { objects, unreadable, foreign } = contents;
        let read = read.map(|ReadFile { holds_something, garbled }| {
            let kept = if self.options.is_strict { &mut self.problems } else { &mut self.left_out.garbled };
            garbled.filter(|_| objects > 0).into_iter().for_each(|problem| kept.push(problem));
            holds_something
        });
        match read {
            Err(problem) => self.problems.push(problem),
            Ok(false) if foreign.count() + unreadable == 0 => {
                if only || self.options.is_strict {
                    self.problems.push(if only { no_input(&file) } else { empty(&file) });
                } else {
                    self.left_out.empty.push(file);
                }
            }
            Ok(_) if foreign.count() == 0 => {}
            Ok(_) if self.options.is_strict => self.problems.append(foreign),
            Ok(_) if objects + unreadable == 0 => self.left_out.foreign.push(file),
            Ok(_) => self.left_out.problems.append(foreign),
        }
    }

    fn object(
        &mut self,
        mut object: DocumentObject,
        file: &Arc<str>,
        watched: &mut Watched,
        contents: &mut Contents,
        each: &mut dyn FnMut(RawObject) -> Result<(), InputError>,
    ) {
        let event = object.watch_event();
        let (event, object) = match event {
            Some((event, node)) => (Some(event), DocumentObject { node, ..object }),
            None => (None, object),
        };
        let object = RawObject::new(object, file);
        let is_needed = (self.options.is_needed)("", &object.kind);
        if !object.looks_like_kubernetes() && !is_needed {
            let fix = "correct it, or leave the file out with --exclude";
            let reason = "is not a Kubernetes object: it needs apiVersion and kind";
            contents.foreign.push(InputError::at(&object.place, reason, fix));
            return;
        }
        contents.objects += 1;
        match object.of_a_kind() {
            Ok(object) => match event {
                Some(event) => watched.put(&event, object),
                None => self.pass(object, each),
            },
            Err(problem) => self.leave_out(problem),
        }
    }

    /// Passes an object on. One that does not fit its kind is left out if it is not needed, or if its error says so.
    fn pass(&mut self, object: RawObject, each: &mut dyn FnMut(RawObject) -> Result<(), InputError>) {
        let is_needed = (self.options.is_needed)(&object.api_version, &object.kind);
        match each(object) {
            Err(problem) if !self.options.is_strict && (!is_needed || problem.is_skippable()) => {
                self.left_out.unfit.push(problem);
            }
            passed => self.problems.collect(passed),
        }
    }

    fn bad_document(&mut self, bad: BadDocument, only: bool, contents: &mut Contents) {
        let BadDocument { mut problem, top_level, remains } = bad;
        if top_level.is_template {
            problem = problem.with_fix(TEMPLATE_FIX);
        }
        let is_needed = match remains {
            Remains::Readable => top_level.may_hold(self.options.is_needed),
            // Nobody knows what the rest holds.
            Remains::Unread => only || contents.objects > 0 || top_level.may_hold(self.options.is_needed),
            Remains::Lost => true,
        };
        if is_needed {
            contents.unreadable += 1;
            self.problems.push(problem);
        } else if top_level.is_foreign() {
            contents.foreign.push(problem);
        } else {
            contents.unreadable += 1;
            self.leave_out(problem);
        }
    }
}
