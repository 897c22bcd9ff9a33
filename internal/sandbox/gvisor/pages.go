package gvisor

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"runtime"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/memmap"
	"gvisor.dev/gvisor/pkg/sentry/pgalloc"
	"gvisor.dev/gvisor/pkg/sentry/state/stateio"
	"gvisor.dev/gvisor/runsc/boot"
)

// A snapshot is one file: the pages of the memory inside, the kernel's state,
// what says which page belongs where, and at last how long each of these is.
//
// gVisor can load pages in the background, while it makes the kernel anew and
// while the code runs; who needs a page that isn't there yet waits for it. Its
// own reader does so in 128 threads, and writes through a mapping: there each
// page is a page fault, which takes several times longer than the copy of the
// page. Ours copies from file to file, one piece after the other, in no thread
// of its own.
//
// A Sentry runs on as many CPUs as the code inside sees, which mostly is one. There
// the reader and the making of the kernel would wait for each other's turns, of up
// to 10 ms each: so there are two until the last page is there.

// layout tells how long a snapshot's sections are, in bytes and in the file's order.
type layout struct{ Pages, Kernel, Metadata, Marks int64 }

// layoutMagic begins the layout, which is the end of the file. Its last byte is the
// format's number.
const (
	layoutMagic = "mayfly\x00" + string(rune(snapshotFormat))
	layoutSize  = len(layoutMagic) + 4*8
)

// appendSections completes a snapshot, whose pages are in f already. own are the
// saved sandbox's values.
func appendSections(f *os.File, kernel, metadata *os.File, own []string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	at := layout{Pages: info.Size()}
	marks, err := findMarks(io.NewSectionReader(f, 0, at.Pages), own)
	if err != nil {
		return err
	}
	where, err := json.Marshal(marks)
	if err != nil {
		return err
	}
	at.Marks = int64(len(where))
	w := io.NewOffsetWriter(f, at.Pages)
	for _, section := range []struct {
		from *os.File
		size *int64
	}{{kernel, &at.Kernel}, {metadata, &at.Metadata}} {
		if _, err := section.from.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if *section.size, err = io.Copy(w, section.from); err != nil {
			return err
		}
	}
	end := append(where, layoutMagic...)
	for _, n := range []int64{at.Pages, at.Kernel, at.Metadata, at.Marks} {
		end = binary.LittleEndian.AppendUint64(end, uint64(n))
	}
	_, err = w.Write(end)
	return err
}

// readLayout reads a snapshot's layout. It fails when the file is not as long as that says.
func readLayout(f *os.File) (at layout, err error) {
	info, err := f.Stat()
	if err != nil {
		return at, err
	}
	end := make([]byte, layoutSize)
	if _, err := f.ReadAt(end, max(info.Size()-int64(layoutSize), 0)); err != nil {
		return at, fmt.Errorf("the snapshot has no layout: %w", err)
	}
	numbers := end[len(layoutMagic):]
	if string(end[:len(layoutMagic)]) != layoutMagic {
		return at, fmt.Errorf("the snapshot is cut off, or none of this version")
	}
	total := int64(layoutSize)
	for i, section := range []*int64{&at.Pages, &at.Kernel, &at.Metadata, &at.Marks} {
		*section = int64(binary.LittleEndian.Uint64(numbers[8*i:]))
		total += *section
	}
	if total != info.Size() || min(at.Pages, at.Kernel, at.Metadata, at.Marks) < 0 {
		return at, fmt.Errorf("the snapshot has %d bytes in place of %d", info.Size(), total)
	}
	return at, nil
}

// pages are the memory of a snapshot that is about to be restored.
type pages struct {
	file    *os.File
	layout  layout
	patches []patch
}

// loadInto has the restore that l is in the middle of load its memory from p. It
// takes p over.
func (p *pages) loadInto(l *boot.Loader) {
	metadata := bufio.NewReader(io.NewSectionReader(p.file, p.layout.Pages+p.layout.Kernel, p.layout.Metadata))
	memory, loader := memoryOf(l)
	reader, err := newPagesReader(p.file, p.layout.Pages, p.patches)
	if err != nil {
		panic(err) // as from memoryOf
	}
	reader.cpus = runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), 2))
	*loader = kernel.NewAsyncMFLoader(io.NopCloser(metadata), reader, memory, nil)
}

// memoryOf returns the memory that a restore has made, which is to be filled,
// and where the restore looks for who does. gVisor keeps them to itself, and
// makes a loader with its own reader, or none: so these are found by their names.
// Where a new version has others, this panics, and no restore works.
func memoryOf(l *boot.Loader) (*pgalloc.MemoryFile, **kernel.AsyncMFLoader) {
	restore := reflect.ValueOf(l).Elem()
	for _, name := range []string{"ctrl", "manager", "restorer"} {
		restore = restore.FieldByName(name).Elem()
	}
	memory := (*pgalloc.MemoryFile)(restore.FieldByName("mainMF").UnsafePointer())
	return memory, (**kernel.AsyncMFLoader)(restore.FieldByName("asyncMFLoader").Addr().UnsafePointer())
}

// kernelOf returns the kernel that l is about to run or to restore, found in the
// same way.
func kernelOf(l *boot.Loader) *kernel.Kernel {
	return (*kernel.Kernel)(reflect.ValueOf(l).Elem().FieldByName("k").UnsafePointer())
}

// pieceSize is how much is copied at once: little, so that who waits for a page
// doesn't wait for much else.
const pieceSize = 64 << 10

// pagesReader reads a snapshot's pages into memory files. It is a
// stateio.AsyncReader that reads when it is waited for.
type pagesReader struct {
	file  *os.File
	pages []byte      // mapped, which saves a copy
	reads []pagesRead // not done yet, in the order in which they came
	cpus  int         // that the Sentry has by itself; 0 for as many as it has now
}

// newPagesReader returns a reader of the first n bytes of f, with the patches in
// their places. Its Close closes f.
func newPagesReader(f *os.File, n int64, patches []patch) (*pagesReader, error) {
	r := &pagesReader{file: f}
	if n > 0 {
		var err error
		if r.pages, err = unix.Mmap(int(f.Fd()), 0, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE); err != nil {
			return nil, fmt.Errorf("map the snapshot: %w", err)
		}
	}
	for _, p := range patches {
		copy(r.pages[p.at:], p.value)
	}
	return r, nil
}

// Close implements stateio.AsyncReader.
func (r *pagesReader) Close() error {
	if r.cpus > 0 {
		runtime.GOMAXPROCS(r.cpus)
	}
	var err error
	if r.pages != nil {
		err = unix.Munmap(r.pages)
		r.pages = nil
	}
	return errors.Join(err, r.file.Close())
}

// pagesRead is one read, from the offset in the snapshot into ranges of the file to.
type pagesRead struct {
	id     int
	offset int64
	to     int
	ranges []memmap.FileRange
}

var _ stateio.AsyncReader = (*pagesReader)(nil)

// MaxReadBytes implements stateio.AsyncReader.
func (r *pagesReader) MaxReadBytes() uint64 { return pieceSize }

// MaxRanges implements stateio.AsyncReader.
func (r *pagesReader) MaxRanges() int { return pieceSize / hostarch.PageSize }

// MaxParallel implements stateio.AsyncReader. The next read is known before one ends.
func (r *pagesReader) MaxParallel() int { return 2 }

// NeedRegisterDestinationFD implements stateio.AsyncReader.
func (r *pagesReader) NeedRegisterDestinationFD() bool { return true }

// RegisterDestinationFD implements stateio.AsyncReader. A memory file stays open
// until its last page is loaded, so its number will do.
func (r *pagesReader) RegisterDestinationFD(fd int32, _ uint64, _ []stateio.ClientFileRangeSetting) (stateio.DestinationFile, error) {
	return int(fd), nil
}

// AddRead implements stateio.AsyncReader.
func (r *pagesReader) AddRead(id int, off int64, to stateio.DestinationFile, fr memmap.FileRange, _ []byte) {
	r.AddReadv(id, off, fr.Length(), to, []memmap.FileRange{fr}, nil)
}

// AddReadv implements stateio.AsyncReader.
func (r *pagesReader) AddReadv(id int, off int64, _ uint64, to stateio.DestinationFile, frs []memmap.FileRange, _ []unix.Iovec) {
	r.reads = append(r.reads, pagesRead{id, off, to.(int), frs})
}

// Wait implements stateio.AsyncReader.
func (r *pagesReader) Wait(done []stateio.Completion, least int) ([]stateio.Completion, error) {
	for ; least > 0; least-- {
		n, err := r.copy(r.reads[0])
		done = append(done, stateio.Completion{ID: r.reads[0].id, N: n, Err: err})
		r.reads = append(r.reads[:0], r.reads[1:]...)
	}
	return done, nil
}

func (r *pagesReader) copy(read pagesRead) (n uint64, err error) {
	for _, fr := range read.ranges {
		from := read.offset + int64(n)
		if from+int64(fr.Length()) > int64(len(r.pages)) {
			return n, io.ErrUnexpectedEOF
		}
		page := r.pages[from : from+int64(fr.Length())] // EFAULT where the file can't be read
		for at := int64(fr.Start); len(page) > 0; {
			k, err := unix.Pwrite(read.to, page, at)
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return n, err
			}
			page, at = page[k:], at+int64(k)
		}
		n += fr.Length()
	}
	return n, nil
}
