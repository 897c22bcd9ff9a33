package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/spf13/cobra"
)

func (c *cli) bucketCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bucket",
		Short: "Make buckets, store and read objects",
		Long: `Make buckets, store and read objects. Clients of S3's API use the same buckets.
To have a function told of new objects: mayfly trigger add FUNCTION --bucket NAME`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.bucketCreate(), c.bucketLs(), c.bucketPut(), c.bucketGet(), c.bucketRm(), c.bucketLink())
	return cmd
}

// objects returns a client for the node's object store.
func (cl *client) objects() *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: &cl.endpoint, Region: cl.region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(cl.keyID, cl.secret, ""),
		HTTPClient:  cl.api.HTTP, Retryer: aws.NopRetryer{},
	})
}

// bucketAndKey reads BUCKET/KEY; the key is "" if there is none.
func bucketAndKey(arg string) (bucket, key string) {
	bucket, key, _ = strings.Cut(strings.TrimPrefix(arg, "s3://"), "/")
	return bucket, key
}

// objectAt reads BUCKET/KEY where a key must be.
func objectAt(arg string) (bucket, key string, err error) {
	if bucket, key = bucketAndKey(arg); bucket == "" || key == "" {
		err = usageError{fmt.Errorf("%q is not BUCKET/KEY", arg)}
	}
	return bucket, key, err
}

func (c *cli) bucketCreate() *cobra.Command {
	var versions bool
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make a bucket", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			o, name := cl.objects(), args[0]
			if _, err := o.CreateBucket(cmd.Context(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
				return err
			}
			if versions {
				_, err := o.PutBucketVersioning(cmd.Context(), &s3.PutBucketVersioningInput{
					Bucket: &name, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
				})
				if err != nil {
					return err
				}
			}
			if c.json {
				return c.printJSON(map[string]string{"created": name})
			}
			fmt.Fprintln(c.err, "created", name)
			return nil
		},
	}
	cmd.Flags().BoolVar(&versions, "versions", false, "keep what is overwritten and deleted")
	return cmd
}

// objectLine is a bucket or an object as ls shows it.
type objectLine struct {
	Name     string    `json:"name"`
	Bytes    *int64    `json:"bytes,omitempty"` // of an object
	Modified time.Time `json:"modified"`
}

func (c *cli) bucketLs() *cobra.Command {
	return &cobra.Command{
		Use: "ls [BUCKET[/PREFIX]]", Aliases: []string{"list"}, Short: "List the buckets, or a bucket's objects", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			lines, none := []objectLine{}, "No buckets yet. Make one: mayfly bucket create NAME"
			if len(args) == 0 {
				lines, err = cl.buckets(cmd.Context(), lines)
			} else {
				bucket, prefix := bucketAndKey(args[0])
				lines, err = cl.stored(cmd.Context(), bucket, prefix, lines)
				none = "No objects. Store one: mayfly bucket put FILE " + bucket + "/KEY"
			}
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(lines)
			}
			if len(lines) == 0 {
				fmt.Fprintln(c.err, none)
				return nil
			}
			var rows [][]string
			for _, l := range lines {
				size := ""
				if l.Bytes != nil {
					size = bytesText(*l.Bytes)
				}
				rows = append(rows, []string{strong.Render(l.Name), size, agoText(l.Modified)})
			}
			lipgloss.Fprintln(c.out, grid([]column{left("NAME"), right("SIZE"), left("CHANGED")}, rows, false))
			return nil
		},
	}
}

func (cl *client) buckets(ctx context.Context, lines []objectLine) ([]objectLine, error) {
	pages := s3.NewListBucketsPaginator(cl.objects(), &s3.ListBucketsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, b := range page.Buckets {
			lines = append(lines, objectLine{Name: aws.ToString(b.Name), Modified: aws.ToTime(b.CreationDate)})
		}
	}
	return lines, nil
}

func (cl *client) stored(ctx context.Context, bucket, prefix string, lines []objectLine) ([]objectLine, error) {
	pages := s3.NewListObjectsV2Paginator(cl.objects(), &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, o := range page.Contents {
			lines = append(lines, objectLine{Name: aws.ToString(o.Key), Bytes: o.Size, Modified: aws.ToTime(o.LastModified)})
		}
	}
	return lines, nil
}

func (c *cli) bucketPut() *cobra.Command {
	var kind string
	cmd := &cobra.Command{
		Use:   "put FILE BUCKET[/KEY]",
		Short: "Store a file as an object",
		Example: `  mayfly bucket put cat.jpg photos/in/cat.jpg
  mayfly bucket put cat.jpg photos/in/`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			bucket, key := bucketAndKey(args[1])
			if key == "" || strings.HasSuffix(key, "/") {
				key += filepath.Base(args[0])
			}
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			cl, err := c.client()
			if err != nil {
				return err
			}
			in := &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: f}
			if kind != "" {
				in.ContentType = &kind
			}
			out, err := cl.objects().PutObject(cmd.Context(), in)
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(map[string]string{"stored": bucket + "/" + key, "etag": aws.ToString(out.ETag), "version": aws.ToString(out.VersionId)})
			}
			fmt.Fprintln(c.err, "stored", bucket+"/"+key)
			return nil
		},
	}
	cmd.Flags().StringVar(&kind, "type", "", "media type, such as image/jpeg")
	return cmd
}

func (c *cli) bucketGet() *cobra.Command {
	return &cobra.Command{
		Use: "get BUCKET/KEY [FILE]", Short: "Read an object, onto the standard output or into a file", Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			bucket, key, err := objectAt(args[0])
			if err != nil {
				return err
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			out, err := cl.objects().GetObject(cmd.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
			if err != nil {
				return err
			}
			defer out.Body.Close()
			if len(args) == 1 {
				_, err = io.Copy(c.out, out.Body)
				return err
			}
			f, err := os.Create(args[1])
			if err != nil {
				return err
			}
			_, err = io.Copy(f, out.Body)
			return errors.Join(err, f.Close())
		},
	}
}

func (c *cli) bucketRm() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "rm BUCKET[/KEY]...",
		Short: "Delete objects, or empty buckets",
		Example: `  mayfly bucket rm photos/in/cat.jpg
  mayfly bucket rm photos --all`,
		Aliases: []string{"delete"}, Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.client()
			if err != nil {
				return err
			}
			var failed error
			removed := []string{}
			for _, arg := range args {
				if err := cl.removeObject(cmd.Context(), arg, all); err != nil {
					failed = errors.Join(failed, err)
					continue
				}
				removed = append(removed, arg)
				if !c.json {
					fmt.Fprintln(c.err, "removed", arg)
				}
			}
			if c.json {
				failed = errors.Join(failed, c.printJSON(map[string][]string{"removed": removed}))
			}
			return failed
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "with all that is in the bucket")
	return cmd
}

// removeObject deletes an object, or a bucket: with all says also one that is not
// empty.
func (cl *client) removeObject(ctx context.Context, arg string, all bool) error {
	o := cl.objects()
	bucket, key := bucketAndKey(arg)
	if key != "" {
		_, err := o.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &key})
		return err
	}
	if all {
		if err := cl.empty(ctx, bucket); err != nil {
			return err
		}
	}
	_, err := o.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &bucket})
	return err
}

// empty deletes every version of every object of a bucket.
func (cl *client) empty(ctx context.Context, bucket string) error {
	o := cl.objects()
	pages := s3.NewListObjectVersionsPaginator(o, &s3.ListObjectVersionsInput{Bucket: &bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		var ids []types.ObjectIdentifier
		for _, v := range page.Versions {
			ids = append(ids, types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
		}
		for _, m := range page.DeleteMarkers {
			ids = append(ids, types.ObjectIdentifier{Key: m.Key, VersionId: m.VersionId})
		}
		if len(ids) == 0 {
			continue
		}
		out, err := o.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &bucket, Delete: &types.Delete{Objects: ids}})
		if err != nil {
			return err
		}
		if len(out.Errors) > 0 {
			return fmt.Errorf("%d objects of %s could not be deleted, the first: %s", len(out.Errors), bucket, aws.ToString(out.Errors[0].Message))
		}
	}
	return nil
}

func (c *cli) bucketLink() *cobra.Command {
	var valid time.Duration
	var upload bool
	cmd := &cobra.Command{
		Use: "link BUCKET/KEY", Short: "Make a link to an object for those who have no key", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			bucket, key, err := objectAt(args[0])
			if err != nil {
				return err
			}
			cl, err := c.client()
			if err != nil {
				return err
			}
			p := s3.NewPresignClient(cl.objects(), s3.WithPresignExpires(valid))
			request, err := p.PresignGetObject(cmd.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
			if upload {
				request, err = p.PresignPutObject(cmd.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key})
			}
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(map[string]string{"url": request.URL, "method": request.Method})
			}
			_, err = fmt.Fprintln(c.out, request.URL)
			return err
		},
	}
	cmd.Flags().DurationVar(&valid, "valid", 15*time.Minute, "how long the link works, at most 168h")
	cmd.Flags().BoolVar(&upload, "upload", false, "a link that stores the object, by PUT")
	return cmd
}
