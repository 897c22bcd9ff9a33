package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// runcStart is a cold start of the plain server in a container of runc: a pid,
// mount, ipc and uts namespace over read-only binds of this machine. It shares the
// machine's network, which saves runc what a veth would take, and has the function's
// memory limit.
func runcStart(ctx context.Context, s subject, work string) (time.Duration, error) {
	dir := filepath.Join(work, "runc-"+s.name)
	if err := os.MkdirAll(filepath.Join(dir, "rootfs"), 0o755); err != nil {
		return 0, err
	}
	b, err := json.Marshal(containerSpec(s, work))
	if err != nil {
		return 0, err
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), b, 0o600); err != nil {
		return 0, err
	}
	id := fmt.Sprintf("mayfly-bench-%d-%d", os.Getpid(), time.Now().UnixNano())
	c := s
	c.plain = []string{"runc", "run", "--bundle", dir, id}
	took, err := plainColdStart(ctx, c)
	// Its start is killed by now; the container is not.
	gone := exec.CommandContext(ctx, "runc", "delete", "--force", id)
	if b, derr := gone.CombinedOutput(); derr != nil {
		err = errors.Join(err, fmt.Errorf("runc delete: %w: %s", derr, b))
	}
	return took, err
}

type dict = map[string]any

// containerSpec is what runc needs to know of the plain server.
func containerSpec(s subject, work string) dict {
	here := absolute(".")
	var mounts []dict
	for _, dir := range []string{"/usr", "/lib", "/lib64", "/bin", "/etc", here, work} {
		mounts = append(mounts, dict{"destination": dir, "source": dir, "type": "bind", "options": []string{"bind", "ro"}})
	}
	mounts = append([]dict{
		{"destination": "/proc", "source": "proc", "type": "proc"},
		{"destination": "/dev", "source": "tmpfs", "type": "tmpfs", "options": []string{"nosuid", "mode=755"}},
		{"destination": "/tmp", "source": "tmpfs", "type": "tmpfs", "options": []string{"nosuid", "mode=1777"}},
	}, mounts...)
	env := []string{"PATH=/usr/bin:/bin"}
	for k, v := range s.plainEnv {
		env = append(env, k+"="+v)
	}
	return dict{
		"ociVersion": "1.0.2",
		"process":    dict{"args": s.plain, "env": env, "cwd": here, "user": dict{"uid": 0, "gid": 0}, "noNewPrivileges": true},
		"root":       dict{"path": "rootfs"},
		"mounts":     mounts,
		"linux": dict{
			"namespaces": []dict{{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}},
			"resources":  dict{"memory": dict{"limit": int64(s.memory) << 20}},
		},
	}
}

const workerdConfig = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = (
    modules = [(name = "worker.mjs", esModule = embed "worker.mjs"), (name = "index.mjs", esModule = embed "index.mjs")],
    compatibilityDate = "2025-01-01",
  ))],
  sockets = [(name = "http", address = "127.0.0.1:%d", http = (), service = "main")],
);
`

const workerdScript = `import { handler } from "./index.mjs";
export default { fetch: async (request) => Response.json(await handler(await request.json())) };
`

// workerdStart is a cold start of a whole workerd with the JavaScript handler. (An
// isolate in one that already runs takes less.)
func workerdStart(ctx context.Context, modules, work string) (took time.Duration, err error) {
	tool, err := oneFile(filepath.Join(modules, "@cloudflare/workerd-*/bin/workerd"))
	if err != nil {
		return 0, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // a port that is free
	if err != nil {
		return 0, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return 0, err
	}
	dir := filepath.Join(work, "workerd")
	if err := copyFile("bench/handlers/node/index.mjs", filepath.Join(dir, "index.mjs")); err != nil {
		return 0, err
	}
	for name, text := range map[string]string{"worker.mjs": workerdScript, "config.capnp": fmt.Sprintf(workerdConfig, port)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return 0, err
		}
	}
	cmd := exec.CommandContext(ctx, tool, "serve", filepath.Join(dir, "config.capnp"))
	cmd.Stderr = os.Stderr
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	p := &server{cmd: cmd, url: fmt.Sprintf("http://127.0.0.1:%d/", port), http: &http.Client{Timeout: 10 * time.Second}}
	defer func() { err = errors.Join(err, p.stop()) }()
	for time.Since(began) < 20*time.Second {
		if err = p.caller(payload)(ctx); err == nil {
			return time.Since(began), nil
		}
		if !isRefused(err) {
			return 0, err
		}
		time.Sleep(time.Millisecond)
	}
	return 0, fmt.Errorf("workerd: %w", err)
}

// isRefused says that nobody listens yet.
func isRefused(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}
