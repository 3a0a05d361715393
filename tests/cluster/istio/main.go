// The parts of Istio that the tests start, each as a process of its own: istiod, a sidecar's agent and its iptables rules, and a
// registry of images; the workloads beside them: a server, and clients that curl cannot replace; Istio's own client of delta xDS, and one of
// the filter's own types.
//
// The first argument names the part. Each process ends when its standard input ends, so that none outlives the test; a request to the
// agent ends by itself.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/google/go-containerregistry/pkg/registry"
	meshconfig "istio.io/api/mesh/v1alpha1"
	agent "istio.io/istio/pilot/cmd/pilot-agent/app"
	discovery "istio.io/istio/pilot/cmd/pilot-discovery/app"
	istioagent "istio.io/istio/pkg/istio-agent"
	"istio.io/istio/pkg/security"
	"istio.io/istio/security/pkg/nodeagent/sds"
)

const parts = "istiod, agent, request, iptables, registry, server, load, ask, grpc, websocket, peer or names"

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("name a part: %s", parts))
	}
	part, arguments := os.Args[1], os.Args[2:]
	if part != "request" {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(0)
		}()
	}
	switch part {
	case "istiod":
		command := discovery.NewRootCommand()
		command.SetArgs(append([]string{"discovery"}, arguments...))
		fail(command.Execute())
	case "agent":
		fail(runAgent("proxy", arguments))
	case "request":
		fail(runAgent("request", arguments))
	case "iptables":
		fail(runAgent("istio-iptables", arguments))
	case "registry":
		if len(arguments) != 3 {
			fail(fmt.Errorf("registry takes the address to listen on, a certificate and its key"))
		}
		fail(http.ListenAndServeTLS(arguments[0], arguments[1], arguments[2], registry.New()))
	case "server":
		fail(runServer(arguments))
	case "load":
		fail(runLoad(arguments))
	case "ask":
		fail(runAsk(arguments))
	case "grpc":
		fail(runGRPC(arguments))
	case "websocket":
		fail(runWebSocket(arguments))
	case "peer":
		fail(runPeer(arguments))
	case "names":
		fail(runNames(arguments))
	default:
		fail(fmt.Errorf("%s is no part: use %s", part, parts))
	}
}

func runAgent(subcommand string, arguments []string) error {
	command := agent.NewRootCommand(func(options *security.Options, secrets security.SecretManager, provider *meshconfig.PrivateKeyProvider) istioagent.SDSService {
		return sds.NewServer(options, secrets, provider)
	})
	command.SetArgs(append([]string{subcommand}, arguments...))
	return command.Execute()
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}
