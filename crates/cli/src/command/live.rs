//! The live cluster that a command reads: how it is chosen, and which kinds of it each command needs.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, IsTerminal},
    os::{fd::AsFd, unix::fs::FileTypeExt},
    path::PathBuf,
    sync::Arc,
};

use clap::Args;

use super::reading::{LiveProgress, say_left_out};
use crate::{
    check::ClusterFacts,
    input::{InputError, RawObject},
    kube_api::ApiAccess,
    kubernetes::{ClusterState, NamespacedName},
    lint::LintInput,
    output::{note, warn},
    snapshot::{ApiKind, Gap, LiveCluster, Wanted},
};

/// The cluster to ask.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct ClusterArgs {
    /// Use this kubeconfig to ask a live cluster. Default: the one that kubectl uses, or the service account of the pod that byname
    /// runs in.
    #[arg(long, value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,
    /// Use this context of the kubeconfig to ask a live cluster. Default: the current context.
    #[arg(long)]
    pub(super) context: Option<String>,
}

impl ClusterArgs {
    /// Whether one of the options is given.
    pub(super) fn is_given(&self) -> bool {
        self.kubeconfig.is_some() || self.context.is_some()
    }

    /// The cluster, which nothing has asked yet, for a command that also reads files.
    ///
    /// # Errors
    /// If no cluster is configured.
    pub(super) fn open(&self) -> anyhow::Result<LiveCluster> {
        self.open_instead_of(Some("read files with -f"))
    }

    /// The same for a command that reads no files.
    ///
    /// # Errors
    /// If no cluster is configured.
    pub(super) fn open_without_files(&self) -> anyhow::Result<LiveCluster> {
        self.open_instead_of(None)
    }

    /// The same for a command that asks sidecars, wherever it reads objects.
    ///
    /// # Errors
    /// If no cluster is configured.
    pub(super) fn open_for_sidecars(&self) -> anyhow::Result<LiveCluster> {
        self.open_instead_of(Some("ask one sidecar with --admin HOST:PORT"))
    }

    /// The same for a command that compares two states.
    ///
    /// # Errors
    /// If no cluster is configured.
    pub(super) fn open_for_states(&self) -> anyhow::Result<LiveCluster> {
        self.open_instead_of(Some("pass a file for each state"))
    }

    fn open_instead_of(&self, files: Option<&'static str>) -> anyhow::Result<LiveCluster> {
        LiveCluster::open(ApiAccess {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
            instead: files,
        })
    }
}

/// Whether somebody passes objects on the standard input: it is a pipe or a file, and neither a terminal nor `/dev/null`.
pub(super) fn has_piped_input() -> bool {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return false;
    }
    let file = stdin.as_fd().try_clone_to_owned().map(File::from);
    let metadata = file.and_then(|file| file.metadata());
    !metadata.is_ok_and(|metadata| metadata.file_type().is_char_device())
}

/// What a command needs of a cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct Needs {
    wanted: Vec<Wanted>,
    /// The pod of the caller, whose Node is read too.
    pod: Option<NamespacedName>,
}

/// The namespaces that the user named, or the one of the context.
pub(super) fn own_namespaces(named: &[String], of_context: &str) -> BTreeSet<String> {
    match named {
        [] => BTreeSet::from([of_context.to_owned()]),
        named => named.iter().cloned().collect(),
    }
}

/// Kinds that decide what names resolve to.
const NAMES: [&ApiKind; 5] =
    [&ApiKind::SERVICE, &ApiKind::ENDPOINT_SLICE, &ApiKind::POD, &ApiKind::NODE, &ApiKind::NAMESPACE];

impl Needs {
    /// What explains a name: the kinds that decide it, the ways in from outside, and the rules of a mesh. `own` is a namespace to
    /// read alone if the API forbids to list all.
    pub(super) fn of_explain(own: &str) -> Self {
        let kinds = NAMES.into_iter().chain([&ApiKind::INGRESS]).chain(&ApiKind::ROUTES).chain(&ApiKind::MESH_RULES);
        Self::of(kinds, &BTreeSet::from([own.to_owned()]))
    }

    /// What lint checks. `own` are the namespaces to read one by one if the API forbids to list all; so too below.
    pub(super) fn of_lint(own: &BTreeSet<String>) -> Self {
        let kinds = NAMES
            .into_iter()
            .chain([&ApiKind::ENDPOINTS, &ApiKind::INGRESS])
            .chain(&ApiKind::ROUTES)
            .chain(&ApiKind::MESH_RULES)
            .chain(&ApiKind::WORKLOADS)
            .chain(&ApiKind::DEPLOYED);
        Self::of(kinds, own)
    }

    /// What a comparison of tables needs; `labels` are the namespaces with subsets by labels of pods.
    pub(super) fn of_diff(own: &BTreeSet<String>, labels: &BTreeSet<String>) -> Self {
        let kinds = [&ApiKind::SERVICE, &ApiKind::ENDPOINT_SLICE, &ApiKind::NAMESPACE];
        let mut needs = Self::of(kinds, own);
        needs.add_labels(labels);
        needs
    }

    /// What a table is compiled from: the Services of `visible`, or all.
    pub(super) fn of_table(
        visible: &BTreeSet<String>,
        labels: &BTreeSet<String>,
        pod: Option<&NamespacedName>,
    ) -> Self {
        let kinds = [&ApiKind::SERVICE, &ApiKind::ENDPOINT_SLICE];
        let wanted = kinds.into_iter().map(|kind| Wanted::of_namespaces(kind, visible)).collect();
        let mut needs = Self { wanted, pod: None };
        needs.add_labels(labels);
        needs.pod = pod.cloned();
        if let Some(pod) = pod.filter(|pod| !labels.contains(&pod.namespace)) {
            needs.wanted.push(Wanted::one(&ApiKind::POD, pod.clone()));
        }
        needs
    }

    /// What the tables of sidecars are compared with. Annotations of Namespaces say what a server hides from those that it pushed.
    pub(super) fn of_comparison(labels: &BTreeSet<String>, is_pushed: bool) -> Self {
        let mut needs = Self::of_table(&BTreeSet::new(), labels, None);
        needs.wanted.extend(is_pushed.then(|| Wanted::of_namespaces(&ApiKind::NAMESPACE, &BTreeSet::new())));
        needs
    }

    /// What a bootstrap needs whose table a server pushes.
    pub(super) fn of_bootstrap(pod: Option<&NamespacedName>) -> Self {
        let wanted = pod.map(|pod| Wanted::one(&ApiKind::POD, pod.clone())).into_iter().collect();
        Self { wanted, pod: pod.cloned() }
    }

    fn of(kinds: impl IntoIterator<Item = &'static ApiKind>, own: &BTreeSet<String>) -> Self {
        let kinds: Vec<&'static ApiKind> = kinds.into_iter().collect();
        Self { wanted: Wanted::all(&kinds, own), pod: None }
    }

    fn add_labels(&mut self, namespaces: &BTreeSet<String>) {
        if !namespaces.is_empty() {
            self.wanted.push(Wanted::of_namespaces(&ApiKind::POD, namespaces));
        }
    }
}

/// Reads the cluster's objects, and warns of what could not be read.
pub(super) fn read_cluster(live: &LiveCluster, needs: &Needs) -> anyhow::Result<ClusterState> {
    let mut cluster = ClusterState::default();
    let complete = read_into(live, &needs.wanted, &mut |object| cluster.add(object))?;
    let node = needs.pod.as_ref().and_then(|pod| cluster.pods.get(pod)?.object.node.clone());
    if let Some(node) = node {
        let node = NamespacedName { namespace: String::new(), name: node };
        read_into(live, &[Wanted::one(&ApiKind::NODE, node)], &mut |object| cluster.add(object))?;
    }
    mark_complete(&mut cluster, &complete, live);
    Ok(cluster)
}

/// Reads the names of all namespaces.
pub(super) fn read_namespaces(live: &LiveCluster) -> anyhow::Result<ClusterState> {
    read_cluster(live, &Needs::of([&ApiKind::NAMESPACE], &BTreeSet::new()))
}

/// Reads the objects that lint checks.
pub(super) fn read_lint_input(live: &LiveCluster, needs: &Needs) -> anyhow::Result<LintInput> {
    let mut input = LintInput::default();
    let complete = read_into(live, &needs.wanted, &mut |object| input.add(object))?;
    mark_complete(&mut input.cluster, &complete, live);
    Ok(input)
}

/// What `byname check` looks at.
pub(super) fn check_needs(own: &BTreeSet<String>) -> Needs {
    Needs::of(NAMES.into_iter().chain([&ApiKind::SIDECAR]), own)
}

/// Reads what `byname check` looks at. Returns the kinds that could not be read.
pub(super) fn read_facts(live: &LiveCluster, needs: &Needs, facts: &mut ClusterFacts) -> anyhow::Result<Vec<Gap>> {
    let mut progress = LiveProgress::new(&live.called);
    let report = live.read(&needs.wanted, &mut |now| progress.show(now), &mut |object| facts.add(object))?;
    drop(progress);
    say_left_out(&report.left_out);
    mark_complete(&mut facts.cluster, &report.complete, live);
    Ok(report.gaps)
}

/// Notes which cluster is asked, if the user did not name it.
pub(super) fn say_chosen(live: &LiveCluster) {
    note(&format!("reading {} at {}; pass -f FILE to read files", live.called, live.url));
}

fn read_into(
    live: &LiveCluster,
    wanted: &[Wanted],
    each: &mut dyn FnMut(RawObject) -> Result<(), InputError>,
) -> anyhow::Result<BTreeSet<&'static str>> {
    let mut progress = LiveProgress::new(&live.called);
    let report = live.read(wanted, &mut |now| progress.show(now), each)?;
    drop(progress);
    report.gaps.iter().for_each(|gap| warn(&format!("{}: {}", live.called, gap.text)));
    say_left_out(&report.left_out);
    Ok(report.complete)
}

/// Records which kinds have no other objects than those that were read. Several kinds of the API are one for byname.
fn mark_complete(cluster: &mut ClusterState, complete: &BTreeSet<&'static str>, live: &LiveCluster) {
    let file: Arc<str> = live.called.as_str().into();
    let groups: [(&'static str, &[ApiKind]); 3] =
        [("Route", &ApiKind::ROUTES), ("Workload", &ApiKind::WORKLOADS), ("MeshRule", &ApiKind::MESH_RULES)];
    let is_grouped = |kind: &str| groups.iter().any(|(_, kinds)| kinds.iter().any(|one| one.kind == kind));
    for kind in complete.iter().filter(|kind| (!is_grouped(kind) && **kind != "Sidecar") || **kind == "ReferenceGrant")
    {
        cluster.mark_complete(kind, &file);
    }
    for (name, kinds) in groups {
        if kinds.iter().all(|kind| complete.contains(kind.kind)) {
            cluster.mark_complete(name, &file);
        }
    }
}
