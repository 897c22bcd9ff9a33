package console

import (
	"cmp"
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
	return k.show("queue", all[i].Name, all[i])
}

// message is one that waits in a queue.
type message struct {
	MessageId  string
	Body       string
	Attributes map[string]string
}

// Sent is when the message was accepted.
func (m message) Sent() time.Time { return time.UnixMilli(whole(m.Attributes["SentTimestamp"])) }

// peek shows the next messages and gives them back at once. It counts as a
// receive, as any look into a queue does.
func (k *call) peek() error {
	u, err := k.queueURL()
	if err != nil {
		return err
	}
	var answer struct {
		Messages []struct {
			message
			ReceiptHandle string
		}
	}
	in := map[string]any{"QueueUrl": u, "MaxNumberOfMessages": 10, "VisibilityTimeout": 5, "AttributeNames": []string{"All"}, "MessageAttributeNames": []string{"All"}}
	if err := k.api.Operation(k.ctx(), client.Queues, "ReceiveMessage", in, &answer); err != nil {
		return err
	}
	var list []message
	for _, m := range answer.Messages {
		list = append(list, m.message)
		back := map[string]any{"QueueUrl": u, "ReceiptHandle": m.ReceiptHandle, "VisibilityTimeout": 0}
		if err := k.api.Operation(k.ctx(), client.Queues, "ChangeMessageVisibility", back, nil); err != nil {
			return err
		}
	}
	return k.fragment("queue/messages", list)
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

// redrive moves a dead-letter queue's messages back to where they came from.
func (k *call) redrive() error {
	u, err := k.queueURL()
	if err != nil {
		return err
	}
	q, err := k.queue(u)
	if err != nil {
		return err
	}
	in := map[string]any{"SourceArn": q.Arn}
	if err := k.api.Operation(k.ctx(), client.Queues, "StartMessageMoveTask", in, nil); err != nil {
		return err
	}
	return k.fragment("notice", notice{Text: "The messages go back to the queue they came from."})
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
