package node

import (
	"maps"
	"slices"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/access"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
)

// ofFunctions are the operations that the key of a function is good for: it uses
// what there is, and changes neither functions nor the node. What it may do with
// objects is said by the front of the object store.
var ofFunctions = map[string][]string{
	"lambda": {"Invoke", "InvokeAsync", "InvokeWithResponseStream"},
	"sqs": {
		"SendMessage", "SendMessageBatch", "ReceiveMessage", "DeleteMessage", "DeleteMessageBatch",
		"ChangeMessageVisibility", "ChangeMessageVisibilityBatch", "GetQueueUrl", "GetQueueAttributes", "ListQueues",
	},
	"events": {"PutEvents"},
	"logs":   {"CreateLogStream", "PutLogEvents", "DescribeLogGroups", "DescribeLogStreams", "GetLogEvents", "FilterLogEvents"},
	"sts":    {"GetCallerIdentity"},
}

// servicesOfFunctions returns what requests with the key of a function are signed for.
func servicesOfFunctions() []string {
	return append(slices.Sorted(maps.Keys(ofFunctions)), "execute-api", "s3")
}

// permits says what callers of the API may do: the owner all, functions what
// ofFunctions lists.
func permits(c wire.Caller, operation string) bool {
	return !strings.HasPrefix(c.Principal, access.FunctionPrefix) || slices.Contains(ofFunctions[c.Service], operation)
}
