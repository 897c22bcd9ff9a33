package spine

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// The embedded engine closes a stream for good at its first failed write: a
// disk that was full for a moment would cost the queue until the node is
// restarted. So writes are refused while there is still room.
const (
	reserve       = 32 << 20 // bytes that must be free for a write that grows what is kept
	deleteReserve = 1 << 20  // bytes that must be free for a delete, which is how room is made
)

// room returns an error of kind Unavailable if fewer than need bytes are free on
// the disk of the embedded engine. A cluster looks after its own disks.
func (s *Spine) room(need int64) error {
	if s.srv == nil {
		return nil
	}
	free, err := s.free()
	if err != nil {
		return err
	}
	if free < need {
		return errs.Newf(errs.Unavailable, "the disk of the data directory is full: %d MB are free, and %d MB are kept back; make room there", free>>20, need>>20)
	}
	return nil
}

// freeBytes returns what an unprivileged writer finds free on dir's disk.
func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("ask for the free space of %s: %w", dir, err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}
