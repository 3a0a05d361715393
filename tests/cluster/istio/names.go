package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/structpb"
)

// The types for which byname's filter asks on a stream of its own begin so.
const typePrefix = "type.googleapis.com/byname.v1."

// answers is what a server has told of names, each as TYPE=NAME.
type answers struct {
	// The bytes of each resource as text.
	Known map[string]string `json:"known"`
	// The names that the server says are missing.
	Missing map[string]bool `json:"missing"`
}

// runNames asks a server for resources as byname's filter does, each as TYPE=NAME, and prints what it has whenever that changes.
func runNames(arguments []string) error {
	flags := flag.NewFlagSet("names", flag.ExitOnError)
	server := flags.String("server", "", "host and port of the server")
	namespace := flags.String("namespace", "", "namespace of the client")
	headers := headerFlag(flags)
	_ = flags.Parse(arguments)

	byType := map[string][]string{}
	for _, asked := range flags.Args() {
		resourceType, name, found := strings.Cut(asked, "=")
		if !found {
			return fmt.Errorf("%q has no =", asked)
		}
		byType[resourceType] = append(byType[resourceType], name)
	}
	connection, err := grpc.NewClient(*server, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx := metadata.AppendToOutgoingContext(context.Background(), *headers...)
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(connection).DeltaAggregatedResources(ctx)
	if err != nil {
		return err
	}
	node := &core.Node{Id: "names", Metadata: &structpb.Struct{Fields: map[string]*structpb.Value{
		"NAMESPACE": structpb.NewStringValue(*namespace),
	}}}
	for resourceType, names := range byType {
		request := &discovery.DeltaDiscoveryRequest{Node: node, TypeUrl: typePrefix + resourceType, ResourceNamesSubscribe: names}
		if err := stream.Send(request); err != nil {
			return err
		}
		// The first message alone has it.
		node = nil
	}
	all := answers{Known: map[string]string{}, Missing: map[string]bool{}}
	for {
		response, err := stream.Recv()
		if err != nil {
			return err
		}
		key := func(name string) string { return strings.TrimPrefix(response.TypeUrl, typePrefix) + "=" + name }
		for _, resource := range response.Resources {
			all.Known[key(resource.Name)] = strings.ToValidUTF8(string(resource.GetResource().GetValue()), "?")
			delete(all.Missing, key(resource.Name))
		}
		for _, name := range response.RemovedResources {
			all.Missing[key(name)] = true
			delete(all.Known, key(name))
		}
		if err := json.NewEncoder(os.Stdout).Encode(all); err != nil {
			return err
		}
		answer := &discovery.DeltaDiscoveryRequest{TypeUrl: response.TypeUrl, ResponseNonce: response.Nonce}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
}

// headerFlag adds the flag for headers that the client sends with its stream, and returns their names and values in turn.
func headerFlag(flags *flag.FlagSet) *[]string {
	var headers []string
	flags.Func("header", "a header `name=value` that the client sends with its stream; can be repeated", func(header string) error {
		name, value, found := strings.Cut(header, "=")
		if !found {
			return fmt.Errorf("%q has no =", header)
		}
		headers = append(headers, name, value)
		return nil
	})
	return &headers
}
