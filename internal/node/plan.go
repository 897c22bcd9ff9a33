package node

import (
	"context"
	"sync"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/image"
	"github.com/mayfly-dev/mayfly/internal/runtimes"
	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

// Limits of what runs in one instance, besides those its owner chooses.
const (
	pidsPerInstance  = 1024
	filesPerInstance = 1024
	megabytesPerCPU  = 1769 // memory that comes with one CPU's worth of time
)

// planner says how instances are made: it joins a version's runtime, code and
// guest. It builds images for the registry and plans for the pool.
type planner struct {
	catalog *runtimes.Catalog
	images  *image.Store
	driver  sandbox.Driver
	guest   sandbox.Guest
	files   func(runtimes.Family) map[string][]byte // of the root's runtime directory
	capCPU  bool
	reach   bool // the node reaches programs in sandboxes

	mu    sync.Mutex
	roots map[runtimes.Runtime]*image.Tree // guarded by mu; what a root is made of is looked at once
}

// Resolve tells the registry what serves a runtime's name.
func (p *planner) Resolve(name string) (resolved, warning string, err error) {
	rt, err := p.catalog.Resolve(name)
	if err != nil {
		return "", "", err
	}
	return rt.Resolved(), rt.Warning, nil
}

// Build makes the images of a version, so that its first call need not.
func (p *planner) Build(ctx context.Context, v *function.Version) error {
	plan, err := p.plan(ctx, v)
	if err != nil {
		return err
	}
	return p.driver.Prepare(ctx, plan.Spec)
}

func (p *planner) plan(_ context.Context, v *function.Version) (sandbox.Plan, error) {
	rt, err := p.catalog.Resolve(v.Runtime)
	if err != nil {
		return sandbox.Plan{}, err
	}
	if v.Web != nil && !p.reach {
		return sandbox.Plan{}, errs.Newf(errs.Unsupported, "web servers need a network for functions, which this node has not: start it as root, and not with --egress none")
	}
	spec := sandbox.Spec{
		Root:     p.root(rt),
		Code:     p.images.Code(v.Code),
		MemoryMB: v.MemoryMB,
		TmpMB:    v.TmpMB,
		MilliCPU: max(1, v.MemoryMB*1000/megabytesPerCPU),
		CapCPU:   p.capCPU,
		Pids:     pidsPerInstance,
		Files:    filesPerInstance,
	}
	return sandbox.Plan{Spec: spec, Guest: p.guest}, nil
}

// root returns the root file system of a runtime. Names that the same
// interpreter serves share one.
func (p *planner) root(rt runtimes.Runtime) *image.Tree {
	key := rt
	key.Name, key.Warning = "", ""
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.roots[key]; t != nil {
		return t
	}
	var files []image.File
	for name, content := range p.files(rt.Family) {
		files = append(files, image.File{Name: name, Data: content, Mode: 0o755})
	}
	t := p.images.Root(rt, files...)
	p.roots[key] = t
	return t
}
