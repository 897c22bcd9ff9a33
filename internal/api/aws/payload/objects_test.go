package payload

import (
	"testing"
	"time"
)

// stored is an object that was put, with a key that must be escaped.
func stored() Object {
	return Object{
		Name: "ObjectCreated:Put", Rule: "thumbnails", Bucket: "photos", Key: "in/a b+ü/c.jpg", Size: 1024,
		ETag: "d41d8cd98f00b204e9800998ecf8427e", Version: "096fKKXTRTtl3on89fVO.nfljtsv6qko", Sequence: 0x55AED6DCD90281E5,
		Time: time.Date(1970, 1, 1, 0, 0, 0, 5e8, time.UTC), RequestID: "C3D13FE58DE4C810", HostID: "FMyUVURIY8/IgAtTv8xRjskZQpcIZ9KG4V5Wp6S7S/JRWeUWerMUE5JgHvANOjpD",
		Source: "127.0.0.1", Principal: "AIDAJDPLRKLG7UEXAMPLE", Region: "us-west-2", Account: "123456789012",
	}
}

// The shape is the one in "Event message structure" of the S3 User Guide.
func TestRecordsOfObjectsHaveTheShapeOfS3(t *testing.T) {
	const head = `{"Records":[{"eventVersion":"2.1","eventSource":"aws:s3","awsRegion":"us-west-2","eventTime":"1970-01-01T00:00:00.500Z",`
	const who = `"userIdentity":{"principalId":"AWS:AIDAJDPLRKLG7UEXAMPLE"},"requestParameters":{"sourceIPAddress":"127.0.0.1"},` +
		`"responseElements":{"x-amz-request-id":"C3D13FE58DE4C810","x-amz-id-2":"FMyUVURIY8/IgAtTv8xRjskZQpcIZ9KG4V5Wp6S7S/JRWeUWerMUE5JgHvANOjpD"},` +
		`"s3":{"s3SchemaVersion":"1.0","configurationId":"thumbnails","bucket":{"name":"photos","ownerIdentity":{"principalId":"123456789012"},"arn":"arn:aws:s3:::photos"},`
	gone, empty := stored(), stored()
	gone.Name, gone.Size, gone.ETag, gone.Version = "ObjectRemoved:Delete", 0, "", ""
	empty.Size, empty.Version = 0, ""
	for name, test := range map[string]struct {
		object Object
		want   string
	}{
		"created": {stored(), head + `"eventName":"ObjectCreated:Put",` + who +
			`"object":{"key":"in/a+b%2B%C3%BC/c.jpg","size":1024,"eTag":"d41d8cd98f00b204e9800998ecf8427e","versionId":"096fKKXTRTtl3on89fVO.nfljtsv6qko","sequencer":"0055AED6DCD90281E5"}}}]}`},
		"removed": {gone, head + `"eventName":"ObjectRemoved:Delete",` + who + `"object":{"key":"in/a+b%2B%C3%BC/c.jpg","sequencer":"0055AED6DCD90281E5"}}}]}`},
		"empty, without versions": {empty, head + `"eventName":"ObjectCreated:Put",` + who +
			`"object":{"key":"in/a+b%2B%C3%BC/c.jpg","size":0,"eTag":"d41d8cd98f00b204e9800998ecf8427e","sequencer":"0055AED6DCD90281E5"}}}]}`},
	} {
		got, err := S3(test.object)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != test.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, test.want)
		}
	}
}

func TestEventsOfObjectsOnABusHaveTheShapeOfEventBridge(t *testing.T) {
	gone, marked := stored(), stored()
	gone.Name, marked.Name = "ObjectRemoved:Delete", "ObjectRemoved:DeleteMarkerCreated"
	const tail = `"request-id":"C3D13FE58DE4C810","requester":"123456789012","source-ip-address":"127.0.0.1",`
	for name, test := range map[string]struct {
		object     Object
		kind, want string
	}{
		"created": {stored(), "Object Created", `{"version":"0","bucket":{"name":"photos"},"object":{"key":"in/a b+ü/c.jpg","size":1024,"etag":"d41d8cd98f00b204e9800998ecf8427e",` +
			`"version-id":"096fKKXTRTtl3on89fVO.nfljtsv6qko","sequencer":"0055AED6DCD90281E5"},` + tail + `"reason":"PutObject"}`},
		"removed": {gone, "Object Deleted", `{"version":"0","bucket":{"name":"photos"},"object":{"key":"in/a b+ü/c.jpg","etag":"d41d8cd98f00b204e9800998ecf8427e",` +
			`"version-id":"096fKKXTRTtl3on89fVO.nfljtsv6qko","sequencer":"0055AED6DCD90281E5"},` + tail + `"reason":"DeleteObject","deletion-type":"Permanently Deleted"}`},
		"hidden": {marked, "Object Deleted", `{"version":"0","bucket":{"name":"photos"},"object":{"key":"in/a b+ü/c.jpg","etag":"d41d8cd98f00b204e9800998ecf8427e",` +
			`"version-id":"096fKKXTRTtl3on89fVO.nfljtsv6qko","sequencer":"0055AED6DCD90281E5"},` + tail + `"reason":"DeleteObject","deletion-type":"Delete Marker Created"}`},
	} {
		kind, got, err := S3Detail(test.object)
		if err != nil {
			t.Fatal(err)
		}
		if kind != test.kind || string(got) != test.want {
			t.Errorf("%s:\n got %s %s\nwant %s %s", name, kind, got, test.kind, test.want)
		}
	}
}

func TestSequencersCompareAsText(t *testing.T) {
	last := ""
	for _, n := range []uint64{1, 9, 10, 255, 256, 1 << 40, 1<<64 - 1} {
		if s := sequencer(n); s <= last {
			t.Errorf("%d is %q, which does not come after %q", n, s, last)
		} else {
			last = s
		}
	}
}
