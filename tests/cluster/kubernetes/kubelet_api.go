package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

const (
	// kubeletPort is the port of a kubelet's own API, which Nodes announce.
	kubeletPort = 10250
	// A pod whose containers are processes of the test has the command that enters it in this annotation, as a JSON list; a program and
	// its arguments follow.
	enterAnnotation = "test.byname.dev/enter"
	// And the file of its network namespace in this one.
	networkAnnotation = "test.byname.dev/network"
	// And in this one the file with the log of its proxy.
	logAnnotation = "test.byname.dev/log"

	idle = 10 * time.Minute
)

// serveAPI answers on the address of every node what kubectl port-forward, exec and logs ask a kubelet for. The API server does not
// check the certificate, because it was given no authority for kubelets.
func (k *kubelet) serveAPI(ctx context.Context) error {
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
	// A kubelet's routes have the pod and then the container, where a container is asked for.
	handle := func(route string, answer func(http.ResponseWriter, *http.Request, *corev1.Pod)) {
		handler.HandleFunc(route, func(writer http.ResponseWriter, request *http.Request) {
			pods := k.client.CoreV1().Pods(request.PathValue("namespace"))
			pod, err := pods.Get(request.Context(), request.PathValue("pod"), metav1.GetOptions{})
			if err != nil {
				http.Error(writer, err.Error(), http.StatusNotFound)
				return
			}
			answer(writer, request, pod)
		})
	}
	handle("/portForward/{namespace}/{pod}", forward)
	handle("/exec/{namespace}/{pod}/{container}", execute)
	handle("/containerLogs/{namespace}/{pod}/{container}", writeLog)
	server := &http.Server{Handler: handler}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	go func() { _ = server.Serve(listener) }()
	return nil
}

// container carries out what is asked for in a pod.
type container struct{ pod *corev1.Pod }

func forward(writer http.ResponseWriter, request *http.Request, pod *corev1.Pod) {
	options, err := portforward.NewV4Options(request)
	if err != nil {
		http.Error(writer, err.Error(), http.StatusBadRequest)
		return
	}
	portforward.ServePortForward(writer, request, container{pod}, pod.Name, string(pod.UID), options, idle,
		remotecommand.DefaultStreamCreationTimeout, portforward.SupportedProtocols)
}

// PortForward connects a stream to a port of the pod.
func (c container) PortForward(_ context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	connection, err := c.dial(int(port))
	if err != nil {
		return fmt.Errorf("port %d of the pod: %w", port, err)
	}
	defer connection.Close()
	go func() {
		_, _ = io.Copy(connection, stream)
	}()
	_, err = io.Copy(stream, connection)
	return err
}

// dial connects to a port as from within the pod, on its loopback address. The other pods have one network, in which each has its address.
func (c container) dial(port int) (net.Conn, error) {
	network := c.pod.Annotations[networkAnnotation]
	if network == "" {
		return net.Dial("tcp", net.JoinHostPort(c.pod.Status.PodIP, strconv.Itoa(port)))
	}
	type dialled struct {
		connection net.Conn
		err        error
	}
	result := make(chan dialled)
	go func() {
		// The thread ends with this goroutine, because it stays locked: no other one gets into the pod's network.
		runtime.LockOSThread()
		connection, err := dialWithin(network, port)
		result <- dialled{connection, err}
	}()
	all := <-result
	return all.connection, all.err
}

func dialWithin(network string, port int) (net.Conn, error) {
	file, err := os.Open(network)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	// net.Dial may go on in another thread.
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	connected := os.NewFile(uintptr(socket), "pod")
	defer connected.Close()
	if err := unix.Connect(socket, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return nil, err
	}
	return net.FileConn(connected)
}

func execute(writer http.ResponseWriter, request *http.Request, pod *corev1.Pod) {
	options, err := remotecommand.NewOptions(request)
	if err != nil {
		http.Error(writer, err.Error(), http.StatusBadRequest)
		return
	}
	remotecommand.ServeExec(writer, request, container{pod}, pod.Name, string(pod.UID), request.PathValue("container"),
		request.URL.Query()["command"], options, idle, remotecommand.DefaultStreamCreationTimeout, remotecommand.SupportedStreamingProtocols)
}

// ExecInContainer runs a program in the pod. All containers of a pod share the folders that the test made for it.
func (c container) ExecInContainer(ctx context.Context, _, _, _ string, program []string, stdin io.Reader, stdout, stderr io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize, _ time.Duration) error {
	var enter []string
	if err := json.Unmarshal([]byte(c.pod.Annotations[enterAnnotation]), &enter); err != nil || len(enter) == 0 {
		return fmt.Errorf("no process of this test runs in the pod %s", c.pod.Name)
	}
	command := utilexec.New().CommandContext(ctx, enter[0], append(enter[1:], program...)...)
	if stdin != nil {
		command.SetStdin(stdin)
	}
	if stdout != nil {
		command.SetStdout(stdout)
	}
	if stderr != nil {
		command.SetStderr(stderr)
	}
	return command.Run()
}

func writeLog(writer http.ResponseWriter, request *http.Request, pod *corev1.Pod) {
	file, err := os.Open(pod.Annotations[logAnnotation])
	if err != nil {
		http.Error(writer, fmt.Sprintf("no log of this pod: %v", err), http.StatusNotFound)
		return
	}
	defer file.Close()
	_, _ = io.Copy(writer, file)
}
