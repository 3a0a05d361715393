package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
)

const (
	// Longest wait of a client for an answer.
	patience = 20 * time.Second
	// Requests at a time.
	loadWorkers = 4
)

// runLoad asks URLs in turn on connections that it keeps until it is ended, and prints once a second what came of all requests so far.
func runLoad(urls []string) error {
	if len(urls) == 0 {
		return errors.New("load takes the URLs to ask for")
	}
	var (
		mutex    sync.Mutex
		requests int
		failures int
		failure  string
		slowest  time.Duration
		opened   atomic.Int64
	)
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		opened.Add(1)
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	client := &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: loadWorkers, DialContext: dial}}
	for worker := range loadWorkers {
		go func() {
			for turn := worker; ; turn++ {
				url := urls[turn%len(urls)]
				start := time.Now()
				err := getOK(client, url)
				took := time.Since(start)
				mutex.Lock()
				requests++
				slowest = max(slowest, took)
				if err != nil {
					failures++
					failure = fmt.Sprintf("%s: %v", url, err)
				}
				mutex.Unlock()
				time.Sleep(2 * time.Millisecond)
			}
		}()
	}
	for range time.Tick(time.Second) {
		mutex.Lock()
		report := map[string]any{
			"requests": requests, "failures": failures, "lastFailure": failure, "slowestMilliseconds": slowest.Milliseconds(),
			"connections": opened.Load(),
		}
		mutex.Unlock()
		if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
			return err
		}
	}
	return nil
}

func getOK(client *http.Client, url string) error {
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d: %s", response.StatusCode, body)
	}
	return nil
}

// runGRPC makes a unary call and reads a stream to its end, and prints who answered each.
func runGRPC(arguments []string) error {
	flags := flag.NewFlagSet("grpc", flag.ExitOnError)
	target := flags.String("target", "", "host and port to connect to")
	_ = flags.Parse(arguments)

	connection, err := grpc.NewClient("passthrough:///"+*target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client := health.NewHealthClient(connection)
	var header metadata.MD
	if _, err := client.Check(ctx, &health.HealthCheckRequest{}, grpc.Header(&header)); err != nil {
		return fmt.Errorf("unary: %w", err)
	}
	stream, err := client.Watch(ctx, &health.HealthCheckRequest{})
	if err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	streamed, err := stream.Header()
	if err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	messages := 0
	for ; ; messages++ {
		if _, err := stream.Recv(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("message %d of the stream: %w", messages+1, err)
		}
	}
	return finish(map[string]any{
		"unary": header.Get("pod"), "stream": streamed.Get("pod"), "authority": header.Get("asked"), "messages": messages,
	})
}

// runWebSocket sends a message and prints what the server answers to it.
func runWebSocket(arguments []string) error {
	if len(arguments) != 1 {
		return errors.New("websocket takes the URL")
	}
	config, err := websocket.NewConfig(arguments[0], "http://localhost/")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	connection, err := config.DialContext(ctx)
	if err != nil {
		return err
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if err := websocket.Message.Send(connection, "hello"); err != nil {
		return err
	}
	var answer map[string]any
	if err := websocket.JSON.Receive(connection, &answer); err != nil {
		return err
	}
	return finish(answer)
}

// finish prints the result of a client that is done.
func finish(result map[string]any) error {
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		return err
	}
	os.Exit(0)
	return nil
}
