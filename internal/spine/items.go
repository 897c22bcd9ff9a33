package spine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

// entry is a record on its way into the log of a work queue.
type entry struct {
	id   string // "" is none
	head string
	body []byte

	number uint64
	repeat bool // a record with the id is in the log already, under the number
	err    error
}

// itemLog is where a work queue keeps its records. Their numbers grow.
type itemLog interface {
	// appendAll stores records; then they are on disk. Each has its own outcome.
	appendAll(ctx context.Context, all []*entry)
	Body(ctx context.Context, number uint64) ([]byte, error)
	// removeBefore removes records whose numbers are less than one. It may keep
	// the last of them, and returns the number of the first that it kept.
	removeBefore(ctx context.Context, number uint64) (first uint64, err error)
	headsAfter(ctx context.Context, after uint64, fn func(number uint64, head string) error) error
	// bounds returns the numbers of the first and the last record. Of a log that is
	// empty they are the next and the one before that.
	bounds(ctx context.Context) (first, last uint64, err error)
}

// remoteItems is the log of a work queue in a cluster's engine.
type remoteItems struct{ *Log }

func (r remoteItems) appendAll(ctx context.Context, all []*entry) {
	if len(all) == 1 {
		r.put(ctx, all[0])
		return
	}
	var under sync.WaitGroup
	for _, e := range all {
		under.Go(func() { r.put(ctx, e) })
	}
	under.Wait()
}

func (r remoteItems) put(ctx context.Context, e *entry) {
	e.number, e.repeat, e.err = r.append(ctx, e.id, e.head, e.body)
}

func (r remoteItems) removeBefore(ctx context.Context, number uint64) (uint64, error) {
	return number, r.RemoveBefore(ctx, number)
}

func (r remoteItems) bounds(ctx context.Context) (first, last uint64, err error) {
	info, err := r.st.Info(ctx)
	if err != nil {
		return 0, 0, wrap(err, "read %s", r.name)
	}
	return max(info.State.FirstSeq, 1), info.State.LastSeq, nil
}

// openItems opens the log of a work queue: on one machine files of the spine's
// own, as nobody reads them but this process, and an accepted call waits for each
// write. A node of before kept them in its engine: old is that log then, nil else,
// and the files are empty and number on.
func (s *Spine) openItems(ctx context.Context, name string) (items, old itemLog, err error) {
	cfg := jetstream.StreamConfig{Name: name + itemsStream, Subjects: []string{itemsSubject + name}, Duplicates: duplicateWindow}
	if s.srv == nil {
		l, err := s.logAs(ctx, cfg)
		return remoteItems{l}, nil, err
	}
	dir := filepath.Join(s.dir, itemsDir, name)
	next := uint64(1)
	_, err = s.js.Stream(ctx, cfg.Name)
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil, wrap(err, "look for stream %s", cfg.Name)
	}
	if err == nil {
		l, err := s.logAs(ctx, cfg)
		if err != nil {
			return nil, nil, err
		}
		old = remoteItems{l}
		_, last, err := old.bounds(ctx)
		if err != nil {
			return nil, nil, err
		}
		next = last + 1
		// What is there comes from a start that did not come to its end.
		if err := os.RemoveAll(dir); err != nil {
			return nil, nil, wrap(err, "remove the files of work queue %s", name)
		}
	}
	f, err := openFiles(fileConfig{dir: dir, name: name, next: next, room: s.room, log: s.log})
	if err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	s.files = append(s.files, f)
	s.mu.Unlock()
	return f, old, nil
}
