package conformance

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/mayfly-dev/mayfly/mayflytest"
)

// objectClient returns an S3 client of the Go SDK.
func objectClient(n *mayflytest.Node, change ...func(*s3.Options)) *s3.Client {
	o := s3.Options{
		Region: n.Region, BaseEndpoint: aws.String(n.Endpoint), UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(n.AccessKey, n.SecretKey, ""),
	}
	return s3.New(o, change...)
}

func TestGoSDKStoresObjects(t *testing.T) {
	n := mayflytest.StartWith(t, mayflytest.Options{Driver: "process"})
	c := objectClient(n)
	ctx := t.Context()
	bucket := aws.String("photos")
	if _, err := c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		run  func(*testing.T, context.Context, *s3.Client, *mayflytest.Node)
	}{
		{"put, get, head, list, delete", objectLife},
		{"streamed body with a checksum", objectStream},
		{"parts", objectParts},
		{"presigned", objectPresigned},
		{"copies, tags, metadata", objectCopies},
		{"versions", objectVersions},
		{"the bucket in the host", objectHosted},
		{"anonymous by the bucket policy", objectAnonymous},
		{"cross-origin rules", objectCORS},
		{"refusals", objectRefusals},
		{"names that lead elsewhere", objectStrayNames},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, t.Context(), c, n) })
	}
}

// put stores an object and fails the test if it can't.
func put(t *testing.T, c *s3.Client, bucket, key, body string) *s3.PutObjectOutput {
	t.Helper()
	out, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(body)})
	if err != nil {
		t.Fatalf("put %s/%s: %v", bucket, key, err)
	}
	return out
}

// get reads an object, or a version or range of it.
func get(t *testing.T, c *s3.Client, in *s3.GetObjectInput) string {
	t.Helper()
	out, err := c.GetObject(t.Context(), in)
	if err != nil {
		t.Fatalf("get %s/%s: %v", *in.Bucket, *in.Key, err)
	}
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// code returns an API error's code, or "".
func code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return ""
}

func objectLife(t *testing.T, ctx context.Context, c *s3.Client, _ *mayflytest.Node) {
	keys := []string{"a/b c+d.txt", "a/ü&=?.txt", "a/100%.txt", "a/plain"}
	for _, key := range keys {
		put(t, c, "photos", key, "hello "+key)
		if got := get(t, c, &s3.GetObjectInput{Bucket: aws.String("photos"), Key: &key}); got != "hello "+key {
			t.Errorf("%q holds %q", key, got)
		}
	}
	if got := get(t, c, &s3.GetObjectInput{Bucket: aws.String("photos"), Key: &keys[3], Range: aws.String("bytes=2-4")}); got != "llo" {
		t.Errorf("a range gave %q", got)
	}
	head, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String("photos"), Key: &keys[0]})
	if err != nil {
		t.Fatal(err)
	}
	if *head.ContentLength != int64(len("hello ")+len(keys[0])) {
		t.Errorf("length %d", *head.ContentLength)
	}
	list, err := c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String("photos"), Prefix: aws.String("a/")})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Contents) != len(keys) {
		t.Errorf("%d objects listed, want %d", len(list.Contents), len(keys))
	}
	var ids []types.ObjectIdentifier
	for _, key := range keys {
		ids = append(ids, types.ObjectIdentifier{Key: &key})
	}
	gone, err := c.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: aws.String("photos"), Delete: &types.Delete{Objects: ids}})
	if err != nil || len(gone.Deleted) != len(keys) || len(gone.Errors) != 0 {
		t.Errorf("delete: %+v %v", gone, err)
	}
	if _, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("photos"), Key: &keys[0]}); code(err) != "NoSuchKey" {
		t.Errorf("get of a deleted object: %v, want NoSuchKey", err)
	}
}

func objectStream(t *testing.T, ctx context.Context, c *s3.Client, n *mayflytest.Node) {
	body := make([]byte, 3<<20)
	rand.Read(body)
	_, err := c.PutObject(ctx, &s3.PutObjectInput{
		Bucket: aws.String("photos"), Key: aws.String("stream"), Body: bytes.NewReader(body), ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("photos"), Key: aws.String("stream"), ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	got, err := io.ReadAll(out.Body) // the SDK checks the checksum at the end
	if err != nil || !bytes.Equal(got, body) {
		t.Errorf("read %d bytes back, want the %d that were sent: %v", len(got), len(body), err)
	}
	if out.ChecksumSHA256 == nil {
		t.Error("no checksum was returned")
	}
	_, err = c.PutObject(ctx, &s3.PutObjectInput{
		Bucket: aws.String("photos"), Key: aws.String("wrong"), Body: strings.NewReader("x"),
		ChecksumSHA256: aws.String("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
	})
	if code(err) != "BadDigest" {
		t.Errorf("a wrong checksum: %v, want BadDigest", err)
	}
}

func objectParts(t *testing.T, ctx context.Context, c *s3.Client, _ *mayflytest.Node) {
	key := aws.String("parts.bin")
	up, err := c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: aws.String("photos"), Key: key})
	if err != nil {
		t.Fatal(err)
	}
	parts := [][]byte{bytes.Repeat([]byte("a"), 5<<20), []byte("the end")}
	var done []types.CompletedPart
	for i, p := range parts {
		number := aws.Int32(int32(i + 1))
		out, err := c.UploadPart(ctx, &s3.UploadPartInput{Bucket: aws.String("photos"), Key: key, UploadId: up.UploadId, PartNumber: number, Body: bytes.NewReader(p)})
		if err != nil {
			t.Fatal(err)
		}
		done = append(done, types.CompletedPart{ETag: out.ETag, PartNumber: number, ChecksumCRC32: out.ChecksumCRC32})
	}
	if _, err := c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: aws.String("photos"), Key: key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: done},
	}); err != nil {
		t.Fatal(err)
	}
	got := get(t, c, &s3.GetObjectInput{Bucket: aws.String("photos"), Key: key})
	if want := string(bytes.Join(parts, nil)); got != want {
		t.Errorf("the whole has %d bytes, want %d", len(got), len(want))
	}
}

func objectPresigned(t *testing.T, ctx context.Context, c *s3.Client, _ *mayflytest.Node) {
	p := s3.NewPresignClient(c)
	in := &s3.PutObjectInput{Bucket: aws.String("photos"), Key: aws.String("presigned file")}
	to, err := p.PresignPutObject(ctx, in, s3.WithPresignExpires(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	do := func(method, url, body string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	if status, body := do(http.MethodPut, to.URL, "by a link"); status != http.StatusOK {
		t.Fatalf("put by a link: %d %s", status, body)
	}
	from, err := p.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: in.Bucket, Key: in.Key}, s3.WithPresignExpires(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if status, body := do(http.MethodGet, from.URL, ""); status != http.StatusOK || body != "by a link" {
		t.Errorf("get by a link: %d %s", status, body)
	}
	if status, body := do(http.MethodGet, strings.Replace(from.URL, "presigned", "other", 1), ""); status != http.StatusForbidden || !strings.Contains(body, "SignatureDoesNotMatch") {
		t.Errorf("get of another object by the link: %d %s, want it refused", status, body)
	}
}

func objectCopies(t *testing.T, ctx context.Context, c *s3.Client, _ *mayflytest.Node) {
	key := aws.String("tagged")
	_, err := c.PutObject(ctx, &s3.PutObjectInput{
		Bucket: aws.String("photos"), Key: key, Body: strings.NewReader("x"), Tagging: aws.String("team=blue"),
		Metadata: map[string]string{"owner": "me"}, ContentType: aws.String("text/plain"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: aws.String("photos"), Key: aws.String("copy"), CopySource: aws.String("photos/tagged")}); err != nil {
		t.Fatal(err)
	}
	head, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String("photos"), Key: aws.String("copy")})
	if err != nil {
		t.Fatal(err)
	}
	if head.Metadata["owner"] != "me" || aws.ToString(head.ContentType) != "text/plain" {
		t.Errorf("the copy has %v, %v", head.Metadata, aws.ToString(head.ContentType))
	}
	tags, err := c.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: aws.String("photos"), Key: aws.String("copy")})
	if err != nil || len(tags.TagSet) != 1 || *tags.TagSet[0].Value != "blue" {
		t.Errorf("tags of the copy: %+v %v", tags, err)
	}
}

func objectVersions(t *testing.T, ctx context.Context, c *s3.Client, _ *mayflytest.Node) {
	if _, err := c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("versions")}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
		Bucket: aws.String("versions"), VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	}); err != nil {
		t.Fatal(err)
	}
	first, key := put(t, c, "versions", "k", "one"), "k"
	put(t, c, "versions", key, "two")
	if got := get(t, c, &s3.GetObjectInput{Bucket: aws.String("versions"), Key: &key, VersionId: first.VersionId}); got != "one" {
		t.Errorf("the first version holds %q", got)
	}
	marker, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String("versions"), Key: &key})
	if err != nil || !aws.ToBool(marker.DeleteMarker) {
		t.Fatalf("delete: %+v %v", marker, err)
	}
	if _, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String("versions"), Key: &key, VersionId: marker.VersionId}); err != nil {
		t.Fatal(err)
	}
	if got := get(t, c, &s3.GetObjectInput{Bucket: aws.String("versions"), Key: &key}); got != "two" {
		t.Errorf("without its delete marker the object holds %q", got)
	}
}

func objectHosted(t *testing.T, ctx context.Context, _ *s3.Client, n *mayflytest.Node) {
	_, port, _ := strings.Cut(strings.TrimPrefix(n.Endpoint, "http://"), ":")
	for _, base := range []string{"http://s3.localhost:" + port, "http://localhost:" + port} {
		// BUCKET.s3.localhost and BUCKET.localhost are this machine.
		c := objectClient(n, func(o *s3.Options) {
			o.BaseEndpoint, o.UsePathStyle = &base, false
			o.HTTPClient = &http.Client{Transport: &http.Transport{DialContext: loopback(port)}}
		})
		put(t, c, "photos", "by host/a b", "hosted")
		if got := get(t, c, &s3.GetObjectInput{Bucket: aws.String("photos"), Key: aws.String("by host/a b")}); got != "hosted" {
			t.Errorf("%s: got %q", base, got)
		}
		list, err := c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String("photos"), Prefix: aws.String("by host/")})
		if err != nil || len(list.Contents) != 1 {
			t.Errorf("%s: list: %+v %v", base, list, err)
		}
		if _, err := c.GetBucketNotificationConfiguration(ctx, &s3.GetBucketNotificationConfigurationInput{Bucket: aws.String("photos")}); err != nil {
			t.Errorf("%s: notifications: %v", base, err)
		}
	}
}

func objectAnonymous(t *testing.T, ctx context.Context, c *s3.Client, n *mayflytest.Node) {
	put(t, c, "photos", "public/x", "for all")
	put(t, c, "photos", "private/x", "for me")
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::photos/public/*"}]}`
	if _, err := c.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: aws.String("photos"), Policy: &policy}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{"/photos/public/x": 200, "/photos/private/x": 403, "/nobucket/x": 403} {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, n.Endpoint+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("GET %s without a signature: %d, want %d", path, resp.StatusCode, want)
		}
	}
}

func objectCORS(t *testing.T, ctx context.Context, c *s3.Client, n *mayflytest.Node) {
	_, err := c.PutBucketCors(ctx, &s3.PutBucketCorsInput{Bucket: aws.String("photos"), CORSConfiguration: &types.CORSConfiguration{
		CORSRules: []types.CORSRule{{AllowedMethods: []string{"GET"}, AllowedOrigins: []string{"https://example.com"}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodOptions, n.Endpoint+"/photos/public/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Origin", "https://example.com")
	r.Header.Set("Access-Control-Request-Method", "GET")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := resp.Header.Get("Access-Control-Allow-Origin"); got != "https://example.com" {
		t.Errorf("a preflight is answered with origin %q, status %d", got, resp.StatusCode)
	}
}

func objectRefusals(t *testing.T, ctx context.Context, c *s3.Client, n *mayflytest.Node) {
	_, err := c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String("no-such-bucket")})
	if code(err) != "NoSuchBucket" {
		t.Errorf("list of no bucket: %v", err)
	}
	put(t, c, "photos", "keep", "x")
	_, err = c.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("no-such-bucket"), Key: aws.String("k"), Body: bytes.NewReader(make([]byte, 8<<20))})
	if code(err) != "NoSuchBucket" {
		t.Errorf("a large object for no bucket: %v", err)
	}
	if _, err := c.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: aws.String("photos")}); code(err) != "BucketNotEmpty" {
		t.Errorf("delete of a full bucket: %v", err)
	}
	for want, change := range map[string]func(*s3.Options){
		"SignatureDoesNotMatch": func(o *s3.Options) {
			o.Credentials = credentials.NewStaticCredentialsProvider(n.AccessKey, strings.Repeat("x", 40), "")
		},
		"InvalidAccessKeyId": func(o *s3.Options) {
			o.Credentials = credentials.NewStaticCredentialsProvider("AKIAAAAAAAAAAAAAAAAA", n.SecretKey, "")
		},
		"InvalidToken": func(o *s3.Options) {
			o.Credentials = credentials.NewStaticCredentialsProvider(n.AccessKey, n.SecretKey, "token")
		},
	} {
		_, err := objectClient(n, change).ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String("photos")})
		if code(err) != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// loopback returns a dialer to a port of this machine, whatever the address.
func loopback(port string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", "127.0.0.1:"+port)
	}
}
