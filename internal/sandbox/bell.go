package sandbox

import (
	"errors"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// bell tells that there is something to read in a pipe, once each time that it was
// armed. Go's own poller is told by the kernel of each write to a pipe, whether
// anybody waits for it or not: for a program that prints many lines, that is a
// wake-up for each. So the poller watches an epoll of the bell's own, in which the
// pipe is a one-shot.
type bell struct {
	epoll *os.File
	raw   syscall.RawConn
}

// listen takes f, a pipe, away from Go's poller. It returns a descriptor for f, which
// is closed, and a bell that is armed for it.
func listen(f *os.File) (fd int, b *bell, err error) {
	if fd, err = apart(f); err != nil {
		return -1, nil, err
	}
	defer func() {
		if err != nil {
			closePipe(fd)
		}
	}()
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return -1, nil, err
	}
	if err := unix.SetNonblock(epoll, true); err != nil { // or Go would not poll it
		unix.Close(epoll)
		return -1, nil, err
	}
	b = &bell{epoll: os.NewFile(uintptr(epoll), "bell")}
	if b.raw, err = b.epoll.SyscallConn(); err == nil {
		err = unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, oneShot(fd))
	}
	if err != nil {
		b.epoll.Close()
		return -1, nil, err
	}
	return fd, b, nil
}

// apart returns a descriptor for f that Go does not know of, and closes f.
func apart(f *os.File) (fd int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	if cerr := raw.Control(func(old uintptr) {
		if fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			err = unix.SetNonblock(fd, true)
		}
	}); cerr != nil {
		return -1, cerr
	}
	return fd, errors.Join(err, f.Close())
}

func oneShot(fd int) *unix.EpollEvent {
	return &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(fd)}
}

// wait returns true when the bell has rung, and false when it was closed.
func (b *bell) wait() bool {
	rang := false
	err := b.raw.Read(func(epoll uintptr) bool {
		var events [1]unix.EpollEvent
		n, err := unix.EpollWait(int(epoll), events[:], 0)
		rang = n > 0
		return rang || err != nil && err != unix.EINTR
	})
	return err == nil && rang
}

// arm makes the bell ring once more: at once, if there is something in the pipe.
func (b *bell) arm(fd int) (err error) {
	cerr := b.raw.Control(func(epoll uintptr) {
		err = unix.EpollCtl(int(epoll), unix.EPOLL_CTL_MOD, fd, oneShot(fd))
	})
	return errors.Join(err, cerr)
}

func (b *bell) close() { b.epoll.Close() }

// readNow reads what is in a pipe, at once: 0 bytes without an error mean that there
// is nothing now, io.EOF that nothing will come.
func readNow(fd int, b []byte) (int, error) {
	for {
		switch n, err := unix.Read(fd, b); {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return 0, nil
		case err != nil:
			return 0, err
		case n <= 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// closePipe lets go of a pipe's reading end: nothing can be lost by it.
func closePipe(fd int) { unix.Close(fd) }
