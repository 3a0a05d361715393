"""Write a dump of a large cluster as `kubectl get svc,endpointslices,pods -A -o yaml` prints it (docs/compile.md, "Sizes").

    python3 benches/dump.py > target/dump.yaml                     # 10,000 Services of 10 endpoints, and 50,000 pods: 113 MB
    python3 benches/dump.py --services 100 --pods 500 > small.yaml
    python3 benches/dump.py --json > target/dump.json              # as `-o json` prints it
    python3 benches/dump.py --kind-last > target/typed.yaml        # a ServiceList whose kind comes after its items
"""

import argparse
import json
import math
import sys

CREATED = "2026-03-01T08:15:42Z"


def metadata(name, namespace, labels, uid, **more):
    fields = {
        "annotations": {"deployment.example.com/commit": f"{uid * 7919 % 0xFFFFFFF:07x}", "team": f"team-{uid % 40}"},
        "creationTimestamp": CREATED,
        "labels": labels,
        "name": name,
        "namespace": namespace,
        "resourceVersion": str(4_000_000 + uid),
        "uid": f"{uid:08x}-8c1d-4a52-9a34-{uid:012x}",
    }
    return dict(sorted({**fields, **more}.items()))


def address(number):
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def service(index):
    name, namespace = f"service-{index:05}", f"namespace-{index % 50:02}"
    cluster_ip = f"172.{16 + (index >> 16)}.{index >> 8 & 255}.{index & 255}"
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(name, namespace, {"app": name, "tier": "backend"}, index),
        "spec": {
            "clusterIP": cluster_ip,
            "clusterIPs": [cluster_ip],
            "internalTrafficPolicy": "Cluster",
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http"}],
            "selector": {"app": name},
            "sessionAffinity": "None",
            "type": "ClusterIP",
        },
        "status": {"loadBalancer": {}},
    }


def endpoint(index, number, namespace):
    pod = index * 10 + number
    return {
        "addresses": [address(pod)],
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "nodeName": f"node-{pod % 500:03}",
        "targetRef": {
            "kind": "Pod",
            "name": f"service-{index:05}-6d4cf56db6-{pod:05x}",
            "namespace": namespace,
            "uid": f"{pod:08x}-5b7e-4f0a-b1c6-{pod:012x}",
        },
        "zone": f"zone-{'abc'[pod % 3]}",
    }


def endpoint_slice(index):
    service_name, namespace = f"service-{index:05}", f"namespace-{index % 50:02}"
    labels = {
        "app": service_name,
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        "kubernetes.io/service-name": service_name,
    }
    owner = {
        "apiVersion": "v1",
        "blockOwnerDeletion": True,
        "controller": True,
        "kind": "Service",
        "name": service_name,
        "uid": f"{index:08x}-8c1d-4a52-9a34-{index:012x}",
    }
    return {
        "addressType": "IPv4",
        "apiVersion": "discovery.k8s.io/v1",
        "endpoints": [endpoint(index, number, namespace) for number in range(10)],
        "kind": "EndpointSlice",
        "metadata": metadata(f"{service_name}-x{index:04x}", namespace, labels, 100_000 + index, ownerReferences=[owner]),
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }


def pod(index):
    owner = f"service-{index % 10_000:05}"
    labels = {"app": owner, "pod-template-hash": "6d4cf56db6"}
    container = {
        "args": ["--listen=:8080", "--log-format", "json"],
        "env": [{"name": "REGION", "value": "eu-west-1"}, {"name": "WORKERS", "value": "4"}],
        "image": f"registry.example.com/{owner}:1.{index % 90}.0",
        "name": "app",
        "ports": [{"containerPort": 8080, "name": "http", "protocol": "TCP"}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(f"{owner}-6d4cf56db6-{index:05x}", f"namespace-{index % 50:02}", labels, 200_000 + index),
        "spec": {
            "containers": [container],
            "dnsPolicy": "ClusterFirst",
            "nodeName": f"node-{index % 500:03}",
            "restartPolicy": "Always",
            "serviceAccountName": "default",
            "tolerations": [
                {"effect": "NoExecute", "key": f"node.kubernetes.io/{taint}", "operator": "Exists", "tolerationSeconds": 300}
                for taint in ("not-ready", "unreachable")
            ],
        },
        "status": {
            "conditions": [{"lastProbeTime": None, "lastTransitionTime": CREATED, "status": "True", "type": "Ready"}],
            "hostIP": f"192.168.{index % 500 >> 8}.{index % 500 & 255}",
            "phase": "Running",
            "podIP": address(index),
            "podIPs": [{"ip": address(index)}],
            "startTime": CREATED,
        },
    }


def is_number(text):
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def scalar(value):
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    # kubectl quotes texts that YAML 1.1 reads as something else. Beyond the range of a double, digits are text.
    if isinstance(value, str) and (value in ("True", "False") or value == CREATED or is_number(value)):
        return f'"{value}"'
    return str(value)


def write_yaml(value, indent, out):
    """Writes the lines of `value`, whose first line the caller has begun."""
    if isinstance(value, dict) and value:
        for index, (key, child) in enumerate(value.items()):
            out.append((" " * indent if index else "") + f"{key}:")
            if isinstance(child, (dict, list)) and child:
                out.append("\n")
                # Lists stand in the column of their key.
                deeper = indent if isinstance(child, list) else indent + 2
                out.append(" " * deeper)
                write_yaml(child, deeper, out)
            else:
                out.append(" ")
                write_yaml(child, indent, out)
    elif isinstance(value, list) and value:
        for index, child in enumerate(value):
            out.append((" " * indent if index else "") + "- ")
            write_yaml(child, indent + 2, out)
    else:
        text = {dict: "{}", list: "[]"}.get(type(value)) or scalar(value)
        out.append(f"{text}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=10_000, help="the number of Services of 10 endpoints")
    parser.add_argument("--pods", type=int, default=50_000, help="the number of pods")
    parser.add_argument("--json", action="store_true", help="write JSON")
    parser.add_argument("--kind-last", action="store_true", help="write a ServiceList of items without kinds")
    arguments = parser.parse_args()

    def items():
        for index in range(arguments.services):
            yield service(index)
            if not arguments.kind_last:
                yield endpoint_slice(index)
        if not arguments.kind_last:
            yield from map(pod, range(arguments.pods))

    write = sys.stdout.write
    if arguments.json:
        write('{\n    "apiVersion": "v1",\n    "items": [')
        for index, item in enumerate(items()):
            text = json.dumps(item, indent=4).replace("\n", "\n        ")
            write(f"{',' if index else ''}\n        {text}")
        write('\n    ],\n    "kind": "List",\n    "metadata": {\n        "resourceVersion": ""\n    }\n}\n')
        return
    write("apiVersion: v1\nitems:\n")
    for item in items():
        out = ["- "]
        if arguments.kind_last:
            del item["apiVersion"], item["kind"]
        write_yaml(item, 2, out)
        write("".join(out))
    write("kind: " + ("ServiceList" if arguments.kind_last else "List") + '\nmetadata:\n  resourceVersion: ""\n')


main()
