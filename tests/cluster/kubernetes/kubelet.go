package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
)

const (
	// A pod with this annotation and the value "false" runs and is not ready.
	readyAnnotation = "test.byname.dev/ready"
	// A pod with this annotation and the value "hold" stays terminating once it is deleted; with a duration, as "2s", for so long,
	// like a pod whose containers wait before they end.
	terminateAnnotation = "test.byname.dev/terminate"
)

// kubelet stands in for the scheduler and for the kubelets of all nodes: it binds pods to nodes in turn, gives them addresses,
// reports them as running, answers HTTP on their addresses, and answers what kubectl asks a kubelet for. It runs no container.
type kubelet struct {
	client    kubernetes.Interface
	pods      cache.SharedIndexInformer
	queue     workqueue.TypedRateLimitingInterface[string]
	nodes     []string
	next      int
	addresses int
	dualStack bool
	serves    bool
	servers   map[string][]*http.Server
}

func runKubelet(ctx context.Context, arguments []string) error {
	flags := flag.NewFlagSet("kubelet", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "kubeconfig of an administrator")
	nodes := flags.String("nodes", "node-1=eu-a,node-2=eu-b,node-3=eu-c", "the nodes and their zones")
	dualStack := flags.Bool("dual-stack", true, "whether each pod has an IPv6 address too")
	serves := flags.Bool("serve", false, "whether to answer HTTP on the addresses of pods, which must be this host's")
	_ = flags.Parse(arguments)

	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 500, 1000
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	k := &kubelet{client: client, dualStack: *dualStack, serves: *serves, servers: map[string][]*http.Server{}}
	for index, node := range strings.Split(*nodes, ",") {
		name, zone, _ := strings.Cut(node, "=")
		if err := k.register(ctx, name, zone, index); err != nil {
			return fmt.Errorf("node %s: %w", name, err)
		}
		k.nodes = append(k.nodes, name)
	}
	if err := k.serveAPI(ctx); err != nil {
		return err
	}
	k.pods = informers.NewSharedInformerFactory(client, 0).Core().V1().Pods().Informer()
	k.queue = workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[string](10*time.Millisecond, time.Second))
	enqueue := func(object any) {
		if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object); err == nil {
			k.queue.Add(key)
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    enqueue,
		UpdateFunc: func(_, object any) { enqueue(object) },
		DeleteFunc: enqueue,
	}
	if _, err := k.pods.AddEventHandler(handler); err != nil {
		return err
	}
	go k.pods.RunWithContext(ctx)
	cache.WaitForCacheSync(ctx.Done(), k.pods.HasSynced)
	go func() {
		<-ctx.Done()
		k.queue.ShutDown()
	}()
	for {
		key, stop := k.queue.Get()
		if stop {
			return nil
		}
		if err := k.reconcile(ctx, key); err != nil && ctx.Err() == nil {
			k.queue.AddRateLimited(key)
		} else {
			k.queue.Forget(key)
		}
		k.queue.Done(key)
	}
}

// register creates a ready Node in its zone.
func (k *kubelet) register(ctx context.Context, name, zone string, index int) error {
	much := corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("64"),
		corev1.ResourceMemory: resource.MustParse("256Gi"),
		corev1.ResourcePods:   resource.MustParse("10000"),
	}
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			corev1.LabelHostname:     name,
			corev1.LabelTopologyZone: zone,
			corev1.LabelOSStable:     "linux",
			corev1.LabelArchStable:   "amd64",
		}},
		Status: corev1.NodeStatus{
			Capacity:    much,
			Allocatable: much,
			Addresses:   []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: nodeAddress(index)}},
			DaemonEndpoints: corev1.NodeDaemonEndpoints{
				KubeletEndpoint: corev1.DaemonEndpoint{Port: kubeletPort},
			},
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady"}},
		},
	}
	_, err := k.client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func nodeAddress(index int) string { return fmt.Sprintf("10.244.255.%d", index+1) }

func (k *kubelet) reconcile(ctx context.Context, key string) error {
	object, exists, err := k.pods.GetIndexer().GetByKey(key)
	if err != nil {
		return err
	}
	if !exists {
		k.stopServing(key)
		return nil
	}
	pod := object.(*corev1.Pod).DeepCopy()
	pods := k.client.CoreV1().Pods(pod.Namespace)
	remaining := untilEnd(pod)
	if remaining > 0 {
		k.queue.AddAfter(key, remaining)
	}
	if pod.DeletionTimestamp != nil && remaining <= 0 && pod.Annotations[terminateAnnotation] != "hold" {
		k.stopServing(key)
		now := int64(0)
		err := pods.Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	}
	if pod.Spec.NodeName == "" {
		return k.bind(ctx, pod)
	}
	status := k.status(pod)
	if pod.Status.PodIP == "" || isReady(&pod.Status) != isReady(&status) {
		pod.Status = status
		if _, err := pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return k.serve(key, pod)
}

// untilEnd is the time that a pod which was deleted goes on, by its annotation.
func untilEnd(pod *corev1.Pod) time.Duration {
	wait, err := time.ParseDuration(pod.Annotations[terminateAnnotation])
	if err != nil || pod.DeletionTimestamp == nil {
		return 0
	}
	grace := time.Duration(0)
	if pod.DeletionGracePeriodSeconds != nil {
		grace = time.Duration(*pod.DeletionGracePeriodSeconds) * time.Second
	}
	return time.Until(pod.DeletionTimestamp.Add(wait - grace))
}

// bind gives the pod the node that its selector names, or the next one in turn.
func (k *kubelet) bind(ctx context.Context, pod *corev1.Pod) error {
	node := pod.Spec.NodeSelector[corev1.LabelHostname]
	if node == "" {
		node = k.nodes[k.next%len(k.nodes)]
		k.next++
	}
	binding := &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: node},
	}
	err := k.client.CoreV1().Pods(pod.Namespace).Bind(ctx, binding, metav1.CreateOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// status is that of a pod whose containers all run.
func (k *kubelet) status(pod *corev1.Pod) corev1.PodStatus {
	status := *pod.Status.DeepCopy()
	now := metav1.Now()
	if status.PodIP == "" {
		k.addresses++
		status.PodIP = fmt.Sprintf("10.244.%d.%d", k.addresses/250, k.addresses%250+1)
		status.PodIPs = []corev1.PodIP{{IP: status.PodIP}}
		if k.dualStack {
			status.PodIPs = append(status.PodIPs, corev1.PodIP{IP: fmt.Sprintf("fd00:10:244::%x", k.addresses)})
		}
		status.HostIP = nodeAddress(k.indexOf(pod.Spec.NodeName))
		status.HostIPs = []corev1.HostIP{{IP: status.HostIP}}
		status.StartTime = &now
	}
	status.Phase = corev1.PodRunning
	// Containers that wait before they end answer their probes: the pod is terminating and still serves.
	ready := pod.Annotations[readyAnnotation] != "false" && (pod.DeletionTimestamp == nil || untilEnd(pod) > 0)
	state := corev1.ConditionFalse
	if ready {
		state = corev1.ConditionTrue
	}
	status.Conditions = []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: now},
		{Type: corev1.PodInitialized, Status: corev1.ConditionTrue, LastTransitionTime: now},
		{Type: corev1.ContainersReady, Status: state, LastTransitionTime: now},
		{Type: corev1.PodReady, Status: state, LastTransitionTime: now},
	}
	running := func(containers []corev1.Container) []corev1.ContainerStatus {
		statuses := make([]corev1.ContainerStatus, 0, len(containers))
		for _, container := range containers {
			started := true
			statuses = append(statuses, corev1.ContainerStatus{
				Name: container.Name, Image: container.Image, Ready: ready, Started: &started,
				State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}},
			})
		}
		return statuses
	}
	status.ContainerStatuses = running(pod.Spec.Containers)
	status.InitContainerStatuses = running(pod.Spec.InitContainers)
	return status
}

func (k *kubelet) indexOf(node string) int {
	for index, name := range k.nodes {
		if name == node {
			return index
		}
	}
	return len(k.nodes)
}

func isReady(status *corev1.PodStatus) bool {
	for _, condition := range status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// serve answers HTTP/1.1 and HTTP/2 (h2c) on each TCP port of the pod's containers: who answers, and what came.
func (k *kubelet) serve(key string, pod *corev1.Pod) error {
	if !k.serves || len(k.servers[key]) > 0 || pod.Spec.HostNetwork {
		return nil
	}
	for _, container := range pod.Spec.Containers {
		for _, port := range container.Ports {
			if port.Protocol != "" && port.Protocol != corev1.ProtocolTCP {
				continue
			}
			for _, address := range pod.Status.PodIPs {
				listener, err := net.Listen("tcp", net.JoinHostPort(address.IP, fmt.Sprint(port.ContainerPort)))
				if err != nil {
					k.stopServing(key)
					return err
				}
				server := &http.Server{Handler: whoAnswers(key, port.ContainerPort), Protocols: new(http.Protocols)}
				server.Protocols.SetHTTP1(true)
				server.Protocols.SetUnencryptedHTTP2(true)
				k.servers[key] = append(k.servers[key], server)
				go func() { _ = server.Serve(listener) }()
			}
		}
	}
	return nil
}

func (k *kubelet) stopServing(key string) {
	for _, server := range k.servers[key] {
		_ = server.Close()
	}
	delete(k.servers, key)
}

func whoAnswers(pod string, port int32) http.Handler {
	return http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		writer.Header().Set("content-type", "application/json")
		_ = json.NewEncoder(writer).Encode(map[string]any{
			"pod": pod, "port": port, "authority": request.Host, "path": request.URL.Path,
			"protocol": request.Proto, "headers": request.Header,
		})
	})
}
