package events

import (
	"archive/zip"
	"bytes"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/mayfly-dev/mayfly/test/lambdatest"
)

// TestTheExampleMakesThumbnailsOfWhatIsUploaded runs examples/thumbnails, in a
// sandbox, as its guide does: Pillow and boto3 are in its package, and its
// address and key of the store in its environment.
func TestTheExampleMakesThumbnailsOfWhatIsUploaded(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: sandboxes of other users have no network")
	}
	code := thumbnailsPackage(t)
	p := newPlace(t)
	ctx, bucket := t.Context(), aws.String("photos")
	store := s3.New(s3.Options{
		Region: p.Region, BaseEndpoint: &p.Endpoint, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(p.AccessKey, p.SecretKey, ""),
	})
	if _, err := store.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket}); err != nil {
		t.Fatal(err)
	}
	put := func(key string, body []byte) {
		t.Helper()
		if _, err := store.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: &key, Body: bytes.NewReader(body)}); err != nil {
			t.Fatal(err)
		}
	}
	put("code.zip", code)
	_, err := p.CreateFunction(ctx, &lambda.CreateFunctionInput{
		FunctionName: aws.String("thumbnails"), Role: aws.String(lambdatest.Role), Runtime: lambdatypes.RuntimePython311, Handler: aws.String("app.handler"),
		MemorySize: aws.Int32(256), Timeout: aws.Int32(60), Code: &lambdatypes.FunctionCode{S3Bucket: bucket, S3Key: aws.String("code.zip")},
	})
	if err != nil {
		t.Fatal(err)
	}
	p.Active(t, "thumbnails")
	_, err = store.PutBucketNotificationConfiguration(ctx, &s3.PutBucketNotificationConfigurationInput{
		Bucket: bucket, NotificationConfiguration: &s3types.NotificationConfiguration{
			LambdaFunctionConfigurations: []s3types.LambdaFunctionConfiguration{{
				LambdaFunctionArn: aws.String(p.functionARN("thumbnails")), Events: []s3types.Event{s3types.EventS3ObjectCreated},
				Filter: &s3types.NotificationConfigurationFilter{Key: &s3types.S3KeyFilter{
					FilterRules: []s3types.FilterRule{{Name: s3types.FilterRuleNamePrefix, Value: aws.String("in/")}},
				}},
			}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}

	put("in/my picture+ü.png", quarters(t, 640, 320))
	small := p.thumbnail(t, store, "thumbnails/my picture+ü.png")
	if small.Bounds().Dx() != 128 || small.Bounds().Dy() != 64 {
		t.Fatalf("the thumbnail is %v, want 128 x 64", small.Bounds())
	}
	for i, want := range corners {
		x, y := 32+i%2*64, 16+i/2*32 // the middle of a quarter
		if got := color.RGBAModel.Convert(small.At(x, y)); got != want {
			t.Errorf("pixel %d,%d is %v, want %v", x, y, got, want)
		}
	}
}

// thumbnailsPackage returns the example's code, with the libraries that it needs.
func thumbnailsPackage(t *testing.T) []byte {
	t.Helper()
	for _, need := range []string{"PIL/_imaging.cpython-311-*.so", "boto3"} {
		if found, err := filepath.Glob("/usr/lib/python3/dist-packages/" + need); err != nil || len(found) == 0 {
			t.Skip("Pillow or boto3 for Python 3.11 is not installed: apt-get install python3-pil python3-boto3, or run make test, which does")
		}
	}
	dir := filepath.Join(t.TempDir(), "package")
	if out, err := exec.CommandContext(t.Context(), "../../examples/thumbnails/package.sh", dir).CombinedOutput(); err != nil {
		t.Fatalf("package.sh: %v\n%s", err, out)
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	if err := z.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// corners are the colours of the quarters of the test's picture, row by row.
var corners = [4]color.RGBA{{200, 30, 10, 255}, {20, 180, 40, 255}, {15, 25, 220, 255}, {240, 230, 50, 255}}

// quarters returns a PNG of four quarters.
func quarters(t *testing.T, width, height int) []byte {
	t.Helper()
	picture := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			picture.SetRGBA(x, y, corners[y*2/height*2+x*2/width])
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, picture); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// thumbnail waits for an object and returns the picture that it is.
func (p place) thumbnail(t *testing.T, store *s3.Client, key string) image.Image {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		out, err := store.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("photos"), Key: &key})
		if err == nil {
			defer out.Body.Close()
			picture, err := png.Decode(out.Body)
			if err != nil {
				t.Fatal(err)
			}
			return picture
		}
		if time.Now().After(deadline) {
			t.Fatalf("there is no thumbnail: %v", err)
		}
	}
}
