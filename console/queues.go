package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/client"
	"github.com/mayfly-dev/mayfly/internal/errs"
)

func (c *Console) queueRoutes() map[string]action {
	return map[string]action{
		"queues":                     (*call).listQueues,
		"POST queues":                (*call).createQueue,
		"queues/{name}":              (*call).showQueue,
		"queues/{name}/messages":     (*call).peek,
		"POST queues/{name}/send":    (*call).sendMessage,
		"POST queues/{name}/redrive": (*call).redrive,
		"POST queues/{name}/purge":   (*call).purge,
		"POST queues/{name}/delete":  (*call).deleteQueue,
	}
}

// queue is one with its attributes in words.
type queue struct {
	Name, URL                  string
	Arn                        string
	Waiting, InFlight, Delayed int64
	Fifo                       bool
	Visibility, Retention      time.Duration
	DeadLetters                string   // the queue that takes what failed too often
	MaxReceives                string   // after how many receives
	Sources                    []string // the queues whose dead letters it takes
	Others                     []string // functions, rules and schedules whose dead letters it takes, in words
	Queues                     []string // all there are
}

func (k *call) queueNames() (urls []string, err error) {
	in := map[string]any{"MaxResults": 1000}
	for {
		var answer struct {
			QueueUrls []string
			NextToken string
		}
		if err := k.api.Operation(k.ctx(), client.Queues, "ListQueues", in, &answer); err != nil {
			return nil, err
		}
		urls = append(urls, answer.QueueUrls...)
		if answer.NextToken == "" {
			return urls, nil
		}
		in["NextToken"] = answer.NextToken
	}
}

func (k *call) queue(queueURL string) (q queue, err error) {
	var answer struct{ Attributes map[string]string }
	in := map[string]any{"QueueUrl": queueURL, "AttributeNames": []string{"All"}}
	if err := k.api.Operation(k.ctx(), client.Queues, "GetQueueAttributes", in, &answer); err != nil {
		return q, err
	}
	a := answer.Attributes
	q = queue{Name: lastPart(queueURL), URL: queueURL, Arn: a["QueueArn"], Fifo: a["FifoQueue"] == "true"}
	q.Waiting, q.InFlight, q.Delayed = whole(a["ApproximateNumberOfMessages"]), whole(a["ApproximateNumberOfMessagesNotVisible"]), whole(a["ApproximateNumberOfMessagesDelayed"])
	q.Visibility = time.Duration(whole(a["VisibilityTimeout"])) * time.Second
	q.Retention = time.Duration(whole(a["MessageRetentionPeriod"])) * time.Second
	q.DeadLetters, q.MaxReceives = redrivePolicy(a["RedrivePolicy"])
	return q, nil
}

// whole reads a number of the API, whose attributes are texts; 0 for none.
func whole(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func (k *call) queues() ([]queue, error) {
	urls, err := k.queueNames()
	if err != nil {
		return nil, err
	}
	var all []queue
	for _, u := range urls {
		q, err := k.queue(u)
		if isGone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, q)
	}
	for i := range all {
		for _, q := range all {
			if q.DeadLetters == all[i].Name {
				all[i].Sources = append(all[i].Sources, q.Name)
			}
		}
	}
	slices.SortFunc(all, func(a, b queue) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// isGone reports whether a thing was removed since it was listed.
func isGone(err error) bool {
	p := sentence(err)
	return p != "" && strings.Contains(p, "does not exist")
}

func (k *call) listQueues() error {
	all, err := k.queues()
	if err != nil {
		return err
	}
	return k.show("queues", "Queues", all)
}

func (k *call) createQueue() error {
	name := strings.TrimSpace(k.r.FormValue("name"))
	attributes := map[string]string{}
	if strings.HasSuffix(name, ".fifo") {
		attributes["FifoQueue"] = "true"
	}
	in := map[string]any{"QueueName": name, "Attributes": attributes}
	if err := k.api.Operation(k.ctx(), client.Queues, "CreateQueue", in, nil); err != nil {
		return err
	}
	return k.goTo("queues/" + name)
}

// queueURL finds the queue that the request's path names.
func (k *call) queueURL() (string, error) {
	var answer struct{ QueueUrl string }
	err := k.api.Operation(k.ctx(), client.Queues, "GetQueueUrl", map[string]any{"QueueName": k.r.PathValue("name")}, &answer)
	return answer.QueueUrl, err
}

func (k *call) showQueue() error {
	all, err := k.queues()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(q queue) bool { return q.Name == k.r.PathValue("name") })
	if i < 0 {
		return errs.Newf(errs.NotFound, "There is no queue %s.", k.r.PathValue("name"))
	}
	q := all[i]
	for _, other := range all {
		if other.Name != q.Name {
			q.Queues = append(q.Queues, other.Name)
		}
	}
	if q.Others, err = k.deadLettersOf(q.Arn); err != nil {
		return err
	}
	return k.show("queue", q.Name, q)
}

// deadLettersOf returns what else than queues leaves its dead letters in a queue.
func (k *call) deadLettersOf(arn string) (names []string, err error) {
	functions, err := k.api.DeadLetterFunctions(k.ctx(), arn)
	if err != nil {
		return nil, err
	}
	for _, f := range functions {
		names = append(names, client.ARNText(f))
	}
	rules, err := k.rules()
	if err != nil {
		return nil, err
	}
	for _, r := range rules {
		if slices.ContainsFunc(r.Targets, func(t target) bool { return t.DeadLetterConfig.Arn == arn }) {
			names = append(names, "rule "+r.Name)
		}
	}
	schedules, err := k.schedules()
	if err != nil {
		return nil, err
	}
	for _, s := range schedules {
		if s.Target.DeadLetterConfig.Arn == arn {
			names = append(names, "schedule "+s.Name)
		}
	}
	return names, nil
}

// message is one that waits in a queue.
type message struct{ client.Message }

// SentAt is when the message was accepted.
func (m message) SentAt() time.Time { return time.UnixMilli(whole(m.Sent)) }

// Was says in words what a dead letter was for, "" if it is none.
func (m message) Was() string {
	arn, queued := m.For()
	if queued {
		return "an asynchronous call"
	}
	return client.ARNText(arn)
}

// Why is what went wrong with a dead letter, "" if it doesn't say.
func (m message) Why() string {
	return cmp.Or(m.Attributes["ERROR_MESSAGE"], m.Attributes["ErrorMessage"], m.Attributes["ERROR_CODE"])
}

type messagesView struct {
	Name     string
	Messages []message
	Letters  bool     // some are dead letters that say what they were for
	Queues   []string // all others, if there are Letters
}

// peek shows the next messages and gives them back at once. It counts as a
// receive, as any look into a queue does.
func (k *call) peek() error {
	u, err := k.queueURL()
	if err != nil {
		return err
	}
	list, err := k.api.Receive(k.ctx(), u, map[string]any{"MaxNumberOfMessages": 10, "VisibilityTimeout": 5})
	if err != nil {
		return err
	}
	v := messagesView{Name: k.r.PathValue("name")}
	for _, got := range list {
		m := message{got}
		v.Messages = append(v.Messages, m)
		v.Letters = v.Letters || m.Was() != ""
		back := map[string]any{"QueueUrl": u, "ReceiptHandle": m.Handle, "VisibilityTimeout": 0}
		if err := k.api.Operation(k.ctx(), client.Queues, "ChangeMessageVisibility", back, nil); err != nil {
			return err
		}
	}
	if !v.Letters {
		return k.fragment("queue/messages", v)
	}
	urls, err := k.queueNames()
	if err != nil {
		return err
	}
	for _, other := range urls {
		if name := lastPart(other); name != v.Name {
			v.Queues = append(v.Queues, name)
		}
	}
	return k.fragment("queue/messages", v)
}

func (k *call) sendMessage() error {
	u, err := k.queueURL()
	if err != nil {
		return err
	}
	in := map[string]any{"QueueUrl": u, "MessageBody": k.r.FormValue("body")}
	if group := k.r.FormValue("group"); group != "" {
		in["MessageGroupId"] = group
		in["MessageDeduplicationId"] = strconv.FormatInt(time.Now().UnixNano(), 36)
	}
	if err := k.api.Operation(k.ctx(), client.Queues, "SendMessage", in, nil); err != nil {
		return err
	}
	return k.fragment("notice", notice{Text: "Sent."})
}

// redriveLimit is how long a page waits for dead letters to be moved.
const redriveLimit = 20 * time.Second

// redrive moves dead letters to where each was to go, or to a queue.
func (k *call) redrive() error {
	ctx, cancel := context.WithTimeout(k.ctx(), redriveLimit)
	defer cancel()
	moved, err := k.api.Redrive(ctx, k.r.PathValue("name"), k.r.FormValue("to"))
	n := notice{Text: fmt.Sprintf("Moved %d messages.", moved)}
	switch {
	case moved == 1:
		n.Text = "Moved 1 message."
	case moved == 0 && err == nil:
		n.Text = "No message was waiting."
	case moved == 0:
		n.Text = "Nothing was moved."
	}
	var p *client.Problem
	switch {
	case err == nil:
	case errors.Is(err, client.ErrNoAddressee):
		n.Bad = true
		n.Text += fmt.Sprintf(" A %v. Choose a queue for such messages, or test the function with their text.", err)
	case ctx.Err() != nil && k.ctx().Err() == nil:
		n.Text += " There are more: look again in a minute, and redrive what is left then."
	case errors.As(err, &p):
		n.Bad = true
		n.Text += " " + p.Message
	default:
		return err
	}
	return k.fragment("notice", n)
}

func (k *call) purge() error {
	u, err := k.queueURL()
	if err != nil {
		return err
	}
	if err := k.api.Operation(k.ctx(), client.Queues, "PurgeQueue", map[string]any{"QueueUrl": u}, nil); err != nil {
		return err
	}
	return k.goTo("queues/" + k.r.PathValue("name"))
}

func (k *call) deleteQueue() error {
	u, err := k.queueURL()
	if err != nil {
		return err
	}
	if err := k.api.Operation(k.ctx(), client.Queues, "DeleteQueue", map[string]any{"QueueUrl": u}, nil); err != nil {
		return err
	}
	return k.goTo("queues")
}
