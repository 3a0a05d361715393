//! Arguments that several commands share.

use std::{ffi::OsStr, marker::PhantomData};

use clap::{
    Arg, Args, Command, Error, ValueEnum,
    builder::{EnumValueParser, PossibleValue, TypedValueParser},
    error::ErrorKind,
};

use super::reading::{ReadProgress, say_if_waiting, say_skipped};
use crate::{
    input::{InputErrors, Source},
    kubernetes::ClusterState,
};

/// How a command writes to a file, for the error of a file that is given as the output format.
#[derive(Clone, Copy, Debug)]
pub(super) enum FileOutput {
    /// With `--output-file`.
    Flag,
    /// By redirection in the shell.
    Redirection,
}

/// Parses the value of `-o`. A file gets an error that names the option for files.
#[derive(Clone, Debug)]
pub(super) struct FormatParser<F> {
    files: FileOutput,
    format: PhantomData<fn() -> F>,
}

impl<F> FormatParser<F> {
    pub(super) fn new(files: FileOutput) -> Self {
        Self { files, format: PhantomData }
    }
}

impl<F: ValueEnum + Clone + Send + Sync + 'static> TypedValueParser for FormatParser<F> {
    type Value = F;

    fn parse_ref(&self, command: &Command, argument: Option<&Arg>, value: &OsStr) -> Result<F, Error> {
        let text = value.to_string_lossy();
        // A format has no dot. `-` is the standard output.
        if !text.contains(['.', '/', '\\']) && text != "-" {
            return EnumValueParser::<F>::new().parse_ref(command, argument, value);
        }
        let way = match self.files {
            FileOutput::Flag => "--output-file",
            FileOutput::Redirection => ">",
        };
        let formats = names::<F>().join(", ");
        Err(raw(command, &format!("-o {text}: is not a format ({formats}); to write to this file use {way} {text}")))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(F::value_variants().iter().filter_map(ValueEnum::to_possible_value)))
    }
}

/// Refuses every value of `-o`, for commands that choose the format `F` with `--format`.
#[derive(Clone, Debug)]
pub(super) struct NoFormatParser<F>(PhantomData<fn() -> F>);

impl<F> NoFormatParser<F> {
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<F: ValueEnum + Clone + Send + Sync + 'static> TypedValueParser for NoFormatParser<F> {
    type Value = String;

    fn parse_ref(&self, command: &Command, _: Option<&Arg>, value: &OsStr) -> Result<String, Error> {
        let text = value.to_string_lossy();
        let names = names::<F>();
        let is_format =
            ["text", "wide", "json", "yaml", "sarif"].contains(&&*text) || names.iter().any(|name| *name == text);
        let way = match is_format {
            true => format!("to choose a format use --format {}", names.join("|")),
            false => format!("to write to this file use --output-file {text}"),
        };
        Err(raw(command, &format!("-o {text}: is not an option of this command; {way}")))
    }
}

fn raw(command: &Command, text: &str) -> Error {
    Error::raw(ErrorKind::InvalidValue, format!("{text}\n")).with_cmd(command)
}

fn names<F: ValueEnum>() -> Vec<String> {
    let values = F::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    values.map(|value| value.get_name().to_owned()).collect()
}

/// The sources of Kubernetes objects.
#[derive(Args, Clone, Debug)]
pub(super) struct Input {
    /// Read Kubernetes objects from this file, or from all .yaml, .yml and .json files below this directory; - is the standard
    /// input. Can be repeated. Default: the standard input. Get the objects with `kubectl get
    /// svc,endpointslices,pods,nodes,ingresses -A -o yaml`.
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    filenames: Vec<String>,
}

impl Input {
    fn sources(&self) -> Vec<Source> {
        match self.filenames.as_slice() {
            [] => vec![Source::Stdin],
            filenames => filenames.iter().map(|name| Source::new(name)).collect(),
        }
    }

    /// Reads the cluster, and reports skipped objects on the standard error.
    pub(super) fn read(&self) -> Result<ClusterState, InputErrors> {
        let sources = self.sources();
        say_if_waiting(&sources);
        let mut progress = ReadProgress::new(&sources);
        let cluster = ClusterState::read(&sources, &mut |bytes| progress.add(bytes))?;
        drop(progress);
        say_skipped(&cluster);
        Ok(cluster)
    }
}
