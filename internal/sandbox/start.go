package sandbox

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// boot creates the sandbox and runs the runtime's init. On an init that failed
// by the code's own fault it returns an *InitError. The caller closes i in every
// case.
func (i *Instance) boot(ctx context.Context, d Driver, spec Spec, sink LineSink, initLimit time.Duration) error {
	began := time.Now()
	sb, err := d.Create(ctx, spec)
	if sb != nil {
		i.sb = sb
	}
	if err != nil {
		return fmt.Errorf("create a sandbox for %s: %w", i.Version.Function, err)
	}
	if err := i.attach(sink); err != nil {
		return err
	}
	started := time.Now()
	i.start.Sandbox = started.Sub(began)
	if err := sb.Start(ctx); err != nil {
		return fmt.Errorf("start the runtime of %s: %w", i.Version.Function, err)
	}
	err = i.awaitReady(ctx, started, initLimit)
	i.start.Init = time.Since(started)
	if err != nil {
		return err
	}
	if err := sb.Settle(); err != nil {
		return fmt.Errorf("settle the sandbox of %s: %w", i.Version.Function, err)
	}
	return nil
}

// attach takes the sandbox's link.
func (i *Instance) attach(sink LineSink) (err error) {
	var stderr *os.File
	i.stdin, i.stdout, stderr = i.sb.Link()
	i.out = bufio.NewReaderSize(i.stdout, linkBuffer)
	i.logs, err = newLogReader(stderr, sink, i)
	return err
}

// awaitReady waits for the guest to say that it is ready.
func (i *Instance) awaitReady(ctx context.Context, began time.Time, limit time.Duration) error {
	defer context.AfterFunc(ctx, func() { i.stdout.SetReadDeadline(time.Unix(1, 0)) })()
	i.stdout.SetReadDeadline(began.Add(limit))
	f, err := ReadFrame(i.out, i.limit)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	switch {
	case err != nil:
		kind := i.diagnose(err)
		if kind == TimedOut {
			kind = InitTimedOut
		}
		found := Fault{Kind: kind, Limit: limit, Exit: i.exit()}
		doc, typ := i.guest.Fault(found)
		return &InitError{Fault: kind, Document: doc, ErrorType: typ, PeakBytes: i.Peak(), guest: i.guest, found: found}
	case f.Kind == FrameInitError:
		i.logs.drain()
		return &InitError{Document: f.Body, ErrorType: headerValue(f.Header, "Error-Type"), PeakBytes: i.Peak()}
	case f.Kind != FrameReady:
		return errs.Newf(errs.Internal, "the runtime of %s answered with a frame of kind %d where it had to say that it is ready", i.Version.Function, f.Kind)
	}
	i.stdout.SetReadDeadline(time.Time{})
	i.logs.drain()
	if i.Version.Web != nil {
		return i.serveWeb(f.Header)
	}
	return nil
}

// restore makes i a copy of the snapshot in state, with fresh variables. When the code's own hook
// failed it returns an *InitError without a Fault; any other error is the
// snapshot's or the driver's.
func (i *Instance) restore(ctx context.Context, b Blank, spec Spec, state *os.File, fresh []string, sink LineSink, limit time.Duration) error {
	began := time.Now()
	sb, err := b.Restore(ctx, spec, state)
	if err != nil {
		return err
	}
	i.sb = sb
	if err := i.attach(sink); err != nil {
		return err
	}
	if !i.guest.Copies(i.Version) {
		i.start.Restore = time.Since(began)
		return sb.Settle()
	}
	revived := time.Now()
	if err := i.tell(FrameRestore, fresh, revived.Add(limit)); err != nil {
		return err
	}
	err = i.awaitReady(ctx, revived, limit)
	i.start.Revive = time.Since(revived)
	i.start.Restore = time.Since(began)
	if err != nil {
		return err
	}
	return sb.Settle()
}

// save writes a snapshot of i, which is ready and has run no call, and ends it.
func (i *Instance) save(ctx context.Context, state *os.File, limit time.Duration) error {
	if i.guest.Copies(i.Version) {
		began := time.Now()
		if err := i.tell(FrameSnapshot, nil, began.Add(limit)); err != nil {
			return err
		}
		if err := i.awaitReady(ctx, began, limit); err != nil {
			return err
		}
	}
	saver, ok := i.sb.(Saver)
	if !ok {
		return errs.Newf(errs.Internal, "the sandbox can't be saved")
	}
	return saver.Save(ctx, state)
}

// tell sends a frame whose header holds variables, given as KEY=value.
func (i *Instance) tell(kind FrameKind, variables []string, deadline time.Time) error {
	var header []byte
	for _, v := range variables {
		name, value, _ := strings.Cut(v, "=")
		header = append(append(append(append(header, name...), ": "...), value...), "\r\n"...)
	}
	i.stdin.SetWriteDeadline(deadline)
	_, err := i.stdin.Write(AppendFrame(nil, Frame{Kind: kind, Header: header}))
	return err
}
