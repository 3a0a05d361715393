//! The API of the tests works with a real kubectl.

use std::fs;

use byname_test_support::{Shell, kubectl_binary, kubernetes::KubernetesApi};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn the_test_api_accepts_kubectl_apply() {
    let api = KubernetesApi::start().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let kubectl = kubectl_binary().unwrap();
    let shell = Shell::new(&[("kubectl", &kubectl)]).unwrap().kubeconfig(&api.kubeconfig(directory.path()));
    let file = directory.path().join("objects.yaml");
    let write = |port: u16| {
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"ports": [{"name": "http", "port": port}]}});
        let plugin = json!({"apiVersion": "extensions.istio.io/v1alpha1", "kind": "WasmPlugin",
            "metadata": {"name": "byname", "namespace": "shop"}, "spec": {"priority": port}});
        fs::write(&file, format!("{service}\n---\n{plugin}\n")).unwrap();
        (service, plugin)
    };
    let apply = format!("kubectl apply -f {}", file.display());
    write(80);
    let refused = shell.run(&apply).unwrap_err().to_string();
    assert!(refused.contains("namespaces \"shop\" not found"), "{refused}");
    api.put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}));
    let plugin_name = "wasmplugin.extensions.istio.io/byname";
    for (port, done) in [(80, "created"), (80, "unchanged"), (81, "configured")] {
        let (service, plugin) = write(port);
        let printed = shell.run(&apply).unwrap();
        assert_eq!(printed, format!("service/web {done}\n{plugin_name} {done}\n"));
        assert_eq!(api.object("Service", "shop", "web"), Some(service));
        assert_eq!(api.object("WasmPlugin", "shop", "byname"), Some(plugin));
    }
    let (_, plugin) = write(82);
    shell.run("kubectl delete -n shop service web").unwrap();
    assert_eq!(api.object("Service", "shop", "web"), None);
    let printed = shell.run(&format!("kubectl replace --force -f {}", file.display()));
    assert!(printed.is_ok(), "{printed:?}");
    assert_eq!(api.object("WasmPlugin", "shop", "byname"), Some(plugin));
    assert!(shell.run("kubectl get services -n shop").unwrap().contains("web"));
    write(83);
    let printed = shell.run(&format!("{apply} --dry-run=client")).unwrap();
    assert!(printed.contains("service/web configured (dry run)"), "{printed}");
    assert_eq!(api.object("Service", "shop", "web").unwrap()["spec"]["ports"][0]["port"], 82);
    assert!(shell.run("kubectl get deployments -n nowhere").unwrap().contains("No resources found"));
}
