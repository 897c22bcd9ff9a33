package conformance

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/mayfly-dev/mayfly/mayflytest"
)

// Keys, versions and uploads are parts of paths in the store: none of them leads to
// another object's file, or out of the bucket.
func objectStrayNames(t *testing.T, ctx context.Context, c *s3.Client, n *mayflytest.Node) {
	outside := filepath.Join(n.DataDir, "cy")
	if err := os.WriteFile(outside, []byte("the node's own"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("other")}); err != nil {
		t.Fatal(err)
	}
	photos := aws.String("photos")
	put(t, c, "other", "x", "of another bucket")
	put(t, c, "photos", "kept/x", "of a directory")
	put(t, c, "photos", "b", "the one that a/../b must not be")

	out, err := c.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: photos, Delete: &types.Delete{Objects: []types.ObjectIdentifier{
		{Key: aws.String("../other/x")}, {Key: aws.String("../../../cy")}, {Key: aws.String("a/../b")},
		{Key: aws.String("b"), VersionId: aws.String("../../../../../../../../cy")}, // as long as a version's id
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Errors) != 4 {
		t.Errorf("%d of 4 deletions were refused: %v", len(out.Errors), out.Deleted)
	}
	for _, e := range out.Errors {
		if aws.ToString(e.Code) != "InvalidArgument" {
			t.Errorf("%s: %s %s", aws.ToString(e.Key), aws.ToString(e.Code), aws.ToString(e.Message))
		}
	}
	if _, err := os.Stat(outside); err != nil {
		t.Error(err)
	}
	if got := get(t, c, &s3.GetObjectInput{Bucket: aws.String("other"), Key: aws.String("x")}); got != "of another bucket" {
		t.Errorf("the other bucket's object is %q", got)
	}

	stray := aws.String("../../../kept")
	_, err = c.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: photos, Key: aws.String("up"), UploadId: stray})
	if code(err) != "NoSuchUpload" {
		t.Errorf("the end of an upload that is a directory of objects: %v", err)
	}
	_, err = c.UploadPart(ctx, &s3.UploadPartInput{Bucket: photos, Key: aws.String("up"), UploadId: stray, PartNumber: aws.Int32(1)})
	if code(err) != "NoSuchUpload" {
		t.Errorf("a part of an upload that is a directory of objects: %v", err)
	}
	get(t, c, &s3.GetObjectInput{Bucket: photos, Key: aws.String("kept/x")})

	for _, key := range []string{"a/../b", "a/./b", "a//b", "/b", ".sgwtmp/b", "..", "../other/x"} {
		if _, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: photos, Key: &key}); code(err) != "InvalidArgument" {
			t.Errorf("put of %q: %v", key, err)
		}
		if _, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: photos, Key: &key}); code(err) != "NoSuchKey" {
			t.Errorf("get of %q: %v", key, err)
		}
		if _, err := c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: photos, Key: aws.String("copy"), CopySource: aws.String("photos/" + key)}); code(err) != "InvalidArgument" {
			t.Errorf("copy of %q: %v", key, err)
		}
	}
	if got := get(t, c, &s3.GetObjectInput{Bucket: photos, Key: aws.String("b")}); got != "the one that a/../b must not be" {
		t.Errorf("b is %q", got)
	}
	put(t, c, "photos", "directory/", "")
}
