//! Kubernetes accepts the objects of the folder, and the objects fit together.

use std::{collections::BTreeSet, fs, path::Path};

use byname_test_support::{Shell, kubectl_binary, repository, yaml_documents};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Container, Namespace, PodSpec, Service, ServiceAccount, Volume},
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// The size limit of a Kubernetes object.
const OBJECT: usize = 1024 * 1024;

/// The objects of the folder, as kubectl builds them.
fn objects() -> Vec<Value> {
    let shell = Shell::new(&[("kubectl", &kubectl_binary().unwrap())]).unwrap();
    yaml_documents(&shell.run("kubectl kustomize examples/kubernetes").unwrap()).unwrap()
}

fn of_kind<T: DeserializeOwned>(kind: &str) -> Vec<T> {
    let objects = objects().into_iter().filter(|object| object["kind"] == kind);
    objects.map(|object| serde_json::from_value(object).unwrap()).collect()
}

fn pods() -> Vec<PodSpec> {
    let deployments: Vec<Deployment> = of_kind("Deployment");
    deployments.into_iter().map(|deployment| deployment.spec.template.spec.unwrap()).collect()
}

fn checkout() -> PodSpec {
    pods().into_iter().find(|pod| pod.init_containers.is_some()).unwrap()
}

fn containers(pod: &PodSpec) -> impl Iterator<Item = &Container> {
    pod.init_containers.iter().flatten().chain(&pod.containers)
}

/// Reads an object into its type and writes it again. The comparison reveals unknown and misspelt fields.
fn is_strictly<T: DeserializeOwned + Serialize>(object: &Value) -> Result<(), String> {
    let typed: T = serde_json::from_value(object.clone()).map_err(|error| error.to_string())?;
    match serde_json::to_value(typed).map_err(|error| error.to_string())? {
        again if again == *object => Ok(()),
        again => Err(format!("is read as {again} and not as {object}")),
    }
}

fn is_valid(object: &Value) -> Result<(), String> {
    match object["kind"].as_str().unwrap() {
        "ClusterRole" => is_strictly::<ClusterRole>(object),
        "ClusterRoleBinding" => is_strictly::<ClusterRoleBinding>(object),
        "ConfigMap" => is_strictly::<ConfigMap>(object),
        "Deployment" => is_strictly::<Deployment>(object),
        "Namespace" => is_strictly::<Namespace>(object),
        "Role" => is_strictly::<Role>(object),
        "RoleBinding" => is_strictly::<RoleBinding>(object),
        "Service" => is_strictly::<Service>(object),
        "ServiceAccount" => is_strictly::<ServiceAccount>(object),
        kind => Err(format!("the test knows no {kind}")),
    }
}

#[test]
fn kubernetes_accepts_each_object() {
    for object in objects() {
        assert_eq!(is_valid(&object), Ok(()), "{}", object["metadata"]["name"]);
        assert!(object.to_string().len() < OBJECT);
    }
    // The check finds a misspelt field.
    let mut deployment = objects().into_iter().find(|object| object["kind"] == "Deployment").unwrap();
    deployment["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = Value::Object(Default::default());
    assert!(is_valid(&deployment).is_err());
}

/// The namespace enforces the Pod Security Standard "restricted". The pods are stricter.
#[test]
fn containers_have_no_needless_privileges() {
    let namespaces: Vec<Namespace> = of_kind("Namespace");
    let labels = namespaces[0].metadata.labels.as_ref().unwrap();
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted");
    for pod in pods() {
        assert_eq!(pod.automount_service_account_token, Some(false));
        let security = pod.security_context.as_ref().unwrap();
        assert_eq!((security.run_as_non_root, security.run_as_user), (Some(true), Some(65532)));
        assert_eq!(security.seccomp_profile.as_ref().unwrap().type_, "RuntimeDefault");
        for container in containers(&pod) {
            let security = container.security_context.as_ref().unwrap();
            assert_eq!(security.read_only_root_filesystem, Some(true), "{}", container.name);
            assert_eq!(security.allow_privilege_escalation, Some(false), "{}", container.name);
            let capabilities = security.capabilities.as_ref().unwrap();
            assert_eq!((capabilities.drop.as_deref(), &capabilities.add), (Some(&["ALL".to_owned()][..]), &None));
            let resources = container.resources.as_ref().unwrap();
            let requests = resources.requests.as_ref().unwrap();
            assert!(requests.contains_key("cpu") && requests.contains_key("memory"), "{}", container.name);
            assert!(resources.limits.as_ref().unwrap().contains_key("memory"), "{}", container.name);
        }
    }
    let has_token = |container: &&Container| mounts(container).iter().any(|(name, _)| *name == "token");
    let pod = checkout();
    let with_token: Vec<&str> = containers(&pod).filter(has_token).map(|container| &*container.name).collect();
    assert_eq!(with_token, ["byname-watch"], "only byname-watch uses the API");
}

fn mounts(container: &Container) -> Vec<(&str, &str)> {
    let mounts = container.volume_mounts.iter().flatten();
    mounts.map(|mount| (&*mount.name, &*mount.mount_path)).collect()
}

/// The files that a volume has when the pod starts; `None` for a volume that starts empty.
fn files(volume: &Volume, maps: &[ConfigMap]) -> Option<Vec<String>> {
    let name = &volume.config_map.as_ref()?.name;
    let map = maps.iter().find(|map| map.metadata.name.as_ref() == Some(name));
    let map = map.unwrap_or_else(|| panic!("no ConfigMap {name}"));
    Some(map.data.iter().flatten().map(|(file, _)| file.clone()).collect())
}

#[test]
fn every_path_is_in_a_mounted_volume() {
    let (pod, maps) = (checkout(), of_kind::<ConfigMap>("ConfigMap"));
    let volumes = pod.volumes.as_deref().unwrap();
    let bootstrap = fs::read_to_string(repository().join("examples/kubernetes/bootstrap.yaml")).unwrap();
    let bootstrap_paths: Vec<&str> = bootstrap.split('"').filter(|text| !text.contains(char::is_whitespace)).collect();
    let mut used = BTreeSet::new();
    for container in containers(&pod) {
        let words: Vec<&str> = container.command.iter().flatten().map(String::as_str).collect();
        // The path after --module is a path in Envoy's container.
        let (of_envoy, mut texts): (Vec<_>, Vec<_>) =
            words.iter().enumerate().partition(|(at, _)| *at > 0 && words[at - 1] == "--module");
        assert!(of_envoy.iter().all(|(_, path)| bootstrap.contains(&format!("\"{path}\""))), "{of_envoy:?}");
        if container.name == "envoy" {
            texts.extend(bootstrap_paths.iter().enumerate());
        }
        for (_, path) in texts.into_iter().filter(|(_, text)| text.starts_with("/etc/byname")) {
            let mount = mounts(container).into_iter().find(|(_, at)| Path::new(path).starts_with(at));
            let (name, at) = mount.unwrap_or_else(|| panic!("{}: {path} is in no volume", container.name));
            let volume = volumes.iter().find(|volume| volume.name == name).unwrap();
            let file = Path::new(path).strip_prefix(at).unwrap().display().to_string();
            let is_there = files(volume, &maps).is_none_or(|files| files.contains(&file));
            assert!(is_there, "{}: {name} holds no {file}", container.name);
        }
        for (name, _) in mounts(container) {
            assert!(volumes.iter().any(|volume| volume.name == name), "{}: no volume {name}", container.name);
            used.insert(name);
        }
    }
    let all: BTreeSet<&str> = volumes.iter().map(|volume| &*volume.name).collect();
    assert_eq!(used, all);
}

#[test]
fn names_ports_and_images_agree() {
    let pod = checkout();
    let accounts: Vec<ServiceAccount> = of_kind("ServiceAccount");
    assert_eq!(pod.service_account_name, accounts[0].metadata.name);
    let bootstrap = fs::read_to_string(repository().join("examples/kubernetes/bootstrap.yaml")).unwrap();
    let bootstrap = &yaml_documents(&bootstrap).unwrap()[0];
    let listener = &bootstrap["static_resources"]["listeners"][0]["address"]["socket_address"];
    let proxy = format!("{}:{}", listener["address"].as_str().unwrap(), listener["port_value"]);
    assert_eq!(proxy, "127.0.0.1:15001");
    let container = |name: &str| containers(&pod).find(|container| container.name == name).unwrap();
    let env = container("checkout").env.as_ref().unwrap();
    assert_eq!(env[0].value.as_deref(), Some(&*format!("http://{proxy}")));
    let probe = container("envoy").startup_probe.as_ref().unwrap().exec.as_ref().unwrap();
    assert!(probe.command.as_ref().unwrap()[2].ends_with(&proxy.replace(':', "/")));
    let watch = container("byname-watch");
    let port = watch.ports.as_ref().unwrap()[0].container_port;
    assert!(watch.command.as_ref().unwrap().contains(&format!(":{port}")));
    // Envoy's node metadata names the namespace of the pod.
    assert_eq!(bootstrap["node"]["metadata"]["NAMESPACE"], "shop");
    let version = fs::read_to_string(repository().join("envoy/VERSION")).unwrap();
    let image = container("envoy").image.clone().unwrap();
    assert_eq!(image, format!("envoyproxy/envoy:v{}", version.trim()));
    let own = format!("registry.example.com/byname-cli:{}", env!("CARGO_PKG_VERSION"));
    assert_eq!((&watch.image, &container("module").image), (&Some(own.clone()), &Some(own)));
}
