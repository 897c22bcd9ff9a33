package s3

import (
	"context"
	"hash/maphash"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/valyala/fasthttp"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/bucket"
)

// recorder is the gateway's backend: objects in files, where each change of an
// object is on disk and has been recorded before it is answered.
type recorder struct {
	backend.Backend
	files   *posix.Posix // what Backend is
	store   *Store
	changes Changes
	log     *slog.Logger

	// order keeps the changes of one key apart from their publication to their
	// record, so that they are recorded in the order in which they were made.
	order [256]sync.Mutex
	seed  maphash.Seed
}

// turn returns the lock of a key's changes.
func (b *recorder) turn(name, key string) *sync.Mutex {
	h := maphash.String(b.seed, name+"/"+key)
	return &b.order[h%uint64(len(b.order))]
}

// PutObject implements backend.Backend.
func (b *recorder) PutObject(ctx context.Context, in s3response.PutObjectInput) (s3response.PutObjectOutput, error) {
	name, key := wire.Value(in.Bucket), wire.Value(in.Key)
	if err := checkObject(key, ""); err != nil { // a form has its key in its body
		return s3response.PutObjectOutput{}, err
	}
	turn := b.turn(name, key)
	held := false
	take := func() { turn.Lock(); held = true }
	defer func() {
		if held {
			turn.Unlock()
		}
	}()
	if strings.HasSuffix(key, "/") { // stored without a file to be staged
		take()
	}
	out, err := b.files.PutObjectWithPostFunc(ctx, in, func(staged *os.File) error {
		if err := writeOut(staged); err != nil { // before others have to wait
			return err
		}
		take()
		return nil
	})
	if err != nil {
		return out, err
	}
	e := bucket.Put
	if request(ctx).method == fasthttp.MethodPost {
		e = bucket.Post
	}
	return out, b.keep(ctx, bucket.Change{Event: e, Bucket: name, Key: key, Size: wire.Value(out.Size), ETag: out.ETag, Version: out.VersionID})
}

// CopyObject implements backend.Backend.
func (b *recorder) CopyObject(ctx context.Context, in s3response.CopyObjectInput) (s3response.CopyObjectOutput, error) {
	name, key := wire.Value(in.Bucket), wire.Value(in.Key)
	turn := b.turn(name, key)
	turn.Lock()
	defer turn.Unlock()
	out, err := b.Backend.CopyObject(ctx, in)
	if err != nil {
		return out, err
	}
	c := bucket.Change{Event: bucket.Copy, Bucket: name, Key: key, Size: b.store.size(name, key), Version: wire.Value(out.VersionId)}
	if out.CopyObjectResult != nil {
		c.ETag = wire.Value(out.CopyObjectResult.ETag)
	}
	return out, b.keep(ctx, c)
}

// UploadPart implements backend.Backend.
func (b *recorder) UploadPart(ctx context.Context, in *sdk.UploadPartInput) (*sdk.UploadPartOutput, error) {
	return b.files.UploadPartWithPostFunc(ctx, in, func(part *os.File) error { return part.Sync() })
}

// CompleteMultipartUpload implements backend.Backend.
func (b *recorder) CompleteMultipartUpload(ctx context.Context, in *sdk.CompleteMultipartUploadInput) (s3response.CompleteMultipartUploadResult, string, error) {
	name, key := wire.Value(in.Bucket), wire.Value(in.Key)
	turn := b.turn(name, key)
	turn.Lock()
	defer turn.Unlock()
	out, version, err := b.Backend.CompleteMultipartUpload(ctx, in)
	if err != nil {
		return out, version, err
	}
	return out, version, b.keep(ctx, bucket.Change{
		Event: bucket.Completed, Bucket: name, Key: key, Size: b.store.size(name, key), ETag: wire.Value(out.ETag), Version: version,
	})
}

// DeleteObject implements backend.Backend.
func (b *recorder) DeleteObject(ctx context.Context, in *sdk.DeleteObjectInput) (*sdk.DeleteObjectOutput, error) {
	name, key := wire.Value(in.Bucket), wire.Value(in.Key)
	if err := checkObject(key, wire.Value(in.VersionId)); err != nil { // they may come from the body of DeleteObjects
		return nil, err
	}
	turn := b.turn(name, key)
	turn.Lock()
	defer turn.Unlock()
	there := wire.Value(in.VersionId) != "" || b.store.present(name, key)
	out, err := b.Backend.DeleteObject(ctx, in)
	if err != nil || !there {
		return out, err
	}
	c := bucket.Change{Event: bucket.Deleted, Bucket: name, Key: key, Version: wire.Value(in.VersionId)}
	if wire.Value(in.VersionId) == "" && wire.Value(out.DeleteMarker) {
		c.Event, c.Version = bucket.Marked, wire.Value(out.VersionId)
	}
	return out, b.keep(ctx, c)
}

// DeleteObjects implements backend.Backend, each object by DeleteObject.
func (b *recorder) DeleteObjects(ctx context.Context, in *sdk.DeleteObjectsInput) (s3response.DeleteResult, error) {
	var res s3response.DeleteResult
	for _, o := range in.Delete.Objects {
		out, err := b.DeleteObject(ctx, &sdk.DeleteObjectInput{
			Bucket: in.Bucket, Key: o.Key, VersionId: o.VersionId,
			IfMatch: o.ETag, IfMatchLastModifiedTime: o.LastModifiedTime, IfMatchSize: o.Size,
		})
		if err != nil {
			res.Error = append(res.Error, s3err.ObjectDeleteError(o.Key, o.VersionId, err))
			continue
		}
		d := types.DeletedObject{Key: o.Key, DeleteMarker: out.DeleteMarker, VersionId: o.VersionId}
		if wire.Value(out.DeleteMarker) {
			d.DeleteMarkerVersionId = out.VersionId
		}
		res.Deleted = append(res.Deleted, d)
	}
	return res, nil
}

// CreateBucket implements backend.Backend. What was configured for an earlier bucket
// of the name is gone: a node that died at its deletion may have left it.
func (b *recorder) CreateBucket(ctx context.Context, in *sdk.CreateBucketInput, acl []byte) error {
	if b.changes.Wants(wire.Value(in.Bucket)) && !b.store.Exists(wire.Value(in.Bucket)) {
		if err := b.changes.Forget(ctx, wire.Value(in.Bucket)); err != nil {
			return b.fail(err)
		}
	}
	return b.Backend.CreateBucket(ctx, in, acl)
}

// DeleteBucket implements backend.Backend.
func (b *recorder) DeleteBucket(ctx context.Context, name string) error {
	if err := b.Backend.DeleteBucket(ctx, name); err != nil {
		return err
	}
	// Not before: a bucket that is not empty stays as it is.
	if err := b.changes.Forget(ctx, name); err != nil {
		return b.fail(err)
	}
	return nil
}

// keep has a change on disk and recorded when it returns nil. Both are done at the
// same time: the change can be seen already, and is answered after both.
func (b *recorder) keep(ctx context.Context, c bucket.Change) error {
	var err, serr error
	b.store.cwd.outside(func() {
		synced := make(chan error, 1)
		go func() { synced <- b.store.syncObject(c.Bucket, c.Key) }()
		err = b.record(ctx, c)
		serr = <-synced
	})
	if serr != nil {
		return b.fail(serr)
	}
	if r, ok := ctx.(*fasthttp.RequestCtx); ok && err == nil {
		r.SetUserValue(onDisk, true)
	}
	return err
}

// onDisk is the name of a request's value that says that what it changed is on disk.
const onDisk = "mayfly-on-disk"

// record completes a change by what its request tells, and has it recorded.
func (b *recorder) record(ctx context.Context, c bucket.Change) error {
	if !b.changes.Wants(c.Bucket) {
		return nil
	}
	r := request(ctx)
	c.Time = time.Now().UTC()
	c.ETag = strings.Trim(c.ETag, `"`)
	c.RequestID, c.HostID, c.Source, c.Principal = r.id, r.host, r.source, r.key
	// The change has been made: a client that is gone must not lose its event.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordLimit)
	defer cancel()
	if err := b.changes.Record(ctx, c); err != nil {
		return b.fail(err)
	}
	return nil
}

const recordLimit = 10 * time.Second

// fail answers a change that was made, but may not last or may not be told of: the
// client is to repeat it.
func (b *recorder) fail(err error) error {
	b.log.Error("a change of an object could not be kept", "err", err)
	return s3err.APIError{
		Code: "ServiceUnavailable", Description: "The change could not be made durable. Please try again.", HTTPStatusCode: 503,
	}
}

// origin is what a change's request tells.
type origin struct{ method, id, host, source, key string }

func request(ctx context.Context) origin {
	r, ok := ctx.(*fasthttp.RequestCtx)
	if !ok { // the node's own
		return origin{}
	}
	text := func(key string) string { s, _ := r.UserValue(key).(string); return s }
	return origin{
		method: string(r.Method()), id: text("request-id"), host: text("host-id"),
		source: string(r.Request.Header.Peek(headerSource)), key: string(r.Request.Header.Peek(headerKey)),
	}
}
