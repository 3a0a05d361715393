package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	wasm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"istio.io/istio/pilot/pkg/model"
	v3 "istio.io/istio/pilot/pkg/xds/v3"
	"istio.io/istio/pkg/adsc"
)

// known is what a server has sent, as far as it was not removed since.
type known struct {
	// The filter's configuration.
	Filter json.RawMessage `json:"filter"`
	// Clusters by name.
	Clusters map[string]json.RawMessage `json:"clusters"`
	// Addresses of the endpoints by cluster.
	Endpoints map[string][]string `json:"endpoints"`
}

// print writes all that is known as one line.
func (k *known) print() {
	if err := json.NewEncoder(os.Stdout).Encode(k); err != nil {
		fail(err)
	}
}

// runPeer is Istio's client of delta ADS. It asks a server for the filter `byname`, and for clusters with their endpoints, and prints
// what it has whenever that changes.
func runPeer(arguments []string) error {
	flags := flag.NewFlagSet("peer", flag.ExitOnError)
	server := flags.String("server", "", "host and port of the server")
	namespace := flags.String("namespace", "", "namespace of the client")
	zone := flags.String("zone", "", "zone of the client")
	node := flags.String("node", "", "Kubernetes node of the client")
	headers := headerFlag(flags)
	_ = flags.Parse(arguments)
	names := flags.Args()

	all := known{Clusters: map[string]json.RawMessage{}, Endpoints: map[string][]string{}}
	// The client forgets a resource without complaint only if another one depends on it. So the clusters and the endpoints depend on
	// the filter, as they do in an Envoy that asks for clusters on demand.
	onFilter := adsc.Register(func(ctx adsc.HandlerContext, _, _ string, filter *core.TypedExtensionConfig, event adsc.Event) {
		if event == adsc.EventAdd {
			text, err := configuration(filter)
			if err != nil {
				ctx.Reject(err)
				return
			}
			all.Filter = text
			ctx.RegisterDependency(v3.ClusterType, names...)
			ctx.RegisterDependency(v3.EndpointType, names...)
		} else {
			all.Filter = nil
		}
		all.print()
	})
	onCluster := adsc.Register(func(ctx adsc.HandlerContext, name, _ string, cluster *cluster.Cluster, event adsc.Event) {
		if event == adsc.EventAdd {
			if err := cluster.ValidateAll(); err != nil {
				ctx.Reject(err)
				return
			}
			text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(cluster)
			if err != nil {
				ctx.Reject(err)
				return
			}
			all.Clusters[name] = text
		} else {
			delete(all.Clusters, name)
		}
		all.print()
	})
	onEndpoints := adsc.Register(func(ctx adsc.HandlerContext, name, _ string, assignment *endpoint.ClusterLoadAssignment, event adsc.Event) {
		if event == adsc.EventAdd {
			if err := assignment.ValidateAll(); err != nil {
				ctx.Reject(err)
				return
			}
			all.Endpoints[name] = addresses(assignment)
		} else {
			delete(all.Endpoints, name)
		}
		all.print()
	})
	withHeaders := func(ctx context.Context, description *grpc.StreamDesc, connection *grpc.ClientConn, method string, streamer grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
		return streamer(metadata.AppendToOutgoingContext(ctx, *headers...), description, connection, method, options...)
	}
	config := &adsc.DeltaADSConfig{Config: adsc.Config{
		GrpcOpts:  []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithStreamInterceptor(withHeaders)},
		Namespace: *namespace,
		NodeType:  model.SidecarProxy,
		IP:        "127.0.0.1",
		Meta: &structpb.Struct{Fields: map[string]*structpb.Value{
			"NAMESPACE": structpb.NewStringValue(*namespace), "NODE_NAME": structpb.NewStringValue(*node),
		}},
		Locality: &core.Locality{Zone: *zone},
	}}
	client := adsc.NewDelta(*server, config, onFilter, onCluster, onEndpoints, adsc.Watch[*core.TypedExtensionConfig]("byname"))
	client.Run(context.Background())
	return fmt.Errorf("the client ended")
}

// configuration is the JSON in a Wasm filter.
func configuration(filter *core.TypedExtensionConfig) (json.RawMessage, error) {
	var module wasm.Wasm
	if err := filter.TypedConfig.UnmarshalTo(&module); err != nil {
		return nil, err
	}
	if err := module.ValidateAll(); err != nil {
		return nil, err
	}
	var text wrapperspb.StringValue
	if err := proto.Unmarshal(module.GetConfig().GetConfiguration().GetValue(), &text); err != nil {
		return nil, err
	}
	if !json.Valid([]byte(text.Value)) {
		return nil, fmt.Errorf("the configuration of %s is no JSON: %s", filter.Name, strings.TrimSpace(text.Value))
	}
	return json.RawMessage(text.Value), nil
}

func addresses(assignment *endpoint.ClusterLoadAssignment) []string {
	all := []string{}
	for _, locality := range assignment.Endpoints {
		for _, one := range locality.LbEndpoints {
			socket := one.GetEndpoint().GetAddress().GetSocketAddress()
			all = append(all, net.JoinHostPort(socket.GetAddress(), strconv.Itoa(int(socket.GetPortValue()))))
		}
	}
	return all
}
