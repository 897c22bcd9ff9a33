package s3

import (
	"bytes"
	"context"
	"errors"
	"io"

	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
)

// ReadObject returns an object, or the version of it that is named, of at most
// limit bytes. Errors: NotFound and Invalid, whose reasons are S3's codes,
// TooLarge, Unavailable.
func (s *Store) ReadObject(ctx context.Context, bucket, key, version string, limit int64) (b []byte, err error) {
	if !s.Exists(bucket) { // also if it is no bucket's name, but a path
		return nil, errs.Newf(errs.NotFound, "The specified bucket does not exist").WithReason("NoSuchBucket")
	}
	if !validKey(key) {
		return nil, errs.Newf(errs.NotFound, "The specified key does not exist.").WithReason("NoSuchKey")
	}
	in := &sdk.GetObjectInput{Bucket: &bucket, Key: &key}
	if version != "" {
		in.VersionId = &version
	}
	refused := s.cwd.do(func() {
		var out *sdk.GetObjectOutput
		if out, err = s.backend.GetObject(s.background(ctx), in); err != nil {
			err = kindOf(err)
			return
		}
		defer out.Body.Close()
		if wire.Value(out.ContentLength) > limit {
			err = errs.Newf(errs.TooLarge, "The object has %d bytes, more than the %d allowed", *out.ContentLength, limit).WithReason("EntityTooLarge")
			return
		}
		b, err = io.ReadAll(out.Body)
	})
	return b, errors.Join(refused, err)
}

// Send implements event.Sender for buckets: it stores the message's body under the
// key in its attribute KeyAttribute, or under its id.
func (s *Store) Send(ctx context.Context, t event.Target, m event.Message) (err error) {
	if !s.Exists(t.Name) {
		return errs.Newf(errs.NotFound, "the bucket %s does not exist", t.Name)
	}
	key := m.Attributes[KeyAttribute]
	if key == "" {
		key = m.ID
	}
	if !validKey(key) {
		return errs.Newf(errs.Invalid, "%q can't be an object's key", key)
	}
	size, kind := int64(len(m.Body)), "application/json"
	refused := s.cwd.do(func() {
		_, err = s.backend.PutObject(s.background(ctx), s3response.PutObjectInput{
			Bucket: &t.Name, Key: &key, Body: bytes.NewReader(m.Body), ContentLength: &size, ContentType: &kind,
		})
	})
	if refused != nil {
		return refused
	}
	return kindOf(err)
}

// KeyAttribute is the attribute of a message for a bucket that holds the key of
// its object.
const KeyAttribute = "key"

// kindOf gives an error of the gateway its kind.
func kindOf(err error) error {
	var told s3err.S3Error
	if err == nil || !errors.As(err, &told) {
		return err
	}
	base := told.BaseError()
	kind := errs.Invalid
	switch {
	case base.HTTPStatusCode == 404:
		kind = errs.NotFound
	case base.HTTPStatusCode >= 500:
		kind = errs.Unavailable
	}
	return errs.Newf(kind, "%s", base.Description).WithReason(base.Code)
}

var _ event.Sender = (*Store)(nil)
