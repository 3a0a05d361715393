package main

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
)

// runEtcd runs a single etcd member until the context ends.
func runEtcd(ctx context.Context, arguments []string) error {
	flags := flag.NewFlagSet("etcd", flag.ExitOnError)
	directory := flags.String("data-dir", "", "directory of the data")
	client := flags.String("listen", "http://127.0.0.1:2379", "URL for clients")
	peer := flags.String("listen-peer", "http://127.0.0.1:2380", "URL for peers, of which there are none")
	_ = flags.Parse(arguments)

	config := embed.NewConfig()
	config.Dir = *directory
	config.LogLevel = "error"
	// The data is thrown away with the test.
	config.UnsafeNoFsync = true
	clients, err := url.Parse(*client)
	if err != nil {
		return err
	}
	peers, err := url.Parse(*peer)
	if err != nil {
		return err
	}
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{*clients}, []url.URL{*clients}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{*peers}, []url.URL{*peers}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	server, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	defer server.Close()
	select {
	case <-ctx.Done():
		return nil
	case err := <-server.Err():
		return err
	}
}

// compact forgets the history of all keys up to now, as etcd's own compaction does after some minutes.
func compact(ctx context.Context, arguments []string) error {
	if len(arguments) != 1 {
		return fmt.Errorf("compact takes etcd's URL")
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: arguments, DialTimeout: 5 * time.Second})
	if err != nil {
		return err
	}
	defer client.Close()
	answer, err := client.Get(ctx, "any")
	if err != nil {
		return err
	}
	_, err = client.Compact(ctx, answer.Header.Revision, clientv3.WithCompactPhysical())
	return err
}
