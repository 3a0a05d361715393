package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"net"
	"net/http"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/websocket"
	"google.golang.org/grpc"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
)

// runServer answers on one address over HTTP/1.1, HTTP/2, gRPC and WebSocket, and says who answers and what came. The path /slow
// is answered late, and the first request for a path below /fails-once/ with 503.
func runServer(arguments []string) error {
	flags := flag.NewFlagSet("server", flag.ExitOnError)
	name := flags.String("name", "", "who answers")
	address := flags.String("listen", "", "address and port")
	certificate := flags.String("certificate", "", "certificate chain, for TLS")
	key := flags.String("key", "", "private key, for TLS")
	modules := flags.String("modules", "", "a directory whose files answer paths that end with .wasm")
	_ = flags.Parse(arguments)

	rpc := grpc.NewServer()
	health.RegisterHealthServer(rpc, &healthServer{name: *name})
	sockets := websocket.Server{Handler: func(connection *websocket.Conn) {
		var message string
		for websocket.Message.Receive(connection, &message) == nil {
			_ = websocket.JSON.Send(connection, answer(*name, connection.Request(), message))
		}
	}}
	var failed sync.Map
	handler := http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		_, hasFailed := failed.LoadOrStore(request.URL.Path, true)
		switch {
		case strings.HasPrefix(request.URL.Path, "/fails-once/") && !hasFailed:
			writer.WriteHeader(http.StatusServiceUnavailable)
		case *modules != "" && strings.HasSuffix(request.URL.Path, ".wasm"):
			http.ServeFile(writer, request, filepath.Join(*modules, path.Base(request.URL.Path)))
		case request.URL.Path == "/slow":
			time.Sleep(2 * time.Second)
			_, _ = writer.Write([]byte("late"))
		case strings.HasPrefix(request.Header.Get("content-type"), "application/grpc"):
			rpc.ServeHTTP(writer, request)
		case request.Header.Get("upgrade") == "websocket":
			sockets.ServeHTTP(writer, request)
		default:
			writer.Header().Set("content-type", "application/json")
			_ = json.NewEncoder(writer).Encode(answer(*name, request, ""))
		}
	})
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	if *certificate == "" {
		return server.Serve(listener)
	}
	server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	return server.ServeTLS(listener, *certificate, *key)
}

func answer(name string, request *http.Request, message string) map[string]any {
	result := map[string]any{
		"pod": name, "authority": request.Host, "path": request.URL.Path, "protocol": request.Proto, "headers": request.Header,
	}
	if message != "" {
		result["message"] = message
	}
	if request.TLS != nil {
		result["serverName"] = request.TLS.ServerName
	}
	return result
}

// healthServer answers a unary call and a stream of three messages. Its name and the authority travel as headers.
type healthServer struct {
	health.UnimplementedHealthServer
	name string
}

func (h *healthServer) headers(ctx context.Context) metadata.MD {
	incoming, _ := metadata.FromIncomingContext(ctx)
	return metadata.Pairs("pod", h.name, "asked", strings.Join(incoming.Get(":authority"), ","))
}

func (h *healthServer) Check(ctx context.Context, _ *health.HealthCheckRequest) (*health.HealthCheckResponse, error) {
	_ = grpc.SetHeader(ctx, h.headers(ctx))
	return &health.HealthCheckResponse{Status: health.HealthCheckResponse_SERVING}, nil
}

func (h *healthServer) Watch(_ *health.HealthCheckRequest, stream grpc.ServerStreamingServer[health.HealthCheckResponse]) error {
	_ = stream.SetHeader(h.headers(stream.Context()))
	for range 3 {
		if err := stream.Send(&health.HealthCheckResponse{Status: health.HealthCheckResponse_SERVING}); err != nil {
			return err
		}
	}
	return nil
}
