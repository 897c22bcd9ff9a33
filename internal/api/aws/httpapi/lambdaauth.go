package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/mayfly-dev/mayfly/internal/invoke"
)

// Lambda lets a function decide. It is safe for concurrent use.
type Lambda struct {
	Function  string
	Qualifier string
	Invoked   string // the function's ARN, as it was configured
	Format    string // of payloads: "1.0" or "2.0"
	Simple    bool   // it answers isAuthorized, not a policy
	Sources   []IdentitySource
	TTL       time.Duration // how long an answer counts for its identity; 0 asks each time

	mu      sync.Mutex
	answers map[string]verdict // guarded by mu
}

// maxAnswers bounds what is kept of an authorizer's answers.
const maxAnswers = 10000

// authorizerTimeout is how long an authorizer may take.
const authorizerTimeout = 10 * time.Second

// verdict is an authorizer's answer.
type verdict struct {
	until  time.Time
	simple *bool
	policy *policy
	who    string
	facts  map[string]any // the answer's context
}

func (a *Lambda) authorize(x *exchange) bool {
	identity := make([]string, 0, len(a.Sources))
	for _, s := range a.Sources {
		v := s.of(x)
		if v == "" {
			return x.unauthorized("the identity source " + string(s) + " is missing")
		}
		identity = append(identity, v)
	}
	route := x.routeARN()
	v, err := a.ask(x, route, identity)
	if err != nil {
		x.denied = err.Error()
		x.s.o.Log.Warn("an authorizer failed", "api", x.api.ID, "function", a.Function, "request", x.id, "err", err)
		x.fail(http.StatusInternalServerError, "Internal Server Error")
		return false
	}
	if v.simple != nil && !*v.simple || v.simple == nil && !v.policy.allows("execute-api:Invoke", route) {
		return x.forbidden("denied by the authorizer")
	}
	x.principal = map[string]string{}
	facts1 := map[string]any{}
	for name, value := range v.facts {
		x.principal[name] = text(value)
		facts1[name] = value
	}
	if v.who != "" {
		x.principal["principalId"], facts1["principalId"] = v.who, v.who
	}
	x.event.Authorizer = map[string]any{"lambda": v.facts}
	x.event.Authorizer1 = facts1
	return true
}

// routeARN names what is asked for, as policies do.
func (x *exchange) routeARN() string {
	path := strings.TrimPrefix(x.event.Path, "/")
	if x.stage.Name != DefaultStage {
		path = strings.TrimPrefix(strings.TrimPrefix(path, x.stage.Name), "/")
	}
	return "arn:aws:execute-api:" + x.s.o.Region + ":" + x.s.o.Account + ":" + x.api.ID + "/" + x.stage.Name + "/" + x.r.Method + "/" + path
}

// ask returns the function's verdict, or the one it gave before.
func (a *Lambda) ask(x *exchange, route string, identity []string) (verdict, error) {
	key := ""
	if a.TTL > 0 && len(identity) > 0 {
		key = strings.Join(identity, "\x00")
		a.mu.Lock()
		v, ok := a.answers[key]
		a.mu.Unlock()
		if ok && time.Now().Before(v.until) {
			return v, nil
		}
	}
	event, err := x.event.AuthorizerV2(route, identity)
	if a.Format == "1.0" {
		event, err = x.event.AuthorizerV1(route, identity)
	}
	if err != nil {
		return verdict{}, err
	}
	res, err := x.call(authorizerTimeout, invoke.Request{
		RequestID: uuid.NewString(), Function: a.Function, Qualifier: a.Qualifier, InvokedName: a.Invoked, Payload: event, TraceID: x.event.TraceID,
	})
	if err != nil {
		return verdict{}, err
	}
	if res.FunctionError != "" {
		return verdict{}, fmt.Errorf("the function failed")
	}
	v, err := a.read(res.Payload)
	if err == nil && key != "" {
		a.keep(key, v)
	}
	return v, err
}

func (a *Lambda) keep(key string, v verdict) {
	v.until = time.Now().Add(a.TTL)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.answers == nil || len(a.answers) >= maxAnswers {
		a.answers = map[string]verdict{}
	}
	a.answers[key] = v
}

func (a *Lambda) read(payload []byte) (verdict, error) {
	var answer struct {
		IsAuthorized *bool           `json:"isAuthorized"`
		PrincipalID  json.RawMessage `json:"principalId"`
		Policy       *policy         `json:"policyDocument"`
		Context      map[string]any  `json:"context"`
	}
	if err := json.Unmarshal(payload, &answer); err != nil {
		return verdict{}, fmt.Errorf("the answer is not JSON in an authorizer's form: %w", err)
	}
	v := verdict{facts: answer.Context}
	switch {
	case a.Simple && answer.IsAuthorized != nil:
		v.simple = answer.IsAuthorized
	case !a.Simple && answer.Policy != nil:
		v.policy = answer.Policy
		var who any
		if json.Unmarshal(answer.PrincipalID, &who) == nil && who != nil {
			v.who = text(who)
		}
	case a.Simple:
		return v, fmt.Errorf("the answer has no isAuthorized")
	default:
		return v, fmt.Errorf("the answer has no policyDocument")
	}
	return v, nil
}
