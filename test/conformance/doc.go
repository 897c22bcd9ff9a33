// Package conformance drives a whole node with the clients that people have:
// the AWS CLI, boto3, and the AWS SDKs for Go and JavaScript, unmodified.
//
// The Go SDK and raw signed requests are always run. A client that is not
// installed is skipped with the command that installs it; make test installs
// them all.
package conformance
