package arn

import "strings"

// Queue names a queue.
type Queue struct {
	Region  string
	Account string // 12 digits
	Name    string
}

// String returns the full ARN.
func (q Queue) String() string {
	return "arn:" + Partition + ":sqs:" + q.Region + ":" + q.Account + ":" + q.Name
}

// ParseQueue reads the ARN of a queue. ok is false for anything else.
func ParseQueue(s string) (q Queue, ok bool) {
	p := strings.Split(s, ":")
	if len(p) != 6 || p[0] != "arn" || !strings.HasPrefix(p[1], Partition) || p[2] != "sqs" || p[3] == "" || p[5] == "" || !accountRE.MatchString(p[4]) {
		return Queue{}, false
	}
	return Queue{Region: p[3], Account: p[4], Name: p[5]}, true
}
