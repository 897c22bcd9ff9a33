package gvisor

import (
	"fmt"
	"reflect"
	"sync"
	"unsafe" // and for go:linkname

	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/sentry/arch/fpu"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/kernfs"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
	"gvisor.dev/gvisor/runsc/boot"
)

// A copy makes the kernel anew value by value before its code runs, and most
// values are of no use to it. gVisor keeps an entry, of some 60 values, for each
// file that was ever looked up: with big libraries that is most of the kernel. Of
// each thread it saves 4096 values of registers, one for each byte, most of which
// are zeros at the end. So a Sentry drops what it can before it is saved.

// slimDown is the control server's method for that.
const slimDown = "slimming.Do"

// slimming is the Sentry's side. The control server makes the method's name of its.
type slimming struct{ k *kernel.Kernel }

// addSlimming adds slimDown to l's control server, which is found as memoryOf does.
func addSlimming(l *boot.Loader) {
	loader := reflect.ValueOf(l).Elem()
	field := loader.FieldByName("ctrl").Elem().FieldByName("srv")
	server := reflect.NewAt(field.Type(), field.Addr().UnsafePointer()).Elem().Interface()
	server.(interface{ Register(any) }).Register(&slimming{kernelOf(l)})
}

// Do implements slimDown. The code inside stands still from then on, until the
// next save was tried.
func (s *slimming) Do(*struct{}, *struct{}) error {
	ctx := s.k.SupervisorContext()
	for _, fs := range s.k.VFS().GetFilesystems() {
		err := dropEntries(ctx, fs.Impl())
		fs.DecRef(ctx)
		if err != nil {
			return err
		}
	}
	s.k.Pause()
	s.k.CheckpointWait.Register(func(kernel.CheckpointGeneration, error) { s.k.Unpause() }, s.k.CheckpointGen().Count+1)
	s.k.ReceiveTaskStates()
	for _, t := range s.k.TaskSet().Root.Tasks() {
		if a := t.Arch(); a != nil {
			trimRegisters(a.FloatingPointData())
		}
	}
	return nil
}

// dropEntries drops what fs keeps of files that nothing refers to any more: that
// are neither open nor mapped nor watched nor mounted on.
func dropEntries(ctx context.Context, fs vfs.FilesystemImpl) error {
	v := reflect.ValueOf(fs)
	if v.Type().String() == "*erofs.filesystem" {
		evictAllImageEntries(v.UnsafePointer(), ctx)
		return nil
	}
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return nil
	}
	part := v.Elem().FieldByName("Filesystem") // of those like /proc
	if !part.IsValid() || part.Type() != reflect.TypeFor[kernfs.Filesystem]() {
		return nil
	}
	mu, cached := part.FieldByName("mu"), part.FieldByName("cachedDentriesLen")
	lock, ok := reflect.NewAt(mu.Type(), mu.Addr().UnsafePointer()).Interface().(sync.Locker)
	if !ok {
		return fmt.Errorf("%T has no lock", fs)
	}
	tree := (*kernfs.Filesystem)(part.Addr().UnsafePointer())
	lock.Lock()
	for cached.Uint() > 0 {
		evictEntry(tree, ctx)
	}
	lock.Unlock()
	finishEvictions(tree, ctx)
	return nil
}

// leastRegisters is the part of the registers that isn't all zeros in a new state,
// registersMark the size of the mark.
const (
	leastRegisters = 512 + 64
	registersMark  = 4 // bytes
)

// trimRegisters cuts off the zeros at the end of a thread's state. gVisor copies
// what was saved, less the mark at its end, over a new state.
func trimRegisters(s *fpu.State) {
	n := len(*s)
	for n > leastRegisters && (*s)[n-1] == 0 {
		n--
	}
	n = min(n+registersMark, len(*s))
	*s = (*s)[:n:n]
}

//go:linkname evictAllImageEntries gvisor.dev/gvisor/pkg/sentry/fsimpl/erofs.(*filesystem).evictAllCachedDentries
func evictAllImageEntries(fs unsafe.Pointer, ctx context.Context)

//go:linkname evictEntry gvisor.dev/gvisor/pkg/sentry/fsimpl/kernfs.(*Filesystem).evictCachedDentryLocked
func evictEntry(fs *kernfs.Filesystem, ctx context.Context)

//go:linkname finishEvictions gvisor.dev/gvisor/pkg/sentry/fsimpl/kernfs.(*Filesystem).processDeferredDecRefs
func finishEvictions(fs *kernfs.Filesystem, ctx context.Context)
