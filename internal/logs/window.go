package logs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"
)

// window is a stretch of a file that is mapped into memory to be written. What is
// copied into it belongs to the operating system at once, without a system call,
// and so outlives the process.
type window struct {
	file *os.File
	base int64  // offset of data in the file
	data []byte // nil when nothing is mapped
}

// windowBytes is how much is mapped at a time.
const windowBytes = 256 << 10

// write puts b at an offset of the file, if the window reaches so far. A file
// that was cut short under the window is an error, not the end of the process.
func (w *window) write(offset int64, b []byte) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("write to the mapped log: %v", fault)
		}
	}()
	copy(w.data[offset-w.base:], b)
	return nil
}

// reaches reports whether n bytes at offset are within the window.
func (w *window) reaches(offset int64, n int) bool {
	return w.data != nil && offset >= w.base && offset+int64(n) <= w.base+int64(len(w.data))
}

// move maps at least n bytes from offset on, of the file at path. The disk's room
// for them is taken first, so that writing can't fail later.
// keepFree bytes of the disk are left to others: the log of a function must not
// take the room that the node needs to keep what it has accepted.
func (w *window) move(path string, offset int64, n int, most, keepFree int64) error {
	if err := w.unmap(); err != nil {
		return err
	}
	if err := room(filepath.Dir(path), keepFree); err != nil {
		return err
	}
	if w.file == nil {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		w.file = f
	}
	page := int64(os.Getpagesize())
	base := offset / page * page
	size := offset - base + max(int64(n), min(windowBytes, most))
	size = (size + page - 1) / page * page
	fd := int(w.file.Fd())
	err := unix.Fallocate(fd, 0, base, size)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		err = w.file.Truncate(base + size)
	}
	if err != nil {
		return fmt.Errorf("make room in %s: %w", path, err)
	}
	data, err := unix.Mmap(fd, base, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map %s: %w", path, err)
	}
	// Pages are made ready here, in a call that the Go runtime can see: a fault
	// that waits for the disk would hold up a processor. Older kernels refuse.
	_ = unix.Madvise(data, unix.MADV_POPULATE_WRITE)
	w.base, w.data = base, data
	return nil
}

// room returns an error if fewer than need bytes are free on dir's disk.
func room(dir string, need int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("ask for the free space of %s: %w", dir, err)
	}
	if free := int64(st.Bavail) * st.Bsize; free < need {
		return fmt.Errorf("the disk of the data directory is full: %d MB are free, and %d MB are kept back; make room there", free>>20, need>>20)
	}
	return nil
}

func (w *window) unmap() error {
	if w.data == nil {
		return nil
	}
	data := w.data
	w.data = nil
	return unix.Munmap(data)
}

// close cuts the file where its content ends and lets go of it. Its time of change
// is now: mapped memory is written later than it says.
func (w *window) close(end int64) error {
	if w.file == nil {
		return nil
	}
	f := w.file
	w.file = nil
	now := unix.NsecToTimeval(time.Now().UnixNano())
	return errors.Join(w.unmap(), f.Truncate(end), unix.Futimes(int(f.Fd()), []unix.Timeval{now, now}), f.Close())
}
