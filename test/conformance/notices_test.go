package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/mayfly-dev/mayfly/mayflytest"
	"github.com/mayfly-dev/mayfly/test/lambdatest"
)

// keeper is a function that writes its events into a file, one a line.
const keeper = `
import json, os

def handler(event, context):
    with open(os.environ["OUT"], "a") as f:
        f.write(json.dumps(event) + "\n")
`

// seen returns the records that the keeper has kept.
func seen(t *testing.T, path string) (records []events.S3EventRecord, lines []string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var e events.S3Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		records, lines = append(records, e.Records...), append(lines, line)
	}
	return records, lines
}

// await polls until done or too long.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

func arnOf(n *mayflytest.Node, function string) *string {
	return aws.String("arn:aws:lambda:" + n.Region + ":" + n.Account + ":function:" + function)
}

// notify configures that a function is told of events.
func notify(ctx context.Context, c *s3.Client, n *mayflytest.Node, bucket, function, prefix, suffix string, kinds ...types.Event) error {
	rules := []types.FilterRule{{Name: types.FilterRuleNamePrefix, Value: &prefix}, {Name: types.FilterRuleNameSuffix, Value: &suffix}}
	_, err := c.PutBucketNotificationConfiguration(ctx, &s3.PutBucketNotificationConfigurationInput{
		Bucket: &bucket, NotificationConfiguration: &types.NotificationConfiguration{
			LambdaFunctionConfigurations: []types.LambdaFunctionConfiguration{{
				Id: aws.String("pictures"), Events: kinds, LambdaFunctionArn: arnOf(n, function),
				Filter: &types.NotificationConfigurationFilter{Key: &types.S3KeyFilter{FilterRules: rules}},
			}},
		},
	})
	return err
}

func TestFunctionsAreToldOfObjects(t *testing.T) {
	n := mayflytest.StartWith(t, mayflytest.Options{Driver: "process"})
	c, l, ctx := objectClient(n), lambdatest.New(n), t.Context()
	out := filepath.Join(t.TempDir(), "events")
	l.Deploy(t, lambdatest.Python{Name: "keeper", Source: keeper, Env: map[string]string{"OUT": out}})
	bucket := aws.String("photos")
	if _, err := c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket}); err != nil {
		t.Fatal(err)
	}
	if err := notify(ctx, c, n, *bucket, "nobody", "", "", types.EventS3ObjectCreated); code(err) != "InvalidArgument" {
		t.Errorf("a function that does not exist: %v, want InvalidArgument", err)
	}
	if err := notify(ctx, c, n, *bucket, "keeper", "in/", ".jpg", types.EventS3ObjectCreated, types.EventS3ObjectRemoved); err != nil {
		t.Fatal(err)
	}
	got, err := c.GetBucketNotificationConfiguration(ctx, &s3.GetBucketNotificationConfigurationInput{Bucket: bucket})
	if err != nil || len(got.LambdaFunctionConfigurations) != 1 || *got.LambdaFunctionConfigurations[0].LambdaFunctionArn != *arnOf(n, "keeper") {
		t.Fatalf("the configuration reads back as %+v, %v", got, err)
	}
	_, err = c.PutBucketNotificationConfiguration(ctx, &s3.PutBucketNotificationConfigurationInput{
		Bucket: bucket, NotificationConfiguration: &types.NotificationConfiguration{
			LambdaFunctionConfigurations: []types.LambdaFunctionConfiguration{
				{Events: []types.Event{types.EventS3ObjectCreated}, LambdaFunctionArn: arnOf(n, "keeper")},
				{Events: []types.Event{types.EventS3ObjectCreatedPut}, LambdaFunctionArn: arnOf(n, "keeper")},
			},
		},
	})
	if code(err) != "InvalidArgument" {
		t.Errorf("overlapping rules: %v, want InvalidArgument", err)
	}

	key := "in/a b+ü.jpg"
	first := put(t, c, *bucket, key, "one")
	put(t, c, *bucket, key, "three")
	put(t, c, *bucket, "in/note.txt", "not a picture")
	put(t, c, *bucket, "out/x.jpg", "not in the folder")
	if _, err := c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: bucket, Key: aws.String("in/copy.jpg"), CopySource: aws.String("photos/out/x.jpg")}); err != nil {
		t.Fatal(err)
	}
	up, err := c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: aws.String("in/parts.jpg")})
	if err != nil {
		t.Fatal(err)
	}
	part, err := c.UploadPart(ctx, &s3.UploadPartInput{Bucket: bucket, Key: up.Key, UploadId: up.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("part")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: bucket, Key: up.Key, UploadId: up.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{ETag: part.ETag, PartNumber: aws.Int32(1), ChecksumCRC32: part.ChecksumCRC32}}},
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: &key}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: aws.String("in/never.jpg")}); err != nil {
		t.Fatal(err)
	}

	var records []events.S3EventRecord
	var lines []string
	await(t, "five events", func() bool { records, lines = seen(t, out); return len(records) >= 5 })
	byName := map[string][]events.S3EventRecord{}
	for _, r := range records {
		byName[r.EventName] = append(byName[r.EventName], r)
	}
	want := map[string]int{"ObjectCreated:Put": 2, "ObjectCreated:Copy": 1, "ObjectCreated:CompleteMultipartUpload": 1, "ObjectRemoved:Delete": 1}
	for name, count := range want {
		if len(byName[name]) != count {
			t.Errorf("%d events %s, want %d: %s", len(byName[name]), name, count, lines)
		}
	}
	if t.Failed() {
		return
	}
	puts, gone := byName["ObjectCreated:Put"], byName["ObjectRemoved:Delete"][0]
	if puts[0].S3.Object.Sequencer > puts[1].S3.Object.Sequencer {
		puts[0], puts[1] = puts[1], puts[0]
	}
	one := puts[0]
	if one.EventVersion != "2.1" || one.EventSource != "aws:s3" || one.AWSRegion != n.Region || one.S3.SchemaVersion != "1.0" ||
		one.S3.ConfigurationID != "pictures" || one.S3.Bucket.Name != *bucket || one.S3.Bucket.Arn != "arn:aws:s3:::photos" {
		t.Errorf("the record is %+v", one)
	}
	if one.S3.Object.Key != "in/a+b%2B%C3%BC.jpg" || one.S3.Object.Size != 3 || `"`+one.S3.Object.ETag+`"` != *first.ETag {
		t.Errorf("its object is %+v", one.S3.Object)
	}
	if s := []string{puts[0].S3.Object.Sequencer, puts[1].S3.Object.Sequencer, gone.S3.Object.Sequencer}; s[0] >= s[1] || s[1] >= s[2] {
		t.Errorf("the sequencers of one key don't grow: %v", s)
	}
}

func TestCodeComesFromABucket(t *testing.T) {
	n := mayflytest.StartWith(t, mayflytest.Options{Driver: "process"})
	c, l, ctx := objectClient(n), lambdatest.New(n), t.Context()
	if _, err := c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("code")}); err != nil {
		t.Fatal(err)
	}
	put(t, c, "code", "f.zip", string(lambdatest.Zip(t, "app.py", "def handler(e, c): return 1")))
	put(t, c, "code", "g.zip", string(lambdatest.Zip(t, "app.py", "def handler(e, c): return 2")))
	create := func(key string) error {
		_, err := l.CreateFunction(ctx, &awslambda.CreateFunctionInput{
			FunctionName: aws.String("f"), Role: aws.String(lambdatest.Role), Runtime: lambdatypes.RuntimePython311, Handler: aws.String("app.handler"),
			Code: &lambdatypes.FunctionCode{S3Bucket: aws.String("code"), S3Key: &key},
		})
		return err
	}
	if err := create("missing.zip"); code(err) != "InvalidParameterValueException" || !strings.Contains(err.Error(), "NoSuchKey") {
		t.Errorf("a key that does not exist: %v", err)
	}
	if err := create("f.zip"); err != nil {
		t.Fatal(err)
	}
	l.Active(t, "f")
	var answer int
	if l.MustCall(t, "f", nil, &answer); answer != 1 {
		t.Errorf("the function answers %d", answer)
	}
	if _, err := l.UpdateFunctionCode(ctx, &awslambda.UpdateFunctionCodeInput{FunctionName: aws.String("f"), S3Bucket: aws.String("code"), S3Key: aws.String("g.zip")}); err != nil {
		t.Fatal(err)
	}
	l.Updated(t, "f")
	if l.MustCall(t, "f", nil, &answer); answer != 2 {
		t.Errorf("after the update the function answers %d", answer)
	}
}

// TestThumbnailsOnUpload is the worked example: a function in a sandbox, which
// reaches the store with the plain SDK and makes thumbnails of what is stored.
func TestThumbnailsOnUpload(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: sandboxes of other users have no network")
	}
	n := mayflytest.Start(t)
	c, l, ctx := objectClient(n), lambdatest.New(n), t.Context()
	program := filepath.Join(t.TempDir(), "bootstrap")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./testdata/thumbnails")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the function: %v\n%s", err, b)
	}
	binary, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("photos")}); err != nil {
		t.Fatal(err)
	}
	put(t, c, "photos", "code.zip", string(lambdatest.Zip(t, "bootstrap", string(binary))))
	_, err = l.CreateFunction(ctx, &awslambda.CreateFunctionInput{
		FunctionName: aws.String("thumbnails"), Role: aws.String(lambdatest.Role), Runtime: lambdatypes.RuntimeProvidedal2023, Handler: aws.String("bootstrap"),
		Timeout: aws.Int32(30), Code: &lambdatypes.FunctionCode{S3Bucket: aws.String("photos"), S3Key: aws.String("code.zip")},
	})
	if err != nil {
		t.Fatal(err)
	}
	l.Active(t, "thumbnails")
	if err := notify(ctx, c, n, "photos", "thumbnails", "in/", ".png", types.EventS3ObjectCreated); err != nil {
		t.Fatal(err)
	}

	picture := image.NewRGBA(image.Rect(0, 0, 64, 32))
	for y := range 32 {
		for x := range 64 {
			picture.Set(x, y, color.RGBA{uint8(x / 8 * 30), uint8(y / 8 * 60), uint8(x % 2 * 255), 255})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, picture); err != nil {
		t.Fatal(err)
	}
	put(t, c, "photos", "in/my picture.png", b.String())
	key := aws.String("thumbnails/my picture.png")
	await(t, "a thumbnail", func() bool {
		_, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String("photos"), Key: key})
		return err == nil
	})
	small, err := png.Decode(strings.NewReader(get(t, c, &s3.GetObjectInput{Bucket: aws.String("photos"), Key: key})))
	if err != nil {
		t.Fatal(err)
	}
	if small.Bounds().Dx() != 8 || small.Bounds().Dy() != 4 {
		t.Fatalf("the thumbnail is %v", small.Bounds())
	}
	for y := range 4 {
		for x := range 8 {
			r, g, b, _ := small.At(x, y).RGBA()
			if r>>8 != uint32(x*30) || g>>8 != uint32(y*60) || b>>8 != 127 {
				t.Errorf("pixel %d,%d is %d %d %d", x, y, r>>8, g>>8, b>>8)
			}
		}
	}
}

// prober tries what its key is good for, and returns the error codes.
const prober = `
import os, urllib.request, urllib.error, hashlib, hmac, datetime, json

def sign(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()

def call(method, service, path, query="", body=b""):
    host = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://")
    now = datetime.datetime.now(datetime.timezone.utc)
    stamp, day, region = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d"), os.environ["AWS_REGION"]
    digest = hashlib.sha256(body).hexdigest()
    headers = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": stamp, "x-amz-security-token": os.environ["AWS_SESSION_TOKEN"]}
    names = ";".join(sorted(headers))
    canonical = "\n".join([method, path, query] + [k + ":" + headers[k] for k in sorted(headers)] + ["", names, digest])
    scope = "/".join([day, region, service, "aws4_request"])
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"]).encode()
    for part in [day, region, service, "aws4_request"]:
        key = sign(key, part)
    headers["Authorization"] = "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s" % (
        os.environ["AWS_ACCESS_KEY_ID"], scope, names, hmac.new(key, text.encode(), hashlib.sha256).hexdigest())
    url = "http://" + host + path + ("?" + query if query else "")
    request = urllib.request.Request(url, data=body or None, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as r:
            return r.status
    except urllib.error.HTTPError as e:
        return e.code

def handler(event, context):
    return {
        "put an object": call("PUT", "s3", "/own/x", body=b"mine"),
        "get it": call("GET", "s3", "/own/x"),
        "list the bucket": call("GET", "s3", "/own", "list-type=2"),
        "make a bucket": call("PUT", "s3", "/other"),
        "delete the bucket": call("DELETE", "s3", "/own"),
        "read its policy": call("GET", "s3", "/own", "policy="),
        "set notifications": call("PUT", "s3", "/own", "notification=", b"<NotificationConfiguration/>"),
        "invoke": call("POST", "lambda", "/2015-03-31/functions/" + context.function_name + "/invocations", body=b"{}") if event.get("again") else 200,
        "list functions": call("GET", "lambda", "/2015-03-31/functions/"),
        "delete itself": call("DELETE", "lambda", "/2015-03-31/functions/" + context.function_name),
        "the node's own door": call("GET", "mayfly", "/v1/node"),
    }
`

func TestKeysOfFunctionsAreForUseAndNotForChange(t *testing.T) {
	n := mayflytest.StartWith(t, mayflytest.Options{Driver: "process"})
	c, l := objectClient(n), lambdatest.New(n)
	if _, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("own")}); err != nil {
		t.Fatal(err)
	}
	l.Deploy(t, lambdatest.Python{Name: "prober", Source: prober})
	var got map[string]int
	l.MustCall(t, "prober", map[string]bool{"again": true}, &got)
	for what, want := range map[string]int{
		"put an object": 200, "get it": 200, "list the bucket": 200, "invoke": 200,
		"make a bucket": 403, "delete the bucket": 403, "read its policy": 403, "set notifications": 403,
		"list functions": 403, "delete itself": 403, "the node's own door": 403,
	} {
		if got[what] != want {
			t.Errorf("%s: %d, want %d", what, got[what], want)
		}
	}
}
