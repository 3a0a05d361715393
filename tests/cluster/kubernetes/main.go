// The parts of a Kubernetes cluster that the tests start, each as a process of its own: etcd, the API server, the controllers,
// and a stand-in for scheduler and kubelet.
//
// The first argument names the part; the API server and the controllers take their own flags after it. Each process ends when
// its standard input ends, so that none outlives the test that started it.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("name a part: etcd, compact, apiserver, controllers or kubelet"))
	}
	part, arguments := os.Args[1], os.Args[2:]
	go endWithStandardInput()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	switch part {
	case "etcd":
		fail(runEtcd(ctx, arguments))
	case "compact":
		fail(compact(ctx, arguments))
	case "apiserver":
		command := apiserver.NewAPIServerCommand()
		command.SetArgs(arguments)
		fail(command.ExecuteContext(ctx))
	case "controllers":
		command := controllers.NewControllerManagerCommand()
		command.SetArgs(arguments)
		fail(command.ExecuteContext(ctx))
	case "kubelet":
		fail(runKubelet(ctx, arguments))
	default:
		fail(fmt.Errorf("%s is no part: use etcd, compact, apiserver, controllers or kubelet", part))
	}
}

// endWithStandardInput ends the process when whoever started it is gone, however that one ended.
func endWithStandardInput() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}
