//! What a sidecar is given without byname: a virtual host for every Service with every spelling of its name, and a cluster
//! for each with all endpoints.

use std::{fs, path::Path};

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    contestant::Setting,
    world::{OWN, World, addresses, canonical, namespace, service},
};

/// Writes what Envoy discovers, as JSON, which it reads faster than YAML: what is measured should not be a parser that no
/// control plane uses. Gives the fields of the connection manager and of the bootstrap that name the files.
pub(super) fn write(directory: &Path, world: World, upstream: u16, setting: Setting) -> Result<(Value, Value)> {
    fs::create_dir_all(directory)?;
    let file = |kind: &str, resource: &str, resources: Vec<Value>| -> Result<Value> {
        let path = directory.join(format!("{kind}-{}.json", world.services));
        let typed = |mut resource_fields: Value| {
            resource_fields["@type"] = format!("type.googleapis.com/envoy.config.{resource}").into();
            resource_fields
        };
        let resources: Vec<Value> = resources.into_iter().map(typed).collect();
        fs::write(&path, json!({"version_info": "1", "resources": resources}).to_string())?;
        Ok(json!({"resource_api_version": "V3", "path_config_source": {"path": path}}))
    };
    let routes = json!({"name": "outbound", "virtual_hosts": virtual_hosts(world, setting)});
    let routes = file("routes", "route.v3.RouteConfiguration", vec![routes])?;
    let routes = json!({"rds": {"route_config_name": "outbound", "config_source": routes}});
    let discovery = match setting {
        // Their connections, one or more for each, would be measured in place of the choice among them.
        Setting::Requests => json!({}),
        Setting::Standing => json!({"cds_config": file("clusters", "cluster.v3.Cluster", clusters(world, upstream))?}),
    };
    Ok((routes, discovery))
}

fn virtual_hosts(world: World, setting: Setting) -> Vec<Value> {
    let virtual_host = |name: &str, namespace: &str, target: usize| {
        let cluster = match setting {
            Setting::Requests => "upstream".to_owned(),
            Setting::Standing => cluster_name(target),
        };
        json!({
            "name": format!("{name}.{namespace}.svc.cluster.local:80"),
            "domains": spellings(name, namespace),
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": cluster}}],
        })
    };
    let services = (0..world.services).map(|index| virtual_host(&service(index), &namespace(index), index));
    services.chain(world.aliases().map(|(alias, target)| virtual_host(&alias, OWN, target))).collect()
}

/// How the caller's programs may write a name; short in their own namespace alone.
fn spellings(name: &str, namespace: &str) -> Vec<String> {
    let longer = [".svc.cluster.local", ".svc", ""].map(|end| format!("{name}.{namespace}{end}"));
    let short = (namespace == OWN).then(|| name.to_owned());
    longer.into_iter().chain(short).flat_map(|spelling| [format!("{spelling}:80"), spelling]).collect()
}

fn clusters(world: World, upstream: u16) -> Vec<Value> {
    let endpoint = |address: String, port: u16| json!({"endpoint": {"address": {"socket_address": {"address": address, "port_value": port}}}});
    let cluster = |index: usize| {
        // Of these the first Service's alone is asked for.
        let endpoints: Vec<Value> = match index {
            0 => vec![endpoint("127.0.0.1".to_owned(), upstream)],
            _ => addresses(index).map(|address| endpoint(address, 8080)).collect(),
        };
        let name = cluster_name(index);
        json!({
            "name": name,
            "type": "STATIC",
            "connect_timeout": "1s",
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
        })
    };
    (0..world.services).map(cluster).collect()
}

fn cluster_name(index: usize) -> String {
    format!("outbound|80||{}", canonical(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_in_its_own_namespace_alone() {
        assert_eq!(spellings("web", OWN).len(), 8);
        let elsewhere = spellings("web", "team-1");
        assert_eq!(elsewhere.len(), 6);
        assert!(elsewhere.contains(&"web.team-1.svc:80".to_owned()) && !elsewhere.contains(&"web".to_owned()));
    }
}
