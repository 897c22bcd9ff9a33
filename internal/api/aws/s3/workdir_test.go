package s3

import (
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

// where returns the directory that relative paths of this thread begin at.
func where(t *testing.T) string {
	t.Helper()
	dir, err := os.Readlink("/proc/thread-self/cwd") // one call: the goroutine may move on to another thread
	if err != nil {
		t.Error(err)
	}
	return dir
}

func TestOnlyWhatRunsInTheDirectoryIsThere(t *testing.T) {
	home := where(t)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	d, err := openWorkdir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 100 {
				err := d.do(func() {
					runtime.Gosched() // threads are begun and change hands
					if got := where(t); got != dir {
						t.Errorf("in the directory, paths begin at %s", got)
					}
					d.outside(func() {
						runtime.Gosched()
						if got := where(t); got != home {
							t.Errorf("outside, paths begin at %s", got)
						}
					})
					if got := where(t); got != dir {
						t.Errorf("back in the directory, paths begin at %s", got)
					}
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
		all.Go(func() {
			for range 100 {
				done := make(chan struct{})
				go func() { // on whatever thread is free
					defer close(done)
					runtime.Gosched()
					if got := where(t); got != home {
						t.Errorf("elsewhere in the process, paths begin at %s", got)
					}
				}()
				<-done
			}
		})
	}
	all.Wait()
}

func TestPanicLeavesTheDirectory(t *testing.T) {
	home := where(t)
	d, err := openWorkdir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was lost")
			}
		}()
		_ = d.do(func() { panic("broken") })
	}()
	if got := where(t); got != home {
		t.Errorf("paths begin at %s", got)
	}
	if _, err := os.Stat("workdir_test.go"); err != nil {
		t.Error(err)
	}
}
