package console

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/client"
	"github.com/mayfly-dev/mayfly/internal/errs"
)

func (c *Console) bucketRoutes() map[string]action {
	return map[string]action{
		"buckets":                    (*call).listBuckets,
		"POST buckets":               (*call).createBucket,
		"buckets/{name}":             (*call).showBucket,
		"POST buckets/{name}/upload": (*call).uploadObject,
		"POST buckets/{name}/remove": (*call).deleteObject,
		"POST buckets/{name}/delete": (*call).deleteBucket,
		"buckets/{name}/object":      (*call).download,
	}
}

type bucket struct {
	Name         string
	CreationDate time.Time
}

type object struct {
	Key          string
	Size         int64
	LastModified time.Time
}

// objects calls the object store, whose answers are XML.
func (k *call) objects(method, path string, q url.Values, body []byte, out any) error {
	resp, err := k.api.Send(k.ctx(), client.Request{Service: client.Objects, Method: method, Path: path, Query: q, Body: body})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	if err := xml.NewDecoder(resp.Body).Decode(out); err != nil && err != io.EOF {
		return fmt.Errorf("read the object store's answer to %s: %w", path, err)
	}
	return nil
}

func (k *call) buckets() ([]bucket, error) {
	var answer struct {
		Buckets []bucket `xml:"Buckets>Bucket"`
	}
	err := k.objects(http.MethodGet, "/", nil, nil, &answer)
	return answer.Buckets, err
}

func (k *call) listBuckets() error {
	all, err := k.buckets()
	if err != nil {
		return err
	}
	return k.show("buckets", "Buckets", all)
}

func (k *call) createBucket() error {
	name := strings.TrimSpace(k.r.FormValue("name"))
	if name == "" || strings.ContainsAny(name, "/?#% ") {
		return errs.Newf(errs.Invalid, "%q is not the name of a bucket: use 3 to 63 lower-case letters, digits, dots and hyphens.", name)
	}
	if err := k.objects(http.MethodPut, "/"+name, nil, nil, nil); err != nil {
		return err
	}
	return k.goTo("buckets/" + name)
}

// notification is a rule by which a bucket's events wake something.
type notification struct {
	Target string
	Events []string
	Filter string
}

type notifications struct {
	Functions []notificationXML `xml:"CloudFunctionConfiguration"`
	Queues    []notificationXML `xml:"QueueConfiguration"`
	Bus       *struct{}         `xml:"EventBridgeConfiguration"`
}

type notificationXML struct {
	Function string   `xml:"CloudFunction"`
	Queue    string   `xml:"Queue"`
	Events   []string `xml:"Event"`
	Rules    []struct {
		Name  string `xml:"Name"`
		Value string `xml:"Value"`
	} `xml:"Filter>S3Key>FilterRule"`
}

func (n notificationXML) filter() string {
	var parts []string
	for _, r := range n.Rules {
		parts = append(parts, strings.ToLower(r.Name)+" "+r.Value)
	}
	return strings.Join(parts, ", ")
}

func (k *call) notifications(name string) (n notifications, err error) {
	err = k.objects(http.MethodGet, "/"+url.PathEscape(name), url.Values{"notification": {""}}, nil, &n)
	return n, err
}

// notifiedBuckets lists the buckets whose events wake the function.
func (k *call) notifiedBuckets(function string) (list []trigger, err error) {
	all, err := k.buckets()
	if err != nil {
		return nil, err
	}
	for _, b := range all {
		n, err := k.notifications(b.Name)
		if err != nil {
			return nil, err
		}
		for _, f := range n.Functions {
			if isFunction(f.Function, function) {
				list = append(list, trigger{
					Kind: "Bucket", Source: b.Name, Detail: strings.TrimSpace(strings.Join(f.Events, ", ") + " " + f.filter()),
					State: "Enabled", Path: "buckets/" + b.Name,
				})
			}
		}
	}
	return list, nil
}

type bucketView struct {
	Name          string
	Prefix        string
	Folders       []string
	Objects       []object
	Next          string
	Notifications []notification
}

func (k *call) showBucket() error {
	v := bucketView{Name: k.r.PathValue("name"), Prefix: k.r.FormValue("prefix")}
	q := url.Values{"list-type": {"2"}, "delimiter": {"/"}, "max-keys": {"200"}, "prefix": {v.Prefix}}
	if t := k.r.FormValue("after"); t != "" {
		q.Set("continuation-token", t)
	}
	var answer struct {
		Contents              []object `xml:"Contents"`
		Folders               []string `xml:"CommonPrefixes>Prefix"`
		NextContinuationToken string
	}
	if err := k.objects(http.MethodGet, "/"+url.PathEscape(v.Name), q, nil, &answer); err != nil {
		return err
	}
	v.Folders, v.Objects, v.Next = answer.Folders, answer.Contents, answer.NextContinuationToken
	n, err := k.notifications(v.Name)
	if err != nil {
		return err
	}
	for _, f := range n.Functions {
		v.Notifications = append(v.Notifications, notification{"function " + lastPart(f.Function), f.Events, f.filter()})
	}
	for _, f := range n.Queues {
		v.Notifications = append(v.Notifications, notification{"queue " + lastPart(f.Queue), f.Events, f.filter()})
	}
	if n.Bus != nil {
		v.Notifications = append(v.Notifications, notification{"the event bus", []string{"all"}, ""})
	}
	return k.show("bucket", v.Name, v)
}

// objectPath escapes a key for the path of a request, each part by itself.
func objectPath(bucket, key string) string {
	parts := strings.Split(key, "/")
	for i := range parts {
		parts[i] = strings.ReplaceAll(url.QueryEscape(parts[i]), "+", "%20") // S3 escapes more than a path needs
	}
	return "/" + url.PathEscape(bucket) + "/" + strings.Join(parts, "/")
}

func (k *call) uploadObject() error {
	b, err := k.upload("file")
	if err != nil {
		return err
	}
	_, header, err := k.r.FormFile("file")
	if err != nil || b == nil {
		return errs.Newf(errs.Invalid, "Choose a file to upload.")
	}
	prefix := k.r.FormValue("prefix")
	if err := k.objects(http.MethodPut, objectPath(k.r.PathValue("name"), prefix+header.Filename), nil, b, nil); err != nil {
		return err
	}
	return k.goTo("buckets/" + k.r.PathValue("name") + "?" + url.Values{"prefix": {prefix}}.Encode())
}

func (k *call) deleteObject() error {
	key := k.r.FormValue("key")
	if err := k.objects(http.MethodDelete, objectPath(k.r.PathValue("name"), key), nil, nil, nil); err != nil {
		return err
	}
	return k.goTo("buckets/" + k.r.PathValue("name") + "?" + url.Values{"prefix": {key[:strings.LastIndexByte(key, '/')+1]}}.Encode())
}

func (k *call) deleteBucket() error {
	if err := k.objects(http.MethodDelete, "/"+url.PathEscape(k.r.PathValue("name")), nil, nil, nil); err != nil {
		return err
	}
	return k.goTo("buckets")
}

// download hands an object to the browser as a file, whatever it is: it must not
// run as a page of the console.
func (k *call) download() error {
	key := k.r.FormValue("key")
	resp, err := k.api.Send(k.ctx(), client.Request{Service: client.Objects, Method: http.MethodGet, Path: objectPath(k.r.PathValue("name"), key)})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	k.w.Header().Set("Content-Type", "application/octet-stream")
	k.w.Header().Set("Content-Disposition", "attachment; filename*=UTF-8''"+url.PathEscape(lastPart(key)))
	if _, err := io.Copy(k.w, resp.Body); err != nil {
		panic(http.ErrAbortHandler) // a part of a file must not look like the whole
	}
	return nil
}
