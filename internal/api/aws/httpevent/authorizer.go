package httpevent

import (
	"encoding/json"
	"strings"
)

// AuthorizerV2 returns the event in which an authorizer of format 2.0 is asked
// about the request. route is the ARN of the route, identity the values of its
// identity sources.
func (q *Request) AuthorizerV2(route string, identity []string) ([]byte, error) {
	e := q.event2()
	e.Type, e.RouteARN, e.Identity = "REQUEST", route, identity
	return json.Marshal(e)
}

// AuthorizerV1 is AuthorizerV2 for format 1.0.
func (q *Request) AuthorizerV1(route string, identity []string) ([]byte, error) {
	e := q.event1()
	all := strings.Join(identity, ",")
	e.Type, e.MethodARN, e.IdentitySource, e.Token = "REQUEST", route, all, all
	return json.Marshal(e)
}
