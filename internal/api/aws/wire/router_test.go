package wire

import (
	"net/http"
	"net/url"
	"testing"
)

func TestRouteIsTheMostParticularOneThatFits(t *testing.T) {
	op := func(name, method, path string, required ...Member) *Operation {
		for i := range required {
			required[i].Required = true
		}
		return &Operation{Name: name, Method: method, Path: path, Handler: Handler{Input: &Shape{Members: required}}}
	}
	r := newRouter([]*Operation{
		op("PutObject", "PUT", "/{Bucket}/{Key+}"),
		op("CopyObject", "PUT", "/{Bucket}/{Key+}", Member{Name: "CopySource", Wire: "x-amz-copy-source", Loc: InHeader}),
		op("UploadPart", "PUT", "/{Bucket}/{Key+}", Member{Name: "PartNumber", Wire: "partNumber", Loc: InQuery}, Member{Name: "UploadId", Wire: "uploadId", Loc: InQuery}),
		op("PutObjectAcl", "PUT", "/{Bucket}/{Key+}?acl"),
		op("ListObjects", "GET", "/{Bucket}"),
		op("ListObjectsV2", "GET", "/{Bucket}?list-type=2"),
		op("ListBuckets", "GET", "/"),
		op("GetObject", "GET", "/{Bucket}/{Key+}"),
		op("GetFixed", "GET", "/fixed/key"),
		op("Untag", "DELETE", "/tags/{Resource}", Member{Name: "TagKeys", Wire: "tagKeys", Loc: InQuery}),
	})
	for _, c := range []struct{ method, path, query, copySource, want, key string }{
		{"PUT", "/b/k", "", "", "PutObject", "k"},
		{"PUT", "/b/k", "", "/x/y", "CopyObject", "k"},
		{"PUT", "/b/k", "partNumber=1&uploadId=u", "", "UploadPart", "k"},
		{"PUT", "/b/k", "partNumber=1", "", "PutObject", "k"},
		{"PUT", "/b/k", "acl", "", "PutObjectAcl", "k"},
		{"PUT", "/b/a/b//c%2Fd/", "", "", "PutObject", "a/b//c/d/"},
		{"GET", "/b", "list-type=2", "", "ListObjectsV2", ""},
		{"GET", "/b", "list-type=1", "", "ListObjects", ""},
		{"GET", "/b/", "", "", "ListObjects", ""},
		{"GET", "/", "", "", "ListBuckets", ""},
		{"GET", "/fixed/key", "", "", "GetFixed", ""},
		{"GET", "/fixed/other", "", "", "GetObject", "other"},
		{"DELETE", "/tags/a%3Ab", "", "", "Untag", ""},
		{"POST", "/b", "", "", "", ""},
		{"GET", "//", "", "", "", ""},
		{"GET", "/%zz", "", "", "", ""},
	} {
		query, err := url.ParseQuery(c.query)
		if err != nil {
			t.Fatal(err)
		}
		h := http.Header{}
		if c.copySource != "" {
			h.Set("X-Amz-Copy-Source", c.copySource)
		}
		got, name := "", ""
		o, l := r.match(c.method, c.path, query, h)
		if o != nil {
			got, name = o.Name, l["Key"]
		}
		if got != c.want || name != c.key {
			t.Errorf("%s %s?%s: %s of %q, want %s of %q", c.method, c.path, c.query, got, name, c.want, c.key)
		}
	}
}
