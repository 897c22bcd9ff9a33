package gvisor

import (
	"bufio"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

// A Sentry that waits keeps what it used on its way there: the garbage of its
// boot, and the pages of this binary that it ran through. The garbage costs
// nothing to give back. The pages it shares with all other Sentries and reads
// again from the kernel's cache, but hundreds of page faults make the next start
// or answer some milliseconds slower: they are given back when that is likely to
// be long from now, or when memory is scarce.

// trimFlag names the pipe on which a Sentry is told to give memory back.
const trimFlag = "trim-fd"

// The words on that pipe.
const (
	trimGarbage byte = iota // the heap's free pages
	trimAll                 // and the program's
)

// trimAgain is when the program's pages are given back once more: the collection
// of garbage leaves goroutines that run on for a moment.
const trimAgain = 200 * time.Millisecond

var _ sandbox.Trimmer = (*Sandbox)(nil)

// Trim implements sandbox.Trimmer. It returns before the Sentry is done.
func (s *Sandbox) Trim() error { return s.giveBack(trimAll) }

func (s *Sandbox) giveBack(what byte) error {
	_, err := s.trim.Write([]byte{what})
	return err
}

// awaitTrims is the Sentry's side. It ends with the pipe.
func awaitTrims(pipe int, program []mapping) {
	defer unix.Close(pipe)
	word := make([]byte, 16) // the last of several is the one that holds
	for {
		n, err := unix.Read(pipe, word)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return
		}
		debug.FreeOSMemory()
		if word[n-1] != trimAll {
			continue
		}
		drop(program)
		time.Sleep(trimAgain)
		drop(program)
	}
}

// drop gives back a program's pages. At worst they stay.
func drop(program []mapping) {
	for _, m := range program {
		unix.Syscall(unix.SYS_MADVISE, m.start, m.end-m.start, unix.MADV_DONTNEED)
	}
}

// mapping is a range of a process's addresses.
type mapping struct{ start, end uintptr }

// programMappings returns where this process has pages of its binary that it can
// read again, since it never writes to them.
func programMappings() ([]mapping, error) {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var clean []mapping
	var last mapping
	candidate := false
	for sc := bufio.NewScanner(f); sc.Scan(); {
		field := strings.Fields(sc.Text())
		switch {
		case len(field) >= 5 && strings.Contains(field[0], "-"): // address, permissions, offset, device, inode
			start, end, _ := strings.Cut(field[0], "-")
			from, ferr := strconv.ParseUint(start, 16, 64)
			to, terr := strconv.ParseUint(end, 16, 64)
			last = mapping{uintptr(from), uintptr(to)}
			candidate = ferr == nil && terr == nil && field[4] != "0" && (field[1] == "r--p" || field[1] == "r-xp")
		case len(field) >= 2 && field[0] == "Anonymous:":
			if candidate && field[1] == "0" { // no relocations in it
				clean = append(clean, last)
			}
		}
	}
	return clean, nil
}
