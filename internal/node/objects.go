package node

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/mayfly-dev/mayfly/internal/access"
	"github.com/mayfly-dev/mayfly/internal/api/aws/lambda"
	"github.com/mayfly-dev/mayfly/internal/api/aws/payload"
	"github.com/mayfly-dev/mayfly/internal/api/aws/s3"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/bucket"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
	"github.com/mayfly-dev/mayfly/internal/spine"
)

// openObjects opens the object store and what tells of its changes. A machine
// that can't hold the store gets a node without one, and a warning.
func (n *Node) openObjects(ctx context.Context) error {
	rules, err := n.spine.Bucket(ctx, spine.NoticesBucket)
	if err != nil {
		return err
	}
	outbox, err := n.spine.Notices(ctx)
	if err != nil {
		return err
	}
	n.notices, err = bucket.Open(ctx, bucket.Options{
		Rules: rules, Outbox: outbox, Senders: n.senders, Encode: n.encodeNotice, Log: n.log,
	})
	if err != nil {
		return err
	}
	n.objects, err = s3.Open(s3.Config{
		Dir: n.path("objects"), Region: n.cfg.Region, Account: n.cfg.Account, Credentials: n.signers, Changes: n.notices,
		Limited: access.OfFunction, Log: n.log,
	})
	if errs.Is(err, errs.Unavailable) {
		n.warn("there is no object storage: " + err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	n.senders[event.Bucket] = n.objects
	return nil
}

// serveObjects puts the doors of the object store in front of mux.
func (n *Node) serveObjects(mux *wire.Mux) {
	if n.objects == nil {
		return
	}
	mux.Register(s3.NewDoor(s3.DoorOptions{
		Store: n.objects, Rules: n.notices, Region: n.cfg.Region, Account: n.cfg.Account, Check: n.checkTarget,
	}).Service())
	door := n.objects.Front(n.cfg.Domain, mux)
	n.front.rest, n.front.labels[labelBuckets] = door, door
}

// checkTarget returns an error for a target that does not exist, or that does not
// take notices about objects.
func (n *Node) checkTarget(_ context.Context, t event.Target) error {
	if n.senders[t.Kind] == nil {
		return errs.Newf(errs.NotFound, "this node has no %s", t)
	}
	switch t.Kind {
	case event.Function:
		_, err := n.registry.Get(t.Name, t.Qualifier)
		return err
	case event.Queue:
		q, err := n.queues.Get(t.Name)
		if err == nil && q.Config.FIFO {
			return errs.Newf(errs.Invalid, "%s is a FIFO queue, whose order notifications can't keep", t)
		}
		return err
	}
	return nil
}

// encodeNotice gives a notice about an object the shape of S3's events.
func (n *Node) encodeNotice(notice bucket.Notice) (event.Message, error) {
	c := notice.Change
	o := payload.Object{
		Name: s3.EventName(c.Event), Rule: notice.Rule, Bucket: c.Bucket, Key: c.Key, Size: c.Size, ETag: c.ETag,
		Version: c.Version, Sequence: notice.Sequence, Time: c.Time, RequestID: c.RequestID, HostID: c.HostID,
		Source: c.Source, Principal: c.Principal, Region: n.cfg.Region, Account: n.cfg.Account,
	}
	// The same in each delivery, and no other's even if sequences began anew.
	id := uuid.NewSHA1(uuid.NameSpaceURL, fmt.Appendf(nil, "%s/%s#%d@%d", c.Bucket, c.Key, notice.Sequence, c.Time.UnixNano()))
	m := event.Message{ID: id.String(), Source: "aws.s3", Time: c.Time}
	var err error
	if notice.Target.Kind == event.Bus {
		m.DetailType, m.Body, err = payload.S3Detail(o)
	} else {
		m.Body, err = payload.S3(o)
	}
	return m, err
}

// codeObjects returns where code packages in buckets are read.
func (n *Node) codeObjects() lambda.Objects {
	if n.objects == nil { // not an interface that holds a nil pointer
		return nil
	}
	return n.objects
}
