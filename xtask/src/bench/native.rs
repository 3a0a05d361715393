//! A sidecar's configuration without byname: a virtual host for every Service with every spelling of its name, and a
//! cluster with all its endpoints.

use std::{fs, path::Path};

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    setting::Setting,
    world::{OWN, World, addresses, canonical, namespace, service},
};

/// Writes the discovered resources as JSON. No control plane sends YAML, so Envoy's slower YAML parser must not be
/// measured. Returns the fields of the connection manager and of the bootstrap that name the files.
pub(super) fn write(directory: &Path, world: World, upstream: u16, setting: Setting) -> Result<(Value, Value)> {
    let routes = directory.join(format!("routes-{}.json", world.services));
    let clusters = directory.join(format!("clusters-{}.json", world.services));
    let rds = write_routes(&routes, virtual_hosts(world, setting))?;
    let discovery = match setting {
        // All routes use one cluster, or opening connections to many clusters would dominate the measurement.
        Setting::Requests => json!({}),
        Setting::Standing => {
            fs::write(&clusters, discovered("cluster.v3.Cluster", all_clusters(world, upstream)))?;
            json!({"cds_config": source(&clusters)})
        }
    };
    Ok((rds, discovery))
}

/// Writes the routes to a file, and returns the connection manager's field that names it.
pub(super) fn write_routes(path: &Path, virtual_hosts: Vec<Value>) -> Result<Value> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let routes = json!({"name": "outbound", "virtual_hosts": virtual_hosts});
    fs::write(path, discovered("route.v3.RouteConfiguration", vec![routes]))?;
    Ok(json!({"rds": {"route_config_name": "outbound", "config_source": source(path)}}))
}

/// The text of a file with these resources.
pub(super) fn discovered(kind: &str, mut resources: Vec<Value>) -> String {
    for resource in &mut resources {
        resource["@type"] = format!("type.googleapis.com/envoy.config.{kind}").into();
    }
    json!({"version_info": "1", "resources": resources}).to_string()
}

/// The config source for a file that Envoy watches.
pub(super) fn source(path: &Path) -> Value {
    json!({"resource_api_version": "V3", "path_config_source": {"path": path}})
}

pub(super) fn virtual_hosts(world: World, setting: Setting) -> Vec<Value> {
    let virtual_host = |name: &str, namespace: &str, target: usize| match setting {
        Setting::Requests => virtual_host(name, namespace, "upstream"),
        Setting::Standing => virtual_host(name, namespace, &cluster_name(&canonical(target))),
    };
    let services = (0..world.services).map(|index| virtual_host(&service(index), &namespace(index), index));
    services.chain(world.aliases().map(|(alias, target)| virtual_host(&alias, OWN, target))).collect()
}

pub(super) fn virtual_host(name: &str, namespace: &str, cluster: &str) -> Value {
    json!({
        "name": format!("{name}.{namespace}.svc.cluster.local:80"),
        "domains": spellings(name, namespace),
        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": cluster}}],
    })
}

/// The spellings of a name by workloads of the caller's namespace. Only names in this namespace have a short spelling.
fn spellings(name: &str, namespace: &str) -> Vec<String> {
    let longer = [".svc.cluster.local", ".svc", ""].map(|end| format!("{name}.{namespace}{end}"));
    let short = (namespace == OWN).then(|| name.to_owned());
    longer.into_iter().chain(short).flat_map(|spelling| [format!("{spelling}:80"), spelling]).collect()
}

pub(super) fn all_clusters(world: World, upstream: u16) -> Vec<Value> {
    let of_service = |index: usize| {
        // Requests go only to the first Service.
        let endpoints: Vec<Value> = match index {
            0 => vec![endpoint("127.0.0.1", upstream)],
            _ => addresses(index).map(|address| endpoint(&address, 8080)).collect(),
        };
        cluster(&canonical(index), endpoints)
    };
    (0..world.services).map(of_service).collect()
}

/// The cluster of the Service with this canonical name.
pub(super) fn cluster(canonical: &str, endpoints: Vec<Value>) -> Value {
    let name = cluster_name(canonical);
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
    })
}

pub(super) fn endpoint(address: &str, port: u16) -> Value {
    json!({"endpoint": {"address": {"socket_address": {"address": address, "port_value": port}}}})
}

pub(super) fn cluster_name(canonical: &str) -> String {
    format!("outbound|80||{canonical}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_own_namespace_have_a_short_spelling() {
        assert_eq!(spellings("web", OWN).len(), 8);
        let elsewhere = spellings("web", "team-1");
        assert_eq!(elsewhere.len(), 6);
        assert!(elsewhere.contains(&"web.team-1.svc:80".to_owned()) && !elsewhere.contains(&"web".to_owned()));
    }
}
