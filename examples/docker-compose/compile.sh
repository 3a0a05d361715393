#!/bin/sh
# Writes what the sidecars load: the module, and for each namespace a bootstrap and the files that it watches, which are
# replaced one by one. Pods that are named as arguments are not ready, as Kubernetes has it once they are gone.
set -eu

cluster=$(mktemp -d)
cp /shop/cluster.yaml "$cluster"
for pod in "$@"; do
    grep -q "# $pod\$" "$cluster/cluster.yaml" || { echo "compile.sh: there is no pod $pod in cluster.yaml" >&2; exit 1; }
    sed -i "s/ready: true}} # $pod\$/ready: false}} # $pod/" "$cluster/cluster.yaml"
done

cp /usr/local/share/byname/byname.wasm /etc/byname/byname.wasm.new
mv /etc/byname/byname.wasm.new /etc/byname/byname.wasm

# With docker-compose.serve.yaml, servers follow the objects. A sidecar has only to know the server, and to prove who it is.
if [ -n "${SERVER:-}" ]; then
    mkdir -p /etc/byname/objects
    cp "$cluster/cluster.yaml" /etc/byname/objects/.new
    mv /etc/byname/objects/.new /etc/byname/objects/cluster.yaml
    for namespace in shop billing; do
        mkdir -p "/etc/byname/$namespace"
        byname compile --format envoy-bootstrap --server "$SERVER" --namespace "$namespace" --module /etc/byname/byname.wasm \
            --server-ca-file /tls/ca.pem --client-cert-file "/tls/$namespace.pem" --client-key-file "/tls/$namespace.key" \
            --secrets-directory "/etc/byname/$namespace" --secrets-output "/etc/byname/$namespace" \
            --output-file "/etc/byname/$namespace/bootstrap.yaml"
        echo "$namespace: compiled"
    done
    exit
fi

for namespace in shop billing; do
    to=/etc/byname/$namespace
    mkdir -p "$to/live"
    compile() {
        byname compile -f "$cluster" --config /shop/byname.yaml --namespace "$namespace" --ca-file /tls/certificate.pem "$@"
    }
    compile --format envoy-bootstrap --pass "$PASS" --ecds-file "$to/live/byname.yaml" --cds-file "$to/live/clusters.yaml" \
        --output-file "$to/bootstrap.yaml"
    compile --format envoy-ecds --clusters-output "$to/live/clusters.yaml" --output-file "$to/live/byname.yaml"
    echo "$namespace: compiled"
done
