// Runs CoreDNS with the plugins that answer for a Kubernetes cluster, and no others.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/log"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/reload"
	_ "github.com/coredns/coredns/plugin/template"
)

// The order in which CoreDNS runs the plugins.
func init() {
	dnsserver.Directives = []string{"reload", "ready", "errors", "log", "cache", "kubernetes", "template"}
}

func main() { coremain.Run() }
