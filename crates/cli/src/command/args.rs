//! Arguments that several commands share.

use std::{collections::BTreeMap, ffi::OsStr, marker::PhantomData, ops::RangeInclusive};

use anyhow::bail;
use clap::{
    Arg, Args, Command, Error, ValueEnum, ValueHint,
    builder::{EnumValueParser, PossibleValue, TypedValueParser},
    error::ErrorKind,
};

use super::{
    live::{ClusterArgs, Needs, has_piped_input, read_cluster, read_lint_input, say_chosen},
    reading::{ReadProgress, say_if_waiting, say_left_out, say_skipped},
};
use crate::{
    input::{self, Excluded, InputErrors, ReadOptions, Source},
    kubernetes::{self, ClusterState},
    lint::LintInput,
    output,
    snapshot::LiveCluster,
};

/// The error of an input that no command but `lint` can do anything with.
pub(super) const NO_SERVICE: &str =
    "the input has no Service; pass the output of kubectl get svc,endpointslices,pods,nodes -A -o yaml";

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

/// Parses a whole number of this range.
pub(super) fn parse_whole(text: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("use a whole number from {} to {}", range.start(), range.end()))
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
    /// input. Can be repeated. Default: the standard input if something is piped in, else the live cluster that kubectl uses. Get
    /// the objects with `kubectl get svc,endpointslices,pods,nodes,ingresses -A -o yaml`.
    #[arg(short = 'f', long = "filename", value_name = "FILE", value_hint = ValueHint::AnyPath, conflicts_with_all = ["kubeconfig", "context"])]
    filenames: Vec<String>,
    /// Read the live cluster, even if something is piped in. --kubeconfig and --context do so too.
    #[arg(long, conflicts_with = "filenames")]
    from_cluster: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    leniency: Leniency,
}

/// What is left out of the input.
#[derive(Args, Clone, Debug)]
pub(super) struct Leniency {
    /// Leave out the files and directories below a given directory whose name, or whose path below that directory, matches this
    /// glob pattern. Can be repeated. Example: --exclude 'templates/**' --exclude values.yaml
    #[arg(long, value_name = "GLOB", value_parser = parse_glob)]
    exclude: Vec<String>,
    /// Fail if anything in the input cannot be read or is not a Kubernetes object. Default: leave it out and name it on the
    /// standard error, unless it may be an object that byname needs.
    #[arg(long)]
    strict: bool,
}

impl Leniency {
    /// The options to read objects, of which those are needed for which `is_needed` holds.
    pub(super) fn options(&self, is_needed: fn(&str, &str) -> bool) -> ReadOptions {
        // Each pattern was checked when it was parsed.
        let excluded = Excluded::new(&self.exclude).unwrap_or_default();
        ReadOptions { is_needed, excluded, is_strict: self.strict }
    }
}

fn parse_glob(text: &str) -> Result<String, String> {
    Excluded::new(&[text.to_owned()]).map(|_| text.to_owned())
}

/// Where objects come from.
pub(super) enum Origin {
    /// Files, or the standard input.
    Files,
    /// A live cluster.
    Cluster(Box<LiveCluster>),
}

impl Origin {
    /// The namespace of the kubeconfig's context, which kubectl uses when none is given.
    pub(super) fn namespace(&self) -> Option<&str> {
        match self {
            Self::Files => None,
            Self::Cluster(live) => Some(&live.namespace),
        }
    }
}

impl Input {
    /// Where the objects come from: files, the standard input, or the live cluster.
    ///
    /// # Errors
    /// If it is the live cluster, and none is configured.
    pub(super) fn origin(&self) -> anyhow::Result<Origin> {
        if !self.is_cluster() {
            return Ok(Origin::Files);
        }
        let live = self.cluster.open()?;
        if !self.from_cluster && !self.cluster.is_given() {
            say_chosen(&live);
        }
        Ok(Origin::Cluster(Box::new(live)))
    }

    /// Reads the cluster, and reports on the standard error what was left out. Of a live cluster, reads what `needs` names.
    ///
    /// # Errors
    /// If the input is invalid, or has no Service.
    pub(super) fn read(&self, origin: &Origin, needs: &Needs) -> anyhow::Result<ClusterState> {
        if let Origin::Cluster(live) = origin {
            return self.read_live(live, needs);
        }
        let options = self.leniency.options(kubernetes::decides_names);
        let (cluster, left_out) = self.read_sources(&self.sources(), &options, ClusterState::read_with)?;
        // What is missing comes first: it is why nothing else is printed.
        let has_services = !cluster.services.is_empty();
        if !has_services {
            output::error(NO_SERVICE);
        }
        say_left_out(&left_out);
        say_skipped(&cluster.skipped);
        // The error was printed above.
        if has_services { Ok(cluster) } else { Err(InputErrors::default().into()) }
    }

    /// Reads the objects that lint checks, which may have no Service, and reports on the standard error what was left out.
    pub(super) fn read_any(&self, origin: &Origin, needs: &Needs) -> anyhow::Result<LintInput> {
        if let Origin::Cluster(live) = origin {
            return read_lint_input(live, needs);
        }
        let options = self.lint_options();
        let (objects, left_out) = self.read_sources(&self.sources(), &options, LintInput::read)?;
        say_left_out(&left_out);
        say_skipped(&objects.cluster.skipped);
        Ok(objects)
    }

    /// Reads each file by itself, and passes its objects to `each`. Reports on the standard error what was left out of all files.
    ///
    /// # Errors
    /// Those of all files.
    pub(super) fn read_each(&self, each: &mut dyn FnMut(&LintInput)) -> anyhow::Result<()> {
        if self.is_cluster() {
            bail!("--each-file checks files; pass them with -f, or drop --each-file to check the live cluster");
        }
        let options = self.lint_options();
        let (files, mut left_out) = input::files_of(&self.sources(), &options)?;
        say_if_waiting(&files);
        let mut problems = InputErrors::default();
        let mut skipped = BTreeMap::new();
        for file in &files {
            match LintInput::read(std::slice::from_ref(file), &options, &mut |_| {}) {
                Ok((objects, of_file)) => {
                    left_out.append(of_file);
                    for (kind, count) in &objects.cluster.skipped {
                        *skipped.entry(kind.clone()).or_default() += count;
                    }
                    each(&objects);
                }
                Err(of_file) => problems.append(of_file),
            }
        }
        say_left_out(&left_out);
        say_skipped(&skipped);
        Ok(problems.or(())?)
    }

    /// The live cluster, for a command that asks its pods, wherever the objects come from.
    ///
    /// # Errors
    /// If none is configured.
    pub(super) fn open_cluster(&self) -> anyhow::Result<LiveCluster> {
        self.cluster.open_for_sidecars()
    }

    /// Reads the objects from files, if the user named some, or else from `live`.
    ///
    /// # Errors
    /// Those of [`Input::read`].
    pub(super) fn read_beside(&self, live: &LiveCluster, needs: &Needs) -> anyhow::Result<ClusterState> {
        if self.filenames.is_empty() { self.read_live(live, needs) } else { self.read(&Origin::Files, needs) }
    }

    fn read_live(&self, live: &LiveCluster, needs: &Needs) -> anyhow::Result<ClusterState> {
        let cluster = read_cluster(live, needs)?;
        if cluster.services.is_empty() {
            bail!(
                "{}: has no Service that this user may list; choose another --context, or grant \"list\" on services",
                live.called
            );
        }
        Ok(cluster)
    }

    /// Whether the objects come from the live cluster.
    fn is_cluster(&self) -> bool {
        let is_named = self.from_cluster || self.cluster.is_given();
        self.filenames.is_empty() && (is_named || !has_piped_input())
    }

    /// Whether the user named a source.
    pub(super) fn is_given(&self) -> bool {
        !self.filenames.is_empty() || self.from_cluster || self.cluster.is_given()
    }

    /// Whether everything that would be left out is an error.
    pub(super) fn is_strict(&self) -> bool {
        self.leniency.strict
    }

    /// Lint checks the ways in from outside too.
    fn lint_options(&self) -> ReadOptions {
        self.leniency.options(kubernetes::is_read)
    }

    fn sources(&self) -> Vec<Source> {
        match self.filenames.as_slice() {
            [] => vec![Source::Stdin],
            filenames => filenames.iter().map(|name| Source::new(name)).collect(),
        }
    }

    fn read_sources<T>(
        &self,
        sources: &[Source],
        options: &ReadOptions,
        read: impl FnOnce(&[Source], &ReadOptions, &mut dyn FnMut(u64)) -> Result<T, InputErrors>,
    ) -> Result<T, InputErrors> {
        say_if_waiting(sources);
        let mut progress = ReadProgress::new(sources, &options.excluded);
        read(sources, options, &mut |bytes| progress.add(bytes))
    }
}
