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
	"time"
)

// seen is when a pod first and last answered, in nanoseconds since 1970.
type seen struct {
	First int64 `json:"first"`
	Last  int64 `json:"last"`
}

// asked is what came of all requests so far.
type asked struct {
	Requests int `json:"requests"`
	// Requests that no pod answered, and what came of the last of them.
	Failures    int    `json:"failures"`
	LastFailure string `json:"lastFailure"`
	// Requests that took longer than the bound.
	Late                int              `json:"late"`
	SlowestMilliseconds int64            `json:"slowestMilliseconds"`
	Pods                map[string]*seen `json:"pods"`
}

// runAsk asks one address for hosts in turn, on connections that it keeps until it is ended, and prints once a second what came of all
// requests so far. Each connection begins at another host.
func runAsk(arguments []string) error {
	flags := flag.NewFlagSet("ask", flag.ExitOnError)
	address := flags.String("connect", "", "address and port to connect to")
	connections := flags.Int("connections", 8, "number of connections, one request at a time on each")
	pause := flags.Duration("pause", 2*time.Millisecond, "pause between two requests of a connection")
	bound := flags.Duration("bound", time.Second, "longest time of a request that is not late")
	_ = flags.Parse(arguments)
	hosts := flags.Args()
	if len(hosts) == 0 {
		return errors.New("ask takes the hosts to ask for")
	}

	var mutex sync.Mutex
	all := asked{Pods: map[string]*seen{}}
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, *address)
	}
	for connection := range *connections {
		client := &http.Client{Timeout: patience, Transport: &http.Transport{MaxConnsPerHost: 1, DialContext: dial}}
		go func() {
			for turn := connection * len(hosts) / *connections; ; turn++ {
				host := hosts[turn%len(hosts)]
				start := time.Now()
				pod, err := whoAnswers(client, host)
				end := time.Now()
				mutex.Lock()
				all.Requests++
				all.SlowestMilliseconds = max(all.SlowestMilliseconds, end.Sub(start).Milliseconds())
				if end.Sub(start) > *bound {
					all.Late++
				}
				if err != nil {
					all.Failures++
					all.LastFailure = fmt.Sprintf("%s: %v", host, err)
				} else if known := all.Pods[pod]; known != nil {
					known.Last = end.UnixNano()
				} else {
					all.Pods[pod] = &seen{First: end.UnixNano(), Last: end.UnixNano()}
				}
				mutex.Unlock()
				time.Sleep(*pause)
			}
		}()
	}
	for range time.Tick(time.Second) {
		mutex.Lock()
		err := json.NewEncoder(os.Stdout).Encode(all)
		mutex.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// whoAnswers returns the name of the pod that answers for a host. All hosts share the client's connection.
func whoAnswers(client *http.Client, host string) (string, error) {
	request, err := http.NewRequest(http.MethodGet, "http://any/load", nil)
	if err != nil {
		return "", err
	}
	request.Host = host
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	var answer struct {
		Pod string `json:"pod"`
	}
	if response.StatusCode != http.StatusOK || json.Unmarshal(body, &answer) != nil {
		return "", fmt.Errorf("status %d: %s", response.StatusCode, body)
	}
	return answer.Pod, nil
}
