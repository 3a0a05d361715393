package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

// kubeletPort is the port of a kubelet's own API, which Nodes announce.
const kubeletPort = 10250

// serveForwards answers /portForward/NAMESPACE/POD on the address of every node, as a kubelet does. The API server does not check the
// certificate, because it was given no authority for kubelets.
func (k *kubelet) serveForwards(ctx context.Context) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	listener, err := tls.Listen("tcp", fmt.Sprintf(":%d", kubeletPort), &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: key}},
	})
	if err != nil {
		return err
	}
	handler := http.NewServeMux()
	handler.HandleFunc("/portForward/{namespace}/{pod}", func(writer http.ResponseWriter, request *http.Request) {
		pod, err := k.client.CoreV1().Pods(request.PathValue("namespace")).Get(ctx, request.PathValue("pod"), metav1.GetOptions{})
		if err != nil {
			http.Error(writer, err.Error(), http.StatusNotFound)
			return
		}
		var ports []uint16
		for _, text := range strings.Split(strings.Join(request.URL.Query()["port"], ","), ",") {
			port, err := strconv.ParseUint(text, 10, 16)
			if err != nil {
				http.Error(writer, err.Error(), http.StatusBadRequest)
				return
			}
			ports = append(ports, uint16(port))
		}
		forward(writer, request, pod.Status.PodIP, ports)
	})
	server := &http.Server{Handler: handler}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	go func() { _ = server.Serve(listener) }()
	return nil
}

// forward connects each port's channel to the pod. The first frame of a channel is the port, as kubelets send it.
func forward(writer http.ResponseWriter, request *http.Request, address string, ports []uint16) {
	channels := make([]wsstream.ChannelType, 0, 2*len(ports))
	for range ports {
		channels = append(channels, wsstream.ReadWriteChannel, wsstream.WriteChannel)
	}
	connection := wsstream.NewConn(map[string]wsstream.ChannelProtocolConfig{
		"v4.channel.k8s.io": {Binary: true, Channels: channels},
	})
	_, streams, err := connection.Open(writer, request)
	if err != nil {
		return
	}
	defer connection.Close()
	done := make(chan struct{}, len(ports))
	for index, port := range ports {
		data, failed := streams[2*index], streams[2*index+1]
		number := binary.LittleEndian.AppendUint16(nil, port)
		_, _ = data.Write(number)
		_, _ = failed.Write(number)
		go func() {
			defer func() { done <- struct{}{} }()
			pod, err := net.Dial("tcp", net.JoinHostPort(address, strconv.Itoa(int(port))))
			if err != nil {
				_, _ = fmt.Fprintf(failed, "error forwarding port %d to pod: %v", port, err)
				return
			}
			defer pod.Close()
			go func() {
				_, _ = io.Copy(pod, data)
			}()
			_, _ = io.Copy(data, pod)
		}()
	}
	for range ports {
		<-done
	}
}
