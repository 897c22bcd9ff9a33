package sqs

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/queue"
)

// seconds are the attributes that are durations.
var seconds = map[string]struct {
	of        func(*queue.Config) *time.Duration
	low, high time.Duration
}{
	QueueAttributeNameVisibilityTimeout:             {func(c *queue.Config) *time.Duration { return &c.Visibility }, 0, queue.MaxVisibility},
	QueueAttributeNameMessageRetentionPeriod:        {func(c *queue.Config) *time.Duration { return &c.Retention }, queue.MinRetention, queue.MaxRetention},
	QueueAttributeNameDelaySeconds:                  {func(c *queue.Config) *time.Duration { return &c.Delay }, 0, queue.MaxDelay},
	QueueAttributeNameReceiveMessageWaitTimeSeconds: {func(c *queue.Config) *time.Duration { return &c.Wait }, 0, queue.MaxWait},
}

// The values of attributes that are words.
const (
	scopeQueue, scopeGroup  = "queue", "messageGroup"
	limitQueue, limitGroup  = "perQueue", "perMessageGroupId"
	allowAll, denyAll, byId = "allowAll", "denyAll", "byQueue"
)

// redrive is the form of a RedrivePolicy.
type redrive struct {
	Target      string      `json:"deadLetterTargetArn"`
	MaxReceives json.Number `json:"maxReceiveCount"`
}

// redriveAllow is the form of a RedriveAllowPolicy.
type redriveAllow struct {
	Permission string   `json:"redrivePermission"`
	Sources    []string `json:"sourceQueueArns,omitempty"`
}

func badValue(attribute string) error {
	return wire.Errorf(CodeInvalidAttributeValue, "Invalid value for the parameter %s.", attribute)
}

// apply puts attributes into a configuration.
func (d *Door) apply(c *queue.Config, attributes map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		if err := d.set(c, name, attributes[name]); err != nil {
			return err
		}
	}
	if !c.FIFO && (c.ContentDedup || c.DedupPerGroup || c.Notes[QueueAttributeNameFifoThroughputLimit] != "") {
		return wire.Errorf(CodeInvalidAttributeName, "You can specify deduplication and throughput attributes only for a FIFO queue.")
	}
	return nil
}

func (d *Door) set(c *queue.Config, name, v string) error {
	if s, ok := seconds[name]; ok {
		n, err := strconv.ParseInt(v, 10, 32)
		if err != nil || n < int64(s.low/time.Second) || n > int64(s.high/time.Second) {
			return badValue(name)
		}
		*s.of(c) = time.Duration(n) * time.Second
		return nil
	}
	switch name {
	case QueueAttributeNameMaximumMessageSize:
		n, err := strconv.Atoi(v)
		if err != nil || n < 1024 || n > queue.MaxSize {
			return badValue(name)
		}
		c.MaxSize = n
	case QueueAttributeNameFifoQueue:
		if v != "true" {
			return badValue(name)
		}
		c.FIFO = true
	case QueueAttributeNameContentBasedDeduplication:
		return setBool(&c.ContentDedup, name, v)
	case QueueAttributeNameDeduplicationScope:
		c.DedupPerGroup = v == scopeGroup
		return oneOf(name, v, scopeQueue, scopeGroup)
	case QueueAttributeNameRedrivePolicy:
		return d.setRedrive(c, v)
	case QueueAttributeNameRedriveAllowPolicy:
		return d.setRedriveAllow(c, v)
	default:
		return setNote(c, name, v)
	}
	return nil
}

// setNote keeps what has no meaning here, so that tools that set it find it again.
func setNote(c *queue.Config, name, v string) error {
	var err error
	switch name {
	case QueueAttributeNameFifoThroughputLimit:
		err = oneOf(name, v, limitQueue, limitGroup)
	case QueueAttributeNameSqsManagedSseEnabled:
		err = oneOf(name, v, "true", "false")
	case QueueAttributeNamePolicy:
		if v != "" && !json.Valid([]byte(v)) {
			err = badValue(name)
		}
	case QueueAttributeNameKmsDataKeyReusePeriodSeconds:
	case QueueAttributeNameKmsMasterKeyId:
		if v != "" {
			err = wire.Errorf(CodeUnsupportedOperation, "KmsMasterKeyId is not supported: messages are kept with the node's own data.")
		}
	default:
		err = wire.Errorf(CodeInvalidAttributeName, "Unknown Attribute %.100s.", name)
	}
	if err != nil {
		return err
	}
	if c.Notes == nil {
		c.Notes = map[string]string{}
	}
	if c.Notes[name] = v; v == "" {
		delete(c.Notes, name)
	}
	return nil
}

func oneOf(name, v string, words ...string) error {
	if !slices.Contains(words, v) {
		return badValue(name)
	}
	return nil
}

func setBool(to *bool, name, v string) error {
	*to = v == "true"
	return oneOf(name, v, "true", "false")
}

func (d *Door) setRedrive(c *queue.Config, v string) error {
	if c.Dead = nil; v == "" {
		return nil
	}
	var r redrive
	bad := func(why string) error {
		return invalid("Value %.200s for parameter RedrivePolicy is invalid. Reason: %s", v, why)
	}
	if err := json.Unmarshal([]byte(v), &r); err != nil {
		return bad("Redrive policy is not a valid JSON map.")
	}
	if r.Target == "" || r.MaxReceives == "" {
		return bad("Redrive policy must have deadLetterTargetArn and maxReceiveCount.")
	}
	n, err := strconv.Atoi(r.MaxReceives.String())
	if err != nil || n < 1 || n > queue.MaxReceives {
		return bad("Invalid value for maxReceiveCount: " + r.MaxReceives.String() + ", valid values are from 1 to 1000 both inclusive.")
	}
	name, ok := d.queueOf(r.Target)
	if !ok {
		return bad("Dead letter target is not a queue of this account and region.")
	}
	c.Dead = &queue.DeadLetter{Queue: name, Receives: n}
	return nil
}

func (d *Door) setRedriveAllow(c *queue.Config, v string) error {
	if c.Sources = nil; v == "" {
		return nil
	}
	var r redriveAllow
	if err := json.Unmarshal([]byte(v), &r); err != nil || !slices.Contains([]string{allowAll, denyAll, byId}, r.Permission) || (r.Permission == byId) != (len(r.Sources) > 0) || len(r.Sources) > 10 {
		return badValue(QueueAttributeNameRedriveAllowPolicy)
	}
	s := &queue.Sources{All: r.Permission == allowAll}
	for _, a := range r.Sources {
		name, ok := d.queueOf(a)
		if !ok {
			return badValue(QueueAttributeNameRedriveAllowPolicy)
		}
		s.Queues = append(s.Queues, name)
	}
	c.Sources = s
	return nil
}

// attributes shows a queue as SQS does.
func (d *Door) attributes(i queue.Info) map[string]string {
	a := map[string]string{
		QueueAttributeNameQueueArn:                              d.arn(i.Name),
		QueueAttributeNameApproximateNumberOfMessages:           strconv.Itoa(i.Visible),
		QueueAttributeNameApproximateNumberOfMessagesNotVisible: strconv.Itoa(i.InFlight),
		QueueAttributeNameApproximateNumberOfMessagesDelayed:    strconv.Itoa(i.Delayed),
		QueueAttributeNameCreatedTimestamp:                      strconv.FormatInt(i.Created.Unix(), 10),
		QueueAttributeNameLastModifiedTimestamp:                 strconv.FormatInt(i.Modified.Unix(), 10),
		QueueAttributeNameMaximumMessageSize:                    strconv.Itoa(i.Config.MaxSize),
		QueueAttributeNameSqsManagedSseEnabled:                  "true",
	}
	for name, s := range seconds {
		a[name] = strconv.FormatInt(int64(*s.of(&i.Config)/time.Second), 10)
	}
	if i.Config.FIFO {
		a[QueueAttributeNameFifoQueue] = "true"
		a[QueueAttributeNameContentBasedDeduplication] = strconv.FormatBool(i.Config.ContentDedup)
		a[QueueAttributeNameDeduplicationScope] = scopeQueue
		if i.Config.DedupPerGroup {
			a[QueueAttributeNameDeduplicationScope] = scopeGroup
		}
		a[QueueAttributeNameFifoThroughputLimit] = limitQueue
	}
	if dead := i.Config.Dead; dead != nil {
		a[QueueAttributeNameRedrivePolicy] = marshal(redrive{d.arn(dead.Queue), json.Number(strconv.Itoa(dead.Receives))})
	}
	if s := i.Config.Sources; s != nil {
		r := redriveAllow{Permission: denyAll}
		switch {
		case s.All:
			r.Permission = allowAll
		case len(s.Queues) > 0:
			r.Permission = byId
		}
		for _, name := range s.Queues {
			r.Sources = append(r.Sources, d.arn(name))
		}
		a[QueueAttributeNameRedriveAllowPolicy] = marshal(r)
	}
	maps.Copy(a, i.Config.Notes)
	return a
}

func marshal(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return string(b)
}

// known are the attributes that can be asked for.
var known = []string{
	QueueAttributeNameAll, QueueAttributeNamePolicy, QueueAttributeNameVisibilityTimeout, QueueAttributeNameMaximumMessageSize,
	QueueAttributeNameMessageRetentionPeriod, QueueAttributeNameApproximateNumberOfMessages,
	QueueAttributeNameApproximateNumberOfMessagesNotVisible, QueueAttributeNameCreatedTimestamp,
	QueueAttributeNameLastModifiedTimestamp, QueueAttributeNameQueueArn, QueueAttributeNameApproximateNumberOfMessagesDelayed,
	QueueAttributeNameDelaySeconds, QueueAttributeNameReceiveMessageWaitTimeSeconds, QueueAttributeNameRedrivePolicy,
	QueueAttributeNameFifoQueue, QueueAttributeNameContentBasedDeduplication, QueueAttributeNameKmsMasterKeyId,
	QueueAttributeNameKmsDataKeyReusePeriodSeconds, QueueAttributeNameDeduplicationScope,
	QueueAttributeNameFifoThroughputLimit, QueueAttributeNameRedriveAllowPolicy, QueueAttributeNameSqsManagedSseEnabled,
}

// pick returns the attributes that were asked for.
func pick(all map[string]string, names []string) (map[string]string, error) {
	picked := map[string]string{}
	for _, n := range names {
		if !slices.Contains(known, n) {
			return nil, wire.Errorf(CodeInvalidAttributeName, "Unknown Attribute %.100s.", strings.TrimSpace(n))
		}
		if n == QueueAttributeNameAll {
			maps.Copy(picked, all)
		} else if v, ok := all[n]; ok {
			picked[n] = v
		}
	}
	if len(picked) == 0 {
		return nil, nil
	}
	return picked, nil
}
