package gvisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/tmpfs"
	"gvisor.dev/gvisor/pkg/sentry/usage"
)

// A blank sandbox is a booted Sentry that belongs to no function yet. Its images
// are /dev/null, and nothing of it depends on what it will run but the number of
// its CPUs. Before a snapshot is restored into it, it is filled: the real images
// take the numbers of the placeholders, and the Sentry learns its memory and
// where the snapshot's is.
//
// The Sentry's side of that is ours, since the Sentry is this binary: a
// goroutine that waits for one message and ends. Seccomp filters are installed
// by the restore, after it.

// fillFlag names the socket that a filling comes in on.
const fillFlag = "fill-fd"

// blankImages are the placeholders.
var blankImages = images{root: os.DevNull, code: os.DevNull, node: os.DevNull}

// filling is the message. The images come with it, in the order of Slots, and
// then the snapshot.
type filling struct {
	Slots    []int // descriptor numbers for the images
	Memory   int64 // bytes that the code inside is told it has
	Snapshot layout
	Own      [][]byte // the copy's, see sandbox.Spec
}

// maxFilling bounds the message.
const maxFilling = 4 << 10

// makeFill makes the socket that s is filled through and returns the Sentry's end.
func (s *Sandbox) makeFill() (*os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make the fill socket: %w", err)
	}
	if err := unix.SetNonblock(pair[0], true); err != nil {
		return nil, errors.Join(err, unix.Close(pair[0]), unix.Close(pair[1]))
	}
	s.fill = os.NewFile(uintptr(pair[0]), "fill")
	return os.NewFile(uintptr(pair[1]), "fill"), nil
}

// sendFilling fills a blank Sentry and waits for its word that it has.
func (s *Sandbox) sendFilling(m filling, files []*os.File) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	raw, err := s.fill.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Write(func(fd uintptr) bool {
		sent = unix.Sendmsg(int(fd), text, unix.UnixRights(fds...), nil, unix.MSG_NOSIGNAL)
		return sent != unix.EAGAIN
	})
	if err = errors.Join(err, sent); err != nil {
		return fmt.Errorf("fill sandbox: %w", err)
	}
	word := make([]byte, maxFilling)
	n, err := s.fill.Read(word)
	switch {
	case err != nil:
		return fmt.Errorf("fill sandbox: %w", err)
	case n != 1:
		return fmt.Errorf("fill sandbox: %s", word[:n])
	}
	return nil
}

// awaitFill is a blank Sentry's side. It ends with the first message, or with
// the socket.
func (b *bootCommand) awaitFill() {
	defer unix.Close(b.fillFD)
	word := []byte{0}
	if err := b.takeFilling(); err != nil {
		word = []byte("in the sandbox's kernel: " + err.Error())
	}
	unix.Sendto(b.fillFD, word, unix.MSG_NOSIGNAL, nil) // the node may have given up; then nobody reads
}

func (b *bootCommand) takeFilling() error {
	text, rights := make([]byte, maxFilling), make([]byte, unix.CmsgSpace(16*4))
	var n, o int
	for {
		var err error
		n, o, _, _, err = unix.Recvmsg(b.fillFD, text, rights, unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		break
	}
	if n == 0 {
		return errors.New("the node is gone")
	}
	messages, err := unix.ParseSocketControlMessage(rights[:o])
	if err != nil || len(messages) != 1 {
		return fmt.Errorf("%d control messages: %w", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return err
	}
	var m filling
	if err := json.Unmarshal(text[:n], &m); err != nil {
		return err
	}
	last := len(fds) - 1
	if last != len(m.Slots) {
		return fmt.Errorf("%d descriptors for %d images and a snapshot", len(fds), len(m.Slots))
	}
	for i, fd := range fds[:last] {
		if err := unix.Dup3(fd, m.Slots[i], unix.O_CLOEXEC); err != nil {
			return fmt.Errorf("put image in its slot: %w", err)
		}
		unix.Close(fd)
	}
	p := &pages{file: os.NewFile(uintptr(fds[last]), "snapshot"), layout: m.Snapshot}
	marks, err := readMarks(p.file, m.Snapshot)
	if err != nil {
		return fmt.Errorf("read where the snapshot's own values are: %w", err)
	}
	if p.patches, err = patchesOf(marks, m.Own, m.Snapshot.Pages); err != nil {
		return err
	}
	b.pages.Store(p)
	usage.MinimumTotalMemoryBytes = uint64(m.Memory)
	usage.MaximumTotalMemoryBytes = uint64(m.Memory)
	tmpfs.SetTotalHostMem(uint64(m.Memory))
	return nil
}
