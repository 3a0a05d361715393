//! Arguments that several commands share.

use clap::{Args, ValueEnum};

use super::reading::{ReadProgress, say_if_waiting, say_skipped};
use crate::{
    input::{InputErrors, Source},
    kubernetes::ClusterState,
};

/// The format of an answer.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum OutputFormat {
    /// Text for people.
    Text,
    /// JSON for programs.
    Json,
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
