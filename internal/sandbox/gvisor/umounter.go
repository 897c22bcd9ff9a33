package gvisor

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/runsc/specutils"
)

// A Sentry gives up its capabilities long before it is done with /proc, so a
// process that keeps them waits for its word to unmount it. gVisor takes its own
// program for that: in a blank sandbox, which waits for its restore, a whole
// copy of this binary, 12 MiB. The umounter is a program of a few instructions
// in its place.
//
// It is called as gVisor calls its own: the pipe is descriptor 3, and one byte
// on it is the word. Without it, or when the unmount fails, it exits with 1.

// umounterFD is the least number of the descriptor that the program is run
// from. It must stay clear of those that os/exec moves about in the child.
const umounterFD = 1000

// useUmounter has gVisor run the umounter. Where that can't be, gVisor goes on
// running its own program, which costs memory and nothing else.
func useUmounter() {
	program := umounter()
	if program == nil {
		return
	}
	fd, err := programFD(program)
	if err != nil {
		return // a kernel may be told to run nothing from memory
	}
	specutils.ExePath = fmt.Sprintf("/proc/self/fd/%d", fd)
}

// programFD returns a descriptor of a file in memory that can be executed.
func programFD(program []byte) (int, error) {
	fd, err := unix.MemfdCreate("umounter", unix.MFD_CLOEXEC|unix.MFD_EXEC)
	if err == unix.EINVAL { // before Linux 6.3 all of them can
		fd, err = unix.MemfdCreate("umounter", unix.MFD_CLOEXEC)
	}
	if err != nil {
		return -1, err
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, program); err != nil {
		return -1, err
	}
	// Through a descriptor for reading: what is open for writing is "busy".
	reader, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(reader)
	return unix.FcntlInt(uintptr(reader), unix.F_DUPFD_CLOEXEC, umounterFD)
}

const (
	elfAddress = 0x400000 // where the program is loaded
	elfHeaders = 64 + 56  // bytes of the ELF header and its one program header
)

// elf returns a static executable that is code, which is loaded right after the
// headers and entered at its first byte.
func elf(machine uint16, code []byte) []byte {
	size := uint64(elfHeaders + len(code))
	var b bytes.Buffer
	b.WriteString("\x7fELF\x02\x01\x01") // 64 bits, little endian, version 1
	b.Write(make([]byte, 9))
	for _, v := range []any{
		uint16(2), machine, uint32(1), // an executable
		uint64(elfAddress + elfHeaders), uint64(64), uint64(0), // entry, program headers, no sections
		uint32(0), uint16(64), uint16(56), uint16(1), uint16(0), uint16(0), uint16(0),

		uint32(1), uint32(5), uint64(0), // load, to be read and executed, from the file's start
		uint64(elfAddress), uint64(elfAddress), size, size, uint64(4096),
	} {
		_ = binary.Write(&b, binary.LittleEndian, v) // fixed sizes, to memory
	}
	b.Write(code)
	return b.Bytes()
}
