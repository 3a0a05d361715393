//! Arguments that several commands have.

use clap::{Args, ValueEnum};

use crate::{
    input::{InputErrors, Source},
    kubernetes::ClusterState,
    output::{self, ReadProgress},
};

/// Whom an answer is for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum OutputFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Where objects are read from.
#[derive(Args, Clone, Debug)]
pub(super) struct Input {
    /// File or directory (.yaml, .yml and .json below it) with what `kubectl get svc,endpointslices,pods,nodes,ingresses -A -o
    /// yaml` prints; - for the standard input. May be given several times.
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

    /// Reads the cluster, and says on the standard error what of it was passed over.
    pub(super) fn read(&self) -> Result<ClusterState, InputErrors> {
        let sources = self.sources();
        output::say_if_waiting(&sources);
        let mut progress = ReadProgress::new(&sources);
        let cluster = ClusterState::read(&sources, &mut |bytes| progress.add(bytes))?;
        drop(progress);
        output::say_skipped(&cluster);
        Ok(cluster)
    }
}
