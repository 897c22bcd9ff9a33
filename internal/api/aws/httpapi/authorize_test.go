package httpapi

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// issuer is an OpenID Connect issuer, with discovery and keys.
type issuer struct {
	*httptest.Server
	key      *rsa.PrivateKey
	keyID    atomic.Value // string
	keyReads atomic.Int32
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{key: key}
	i.keyID.Store("one")
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys", "authorization_endpoint": i.URL, "token_endpoint": i.URL, "id_token_signing_alg_values_supported": []string{"RS256"}})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		i.keyReads.Add(1)
		json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &i.key.PublicKey, KeyID: i.keyID.Load().(string), Algorithm: "RS256", Use: "sig"}}})
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

// token signs claims with what is changed of the usual ones.
func (i *issuer) token(t *testing.T, change map[string]any) string {
	t.Helper()
	claims := map[string]any{"iss": i.URL, "aud": "api", "sub": "ada", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(), "scope": "read write", "groups": []string{"a", "b"}}
	for k, v := range change {
		if claims[k] = v; v == nil {
			delete(claims, k)
		}
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: i.key}, (&jose.SignerOptions{}).WithHeader("kid", i.keyID.Load()))
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(s).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestJWTsAreCheckedAgainstTheIssuersKeys(t *testing.T) {
	i := newIssuer(t)
	r := newRig(t, functions{"echo": echo})
	j := &JWT{Issuer: i.URL, Audience: []string{"api", "other"}, Source: "$request.header.Authorization", Client: i.Client()}
	r.serve(t, DefaultStage,
		&Route{Key: "GET /open", Integration: to("echo", "2.0"), Authorizer: j.Route(nil)},
		&Route{Key: "GET /one", Integration: to("echo", "1.0"), Authorizer: j.Route([]string{"read"})},
		&Route{Key: "GET /admin", Integration: to("echo", "2.0"), Authorizer: j.Route([]string{"admin", "write"})},
		&Route{Key: "GET /root", Integration: to("echo", "2.0"), Authorizer: j.Route([]string{"root"})},
	)
	stranger := newIssuer(t)
	unsigned := strings.Split(i.token(t, nil), ".")
	for _, tc := range []struct {
		name, path, token string
		status            int
	}{
		{"right", "/open", "Bearer " + i.token(t, nil), 200},
		{"without a scheme", "/open", i.token(t, nil), 200},
		{"client_id for aud", "/open", "Bearer " + i.token(t, map[string]any{"aud": nil, "client_id": "other"}), 200},
		{"several audiences", "/open", "Bearer " + i.token(t, map[string]any{"aud": []string{"x", "api"}}), 200},
		{"with a scope", "/admin", "Bearer " + i.token(t, nil), 200},
		{"with scp", "/root", "Bearer " + i.token(t, map[string]any{"scope": nil, "scp": []string{"root"}}), 200},
		{"without the scope", "/root", "Bearer " + i.token(t, nil), 403},
		{"none", "/open", "", 401},
		{"no token at all", "/open", "Bearer x.y.z", 401},
		{"another audience", "/open", "Bearer " + i.token(t, map[string]any{"aud": "evil"}), 401},
		{"no audience", "/open", "Bearer " + i.token(t, map[string]any{"aud": nil}), 401},
		{"expired", "/open", "Bearer " + i.token(t, map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}), 401},
		{"not yet valid", "/open", "Bearer " + i.token(t, map[string]any{"nbf": time.Now().Add(time.Hour).Unix()}), 401},
		{"from the future", "/open", "Bearer " + i.token(t, map[string]any{"iat": time.Now().Add(time.Hour).Unix()}), 401},
		{"another issuer", "/open", "Bearer " + stranger.token(t, nil), 401},
		{"another issuer's key", "/open", "Bearer " + stranger.token(t, map[string]any{"iss": i.URL}), 401},
		{"without its signature", "/open", "Bearer " + unsigned[0] + "." + unsigned[1] + ".", 401},
		{"alg none", "/open", "Bearer eyJhbGciOiJub25lIn0." + unsigned[1] + ".", 401},
	} {
		w := r.get("abc", http.MethodGet, tc.path, "Authorization", tc.token)
		if w.Code != tc.status || w.Code == 401 && !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("%s: %d %s, want %d", tc.name, w.Code, w.Body, tc.status)
		}
	}
	e := event(t, r.get("abc", http.MethodGet, "/admin", "Authorization", "Bearer "+i.token(t, nil)))
	got, _ := json.Marshal(e["requestContext"].(map[string]any)["authorizer"])
	if s := string(got); !strings.Contains(s, `"groups":"[a b]"`) || !strings.Contains(s, `"sub":"ada"`) || !strings.Contains(s, `"scopes":["write"]`) {
		t.Errorf("authorizer %s", s)
	}
	e = map[string]any{}
	w := r.get("abc", http.MethodGet, "/one", "Authorization", "Bearer "+i.token(t, nil))
	if w.Code != http.StatusInternalServerError { // an event is no answer of format 1.0
		t.Errorf("%d %s", w.Code, w.Body)
	}

	reads := i.keyReads.Load()
	for range 5 {
		r.get("abc", http.MethodGet, "/open", "Authorization", "Bearer "+i.token(t, nil))
	}
	if n := i.keyReads.Load(); n != reads {
		t.Errorf("keys were read %d times for 5 tokens", n-reads)
	}
	i.keyID.Store("two") // the issuer turns to another key
	if w := r.get("abc", http.MethodGet, "/open", "Authorization", "Bearer "+i.token(t, nil)); w.Code != 200 {
		t.Errorf("a token with the issuer's new key: %d %s", w.Code, w.Body)
	}
}

func TestAnIssuerThatIsAwayLetsNobodyIn(t *testing.T) {
	r := newRig(t, functions{"echo": echo})
	j := &JWT{Issuer: "http://127.0.0.1:1", Audience: []string{"api"}, Source: "$request.header.Authorization", Client: &http.Client{Timeout: time.Second}}
	r.serve(t, DefaultStage, &Route{Key: "GET /x", Integration: to("echo", "2.0"), Authorizer: j.Route(nil)})
	for range 2 { // the second time without asking
		if w := r.get("abc", http.MethodGet, "/x", "Authorization", "Bearer x.y.z"); w.Code != http.StatusInternalServerError {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
}

func TestLambdaAuthorizersDecideAndAreRemembered(t *testing.T) {
	asked := 0
	r := newRig(t, functions{
		"echo": echo,
		"simple": func(e map[string]any) (any, error) {
			asked++
			key := e["identitySource"].([]any)[0]
			return map[string]any{"isAuthorized": key == "yes", "context": map[string]any{"who": key, "n": 3}}, nil
		},
		"policy": func(e map[string]any) (any, error) {
			arn := e["methodArn"].(string)
			token := e["authorizationToken"].(string)
			if token == "broken" {
				return map[string]any{"principalId": "x"}, nil
			}
			return map[string]any{"principalId": "ada", "context": map[string]any{"role": token}, "policyDocument": map[string]any{
				"Version": "2012-10-17",
				"Statement": []any{
					map[string]any{"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": []string{arn[:strings.LastIndex(arn, "/")] + "/*"}},
					map[string]any{"Action": "execute-api:*", "Effect": "Deny", "Resource": "arn:aws:execute-api:*:*:*/*/DELETE/*"},
				},
			}}, nil
		},
	})
	simple := &Lambda{Function: "simple", Format: "2.0", Simple: true, Sources: []IdentitySource{"$request.header.X-Key"}, TTL: time.Hour}
	policy := &Lambda{Function: "policy", Format: "1.0", Sources: []IdentitySource{"$request.querystring.token"}}
	broken := &Lambda{Function: "nosuch", Format: "2.0", Simple: true}
	r.serve(t, DefaultStage,
		&Route{Key: "GET /simple", Integration: to("echo", "2.0"), Authorizer: simple},
		&Route{Key: "ANY /policy/{x}", Integration: to("echo", "2.0"), Authorizer: policy},
		&Route{Key: "GET /broken", Integration: to("echo", "2.0"), Authorizer: broken},
	)
	for _, tc := range []struct {
		method, target, key string
		status              int
	}{
		{"GET", "/simple", "", 401},
		{"GET", "/simple", "no", 403},
		{"GET", "/simple", "yes", 200},
		{"GET", "/simple", "no", 403},
		{"GET", "/simple", "yes", 200},
		{"GET", "/policy/1?token=a", "", 200},
		{"DELETE", "/policy/1?token=a", "", 403},
		{"GET", "/policy/1", "", 401},
		{"GET", "/policy/1?token=broken", "", 500},
		{"GET", "/broken", "", 500},
	} {
		if w := r.get("abc", tc.method, tc.target, "X-Key", tc.key); w.Code != tc.status {
			t.Errorf("%s %s %s: %d %s, want %d", tc.method, tc.target, tc.key, w.Code, w.Body, tc.status)
		}
	}
	if asked != 2 {
		t.Errorf("asked %d times about 2 identities", asked)
	}
	e := event(t, r.get("abc", http.MethodGet, "/simple", "X-Key", "yes"))
	if got := fmt.Sprint(e["requestContext"].(map[string]any)["authorizer"]); got != "map[lambda:map[n:3 who:yes]]" {
		t.Errorf("authorizer %s", got)
	}
}

func TestPoliciesDenyBeforeTheyAllow(t *testing.T) {
	const arn = "arn:aws:execute-api:us-east-1:123456789012:abc/dev/GET/pets/1"
	for doc, want := range map[string]bool{
		`{"Statement": [{"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "` + arn + `"}]}`:                                                                  true,
		`{"Statement": {"Effect": "Allow", "Action": ["x", "EXECUTE-API:invoke"], "Resource": ["x", "arn:aws:execute-api:*:*:abc/*/GET/*"]}}`:                              true,
		`{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}`:                                                                                             true,
		`{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "arn:aws:execute-api:us-east-1:123456789012:abc/dev/GET/pets/?"}]}`:                                 true,
		`{"Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}, {"Effect": "Allow", "Action": "*", "Resource": "*"}]}`:                                         false,
		`{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}]}`:                                 false,
		`{"Statement": [{"Effect": "Allow", "Action": "execute-api:ManageConnections", "Resource": "*"}]}`:                                                                 false,
		`{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "arn:aws:execute-api:us-east-1:123456789012:abc/dev/POST/*"}]}`:                                     false,
		`{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "` + arn + `"}, {"Effect": "Deny", "Action": "*", "Resource": "*/pets/*", "Condition": {"a": 1}}]}`: false,
		`{}`: false,
	} {
		var p policy
		if err := json.Unmarshal([]byte(doc), &p); err != nil {
			t.Errorf("%s: %v", doc, err)
			continue
		}
		if got := p.allows("execute-api:Invoke", arn); got != want {
			t.Errorf("%s: %v", doc, got)
		}
	}
	if glob(strings.Repeat("*a", 1000), strings.Repeat("a", 5000)+"b") { // would take for ever by backtracking
		t.Error("matches")
	}
}
