package arn

import (
	"regexp"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/event"
)

// Place is the region and account that a node speaks for.
type Place struct {
	Region  string
	Account string // 12 digits
}

var nameRE = regexp.MustCompile(`^[A-Za-z0-9._/-]+$`)

// Target returns the ARN of a target, "" for one of a kind that has none.
func (p Place) Target(t event.Target) string {
	switch t.Kind {
	case event.Function:
		return Function{Region: p.Region, Account: p.Account, Name: t.Name, Qualifier: t.Qualifier}.String()
	case event.Queue:
		return p.Resource("sqs", t.Name)
	case event.Bucket:
		return "arn:" + Partition + ":s3:::" + t.Name
	case event.Bus:
		return p.Resource("events", "event-bus/"+t.Name)
	}
	return ""
}

// Resource returns the ARN of a service's resource.
func (p Place) Resource(service, resource string) string {
	return "arn:" + Partition + ":" + service + ":" + p.Region + ":" + p.Account + ":" + resource
}

// CutResource returns the resource of an ARN of this place's service.
func (p Place) CutResource(s, service string) (resource string, ok bool) {
	return strings.CutPrefix(s, p.Resource(service, ""))
}

// Parse reads the ARN of a function, queue, bucket or event bus of this place. Its
// errs.Invalid error says what is wrong with it.
func (p Place) Parse(s string) (event.Target, error) {
	parts := strings.SplitN(s, ":", 6)
	if len(parts) < 6 || parts[0] != "arn" || !strings.HasPrefix(parts[1], "aws") {
		return event.Target{}, errs.Newf(errs.Invalid, "%q is not an ARN", s)
	}
	service, region, account, resource := parts[2], parts[3], parts[4], parts[5]
	if service != "s3" && (region != p.Region || account != p.Account) {
		return event.Target{}, errs.Newf(errs.Invalid, "%s belongs to region %s and account %s: this node serves region %s and account %s only", s, region, account, p.Region, p.Account)
	}
	bad := func() (event.Target, error) {
		return event.Target{}, errs.Newf(errs.Invalid, "%s names no function, queue, bucket or event bus", s)
	}
	switch service {
	case "lambda":
		f, ok := Parse(s)
		if !ok {
			return bad()
		}
		return event.Target{Kind: event.Function, Name: f.Name, Qualifier: f.Qualifier}, nil
	case "sqs":
		if !nameRE.MatchString(resource) {
			return bad()
		}
		return event.Target{Kind: event.Queue, Name: resource}, nil
	case "s3":
		if !nameRE.MatchString(resource) || strings.Contains(resource, "/") {
			return bad()
		}
		return event.Target{Kind: event.Bucket, Name: resource}, nil
	case "events":
		name, ok := strings.CutPrefix(resource, "event-bus/")
		if !ok || !nameRE.MatchString(name) {
			return bad()
		}
		return event.Target{Kind: event.Bus, Name: name}, nil
	}
	return bad()
}
