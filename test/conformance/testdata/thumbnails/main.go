// Command thumbnails makes a small copy of each picture that is stored. It reaches
// the object store with the plain SDK: address and credentials are in its
// environment.
package main

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/png"
	"net/url"
	"strings"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// scale is how many pixels in a row become one.
const scale = 8

func main() {
	ctx := context.Background()
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		panic(err)
	}
	client := s3.NewFromConfig(cfg)
	lambda.Start(func(ctx context.Context, e events.S3Event) error {
		for _, r := range e.Records {
			key, err := url.QueryUnescape(r.S3.Object.Key)
			if err != nil {
				return err
			}
			if err := shrink(ctx, client, r.S3.Bucket.Name, key); err != nil {
				return err
			}
		}
		return nil
	})
}

func shrink(ctx context.Context, c *s3.Client, bucket, key string) error {
	in, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return err
	}
	defer in.Body.Close()
	picture, err := png.Decode(in.Body)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := png.Encode(&b, mean(picture)); err != nil {
		return err
	}
	to := "thumbnails/" + strings.TrimPrefix(key, "in/")
	_, err = c.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &to, Body: bytes.NewReader(b.Bytes())})
	return err
}

// mean returns the picture with each square of pixels as one of their mean colour.
func mean(p image.Image) image.Image {
	at := p.Bounds()
	out := image.NewRGBA(image.Rect(0, 0, at.Dx()/scale, at.Dy()/scale))
	for y := range out.Rect.Dy() {
		for x := range out.Rect.Dx() {
			var r, g, b uint32
			for i := range scale * scale {
				pr, pg, pb, _ := p.At(at.Min.X+x*scale+i%scale, at.Min.Y+y*scale+i/scale).RGBA()
				r, g, b = r+pr>>8, g+pg>>8, b+pb>>8
			}
			const n = scale * scale
			out.Set(x, y, color.RGBA{uint8(r / n), uint8(g / n), uint8(b / n), 255})
		}
	}
	return out
}
