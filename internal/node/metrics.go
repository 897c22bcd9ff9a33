package node

import (
	"context"
	"crypto/subtle"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-dev/mayfly/internal/metrics"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
	"github.com/mayfly-dev/mayfly/internal/trigger"
)

// askLimit bounds what one look at a room may take.
const askLimit = 2 * time.Second

// tell is how a gauge says a value, with those of its labels.
type tell = func(value float64, labels ...string)

// openMetrics has each room tell its figures, and serves them.
func (n *Node) openMetrics(context.Context) error {
	gauge := func(name, help string, read func(tell), labels ...string) {
		n.metrics.Register(metrics.Gauge{Name: name, Help: help, Labels: labels, Read: read})
	}
	instances := oneLook(n.pool.Instances)
	gauge("mayfly_instances", "Instances by function and state.", func(t tell) {
		for _, i := range instances() {
			t(1, i.Function, i.State)
		}
	}, "function", "state")
	gauge("mayfly_instances_memory_bytes", "Memory that instances have in use.", func(t tell) {
		for _, i := range instances() {
			t(float64(i.MemoryBytes), i.Function)
		}
	}, "function")
	gauge("mayfly_concurrency", "Calls that run now.", func(t tell) { t(float64(n.pool.Busy())) })
	gauge("mayfly_concurrency_limit", "Calls that may run at a time.", func(t tell) { t(float64(n.cfg.Concurrency)) })
	gauge("mayfly_memory_budget_bytes", "Memory for all instances together.", func(t tell) { t(float64(n.cfg.MemoryMB) * (1 << 20)) })
	gauge("mayfly_memory_available_bytes", "Memory that the node and its functions can still get.", func(t tell) {
		if bytes, known := sandbox.Available(); known {
			t(float64(bytes))
		}
	})
	gauge("mayfly_memory_scarce", "1 while less memory is available than is to stay so.", func(t tell) {
		scarce := 0.0
		if n.pool.Relief().Scarce {
			scarce = 1
		}
		t(scarce)
	})
	gauge("mayfly_memory_relief", "What was done to have memory available, since the node's start: times that it was scarce, idle instances trimmed or closed, spare sandboxes closed.", func(t tell) {
		r := n.pool.Relief()
		t(float64(r.Times), "scarce")
		t(float64(r.Trimmed), "trimmed")
		t(float64(r.Spares), "spares")
		t(float64(r.Closed), "closed")
	}, "what")
	gauge("mayfly_snapshots", "Snapshots that are kept.", func(t tell) { have, _ := n.snapshotUsage(); t(float64(have)) })
	gauge("mayfly_snapshots_bytes", "Disk that snapshots take.", func(t tell) { _, bytes := n.snapshotUsage(); t(float64(bytes)) })
	gauge("mayfly_logs_bytes", "Disk that logs take.", n.tellLogs)
	gauge("mayfly_spine_streams", "Streams of the spine.", func(t tell) { streams, _ := n.spineUsage(); t(streams) })
	gauge("mayfly_spine_bytes", "Disk that the spine takes.", func(t tell) { _, bytes := n.spineUsage(); t(bytes) })
	gauge("mayfly_async_waiting", "Asynchronous calls that are queued or under way.", n.tellCalls, "function")
	gauge("mayfly_queue_messages", "Messages of queues: visible, delayed, inflight.", n.tellQueues, "queue", "state")
	gauge("mayfly_trigger_lag_messages", "Messages that wait in the source of a trigger.", n.tellTriggers, "function", "queue")
	gauge("mayfly_uptime_seconds", "Time since the node's start.", func(t tell) { t(time.Since(n.started).Seconds()) })
	n.front.paths = append(n.front.paths, pathHandler{metricsPath, true, http.HandlerFunc(n.serveMetrics)})
	return nil
}

// oneLook returns ask for several figures of one scrape: it looks once for all that
// want to know at about the same time. What it returns must not be changed.
func oneLook[T any](ask func() T) func() T {
	const same = 100 * time.Millisecond
	var mu sync.Mutex
	var at time.Time
	var seen T
	return func() T {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(at) > same {
			seen, at = ask(), time.Now()
		}
		return seen
	}
}

func (n *Node) snapshotUsage() (have int, bytes int64) {
	if n.shots == nil {
		return 0, 0
	}
	return n.shots.Usage()
}

func (n *Node) spineUsage() (streams, bytes float64) {
	ctx, cancel := context.WithTimeout(context.Background(), askLimit)
	defer cancel()
	s, b, err := n.spine.Usage(ctx)
	if err != nil {
		n.log.Warn("the spine tells no figures", "err", err)
	}
	return float64(s), float64(b)
}

func (n *Node) tellLogs(t tell) {
	list, err := n.logs.List()
	if err != nil {
		n.log.Warn("the logs tell no figures", "err", err)
	}
	total := int64(0)
	for _, l := range list {
		total += l.Bytes
	}
	t(float64(total))
}

func (n *Node) tellCalls(t tell) {
	for function, calls := range n.calls.Waiting() {
		t(float64(calls), function)
	}
}

func (n *Node) tellQueues(t tell) {
	for _, name := range n.queues.Names("") {
		i, err := n.queues.Get(name)
		if err != nil { // removed meanwhile
			continue
		}
		t(float64(i.Visible), name, "visible")
		t(float64(i.Delayed), name, "delayed")
		t(float64(i.InFlight), name, "inflight")
	}
}

func (n *Node) tellTriggers(t tell) {
	for _, m := range n.triggers.List(func(*trigger.Mapping) bool { return true }) {
		if i, err := n.queues.Get(m.Source.Name); err == nil {
			t(float64(i.Visible), m.Function.Name, m.Source.Name)
		}
	}
}

const metricsPath = "/metrics"

// serveMetrics answers this machine, and who has the token. What is signed is for
// a bucket of that name.
func (n *Node) serveMetrics(w http.ResponseWriter, r *http.Request) {
	authorization := r.Header.Get("Authorization")
	if strings.HasPrefix(authorization, "AWS4-") || r.URL.Query().Has("X-Amz-Signature") {
		n.front.rest.ServeHTTP(w, r)
		return
	}
	token, _ := strings.CutPrefix(authorization, "Bearer ")
	known := n.cfg.MetricsToken != "" && subtle.ConstantTimeCompare([]byte(token), []byte(n.cfg.MetricsToken)) == 1
	if !known && !local(r) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "metrics are for this machine and for who has the token of mayfly up --metrics-token", http.StatusUnauthorized)
		return
	}
	n.metrics.Handler().ServeHTTP(w, r)
}

// local reports whether a request comes from this machine, and not through a
// proxy on it.
func local(r *http.Request) bool {
	if r.Header.Get("X-Forwarded-For") != "" || r.Header.Get("Forwarded") != "" || r.Header.Get("Via") != "" {
		return false
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	return err == nil && net.ParseIP(host).IsLoopback()
}
