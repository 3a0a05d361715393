//! A real cluster for tests: etcd, Kubernetes' API server and controllers, CoreDNS and Istio, each as a process.
//!
//! The parts listen on fixed ports and addresses, so they run in a network namespace of their own: `make test-cluster` makes it.

mod cluster;
mod coredns;
mod envoy;
mod istio;
mod load;
mod metric;
mod netns;
mod part;
mod pod;
mod redirect;
mod serve;
mod server;
mod watch;

pub use self::{
    cluster::{API_ADDRESS, Cluster, ClusterOptions, run},
    coredns::{CoreDns, DnsClient},
    envoy::WatchedEnvoy,
    istio::{CRASHING_HEADERS, HOST_OUTSIDE, Istio, Istiod, OUTSIDE_HTTP},
    load::{Answers, LoadedEnvoy},
    part::{Part, eventually},
    pod::{Answer, Pod, PodOptions},
    redirect::{REDIRECTED_TO, RedirectedPod},
    serve::{
        NamesClient, Peer, Serve, ServedEnvoy, ToldNames, UpstreamCluster, UpstreamClusters, compiled_clusters,
        compiled_table, wait_until_equal,
    },
    server::{MeshServer, SERVER, XFCC_PORT},
    watch::{Watch, byname_program},
};
