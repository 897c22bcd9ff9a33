package payload

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Object is what happened to a stored object.
type Object struct {
	Name      string // of the event: "ObjectCreated:Put"
	Rule      string // id of the configuration that asked for it
	Bucket    string
	Key       string
	Size      int64 // bytes, of a new object
	ETag      string
	Version   string // "" in a bucket without versions
	Sequence  uint64 // grows with each change of a key
	Time      time.Time
	RequestID string
	HostID    string
	Source    string // the client's IP address
	Principal string // who made the change: an access key
	Region    string
	Account   string
}

// objectRecord is one record of S3's event message, version 2.1.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
type objectRecord struct {
	EventVersion string    `json:"eventVersion"`
	EventSource  string    `json:"eventSource"`
	Region       string    `json:"awsRegion"`
	EventTime    string    `json:"eventTime"`
	EventName    string    `json:"eventName"`
	User         principal `json:"userIdentity"`
	Request      struct {
		Source string `json:"sourceIPAddress"`
	} `json:"requestParameters"`
	Response struct {
		RequestID string `json:"x-amz-request-id"`
		HostID    string `json:"x-amz-id-2"`
	} `json:"responseElements"`
	S3 struct {
		Version string `json:"s3SchemaVersion"`
		Rule    string `json:"configurationId"`
		Bucket  struct {
			Name  string    `json:"name"`
			Owner principal `json:"ownerIdentity"`
			ARN   string    `json:"arn"`
		} `json:"bucket"`
		Object object `json:"object"`
	} `json:"s3"`
}

type principal struct {
	ID string `json:"principalId"`
}

type object struct {
	Key       string `json:"key"`
	Size      *int64 `json:"size,omitempty"` // of a new object
	ETag      string `json:"eTag,omitempty"`
	Version   string `json:"versionId,omitempty"`
	Sequencer string `json:"sequencer"`
}

// millis is the form of times in records.
const millis = "2006-01-02T15:04:05.000Z"

// S3 returns the message that a function or a queue gets.
func S3(o Object) ([]byte, error) {
	r := objectRecord{
		EventVersion: "2.1", EventSource: "aws:s3", Region: o.Region,
		EventTime: o.Time.UTC().Format(millis), EventName: o.Name, User: principal{"AWS:" + o.Principal},
	}
	r.Request.Source = o.Source
	r.Response.RequestID, r.Response.HostID = o.RequestID, o.HostID
	r.S3.Version, r.S3.Rule = "1.0", o.Rule
	r.S3.Bucket.Name, r.S3.Bucket.Owner, r.S3.Bucket.ARN = o.Bucket, principal{o.Account}, "arn:aws:s3:::"+o.Bucket
	r.S3.Object = object{Key: escapeKey(o.Key), ETag: o.ETag, Version: o.Version, Sequencer: sequencer(o.Sequence)}
	if o.created() {
		r.S3.Object.Size = &o.Size
	}
	return json.Marshal(struct {
		Records []objectRecord `json:"Records"`
	}{[]objectRecord{r}})
}

func (o *Object) created() bool { return strings.HasPrefix(o.Name, "ObjectCreated:") }

// escapeKey encodes a key as the values of forms are, but for its slashes.
func escapeKey(key string) string { return strings.ReplaceAll(url.QueryEscape(key), "%2F", "/") }

// sequencer writes a sequence so that later ones of a key compare greater as
// text.
func sequencer(n uint64) string { return fmt.Sprintf("%018X", n) }

// S3Detail returns the detail of the event that a bus gets, and its detail type.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
func S3Detail(o Object) (detailType string, detail []byte, err error) {
	type stored struct {
		Key       string `json:"key"` // as it is
		Size      *int64 `json:"size,omitempty"`
		ETag      string `json:"etag,omitempty"`
		Version   string `json:"version-id,omitempty"`
		Sequencer string `json:"sequencer"`
	}
	type bucket struct {
		Name string `json:"name"`
	}
	d := struct {
		Version   string `json:"version"`
		Bucket    bucket `json:"bucket"`
		Object    stored `json:"object"`
		RequestID string `json:"request-id"`
		Requester string `json:"requester"`
		Source    string `json:"source-ip-address,omitempty"`
		Reason    string `json:"reason"`
		Deletion  string `json:"deletion-type,omitempty"`
	}{
		Version: "0", Bucket: bucket{o.Bucket}, RequestID: o.RequestID, Requester: o.Account, Source: o.Source,
		Object: stored{Key: o.Key, ETag: o.ETag, Version: o.Version, Sequencer: sequencer(o.Sequence)},
	}
	detailType = "Object Deleted"
	switch _, what, _ := strings.Cut(o.Name, ":"); what {
	case "Put":
		d.Reason = "PutObject"
	case "Post":
		d.Reason = "POST Object"
	case "Copy":
		d.Reason = "CopyObject"
	case "CompleteMultipartUpload":
		d.Reason = what
	case "DeleteMarkerCreated":
		d.Reason, d.Deletion = "DeleteObject", "Delete Marker Created"
	default:
		d.Reason, d.Deletion = "DeleteObject", "Permanently Deleted"
	}
	if o.created() {
		detailType = "Object Created"
		d.Object.Size = &o.Size
	}
	detail, err = json.Marshal(d)
	return detailType, detail, err
}
