package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// JWT lets in who brings a token of an OpenID Connect issuer. The issuer's keys
// are found by discovery at the first token, and kept; a token with an unknown key
// has them read anew. It is safe for concurrent use.
type JWT struct {
	Issuer   string
	Audience []string
	Source   IdentitySource
	Client   *http.Client

	mu       sync.Mutex
	verifier *oidc.IDTokenVerifier // guarded by mu; nil until discovery has worked
	failed   time.Time             // guarded by mu: the last discovery that failed
}

// discoveryPause is how long a failed discovery is not repeated.
const discoveryPause = time.Second

// Route returns the authorizer of a route that wants one of the scopes, if there
// are any.
func (j *JWT) Route(scopes []string) Authorizer { return scoped{j, scopes} }

type scoped struct {
	*JWT
	scopes []string
}

func (a scoped) authorize(x *exchange) bool {
	token := a.Source.of(x)
	if scheme, rest, ok := strings.Cut(token, " "); ok && strings.EqualFold(scheme, "Bearer") {
		token = rest
	}
	if token == "" {
		return a.challenge(x, "", "no token")
	}
	verifier, err := a.verify()
	if err != nil {
		x.s.o.Log.Warn("an authorizer can't reach its issuer", "api", x.api.ID, "issuer", a.Issuer, "err", err)
		x.denied = err.Error()
		x.fail(http.StatusInternalServerError, "Internal Server Error")
		return false
	}
	t, err := verifier.Verify(oidc.ClientContext(x.r.Context(), a.Client), token)
	if err != nil {
		return a.challenge(x, "invalid_token", err.Error())
	}
	claims, err := readClaims(t)
	if err != nil {
		return a.challenge(x, "invalid_token", err.Error())
	}
	if why := a.refuse(claims); why != "" {
		return a.challenge(x, "invalid_token", why)
	}
	granted := grantedScopes(claims, a.scopes)
	if len(a.scopes) > 0 && len(granted) == 0 {
		x.w.Header().Set("WWW-Authenticate", `Bearer scope="`+strings.Join(a.scopes, " ")+`" error="insufficient_scope"`)
		return x.forbidden("insufficient_scope")
	}
	shown := make(map[string]string, len(claims))
	x.principal = make(map[string]string, len(claims))
	for name, v := range claims {
		shown[name] = text(v)
		x.principal["claims."+name] = shown[name]
	}
	var scopes any // null, if the route wants none
	if len(a.scopes) > 0 {
		scopes = granted
	}
	x.event.Authorizer = map[string]any{"jwt": map[string]any{"claims": shown, "scopes": scopes}}
	x.event.Authorizer1 = map[string]any{"claims": shown, "scopes": scopes}
	return true
}

func (a scoped) challenge(x *exchange, code, why string) bool {
	value := "Bearer"
	if code != "" {
		value = fmt.Sprintf(`Bearer error=%q error_description="the token is not valid"`, code)
	}
	x.w.Header().Set("WWW-Authenticate", value)
	return x.unauthorized(why)
}

// verify returns what checks tokens.
func (j *JWT) verify() (*oidc.IDTokenVerifier, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.verifier != nil {
		return j.verifier, nil
	}
	if time.Since(j.failed) < discoveryPause {
		return nil, fmt.Errorf("discovery at %s has just failed", j.Issuer)
	}
	// The provider reads keys as long as it lives: no request may end that.
	p, err := oidc.NewProvider(oidc.ClientContext(context.Background(), j.Client), j.Issuer)
	if err != nil {
		j.failed = time.Now()
		return nil, fmt.Errorf("discovery at %s: %w", j.Issuer, err)
	}
	j.verifier = p.Verifier(&oidc.Config{
		SkipClientIDCheck:    true, // refuse checks it: access tokens may have client_id alone
		SupportedSigningAlgs: []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA},
	})
	return j.verifier, nil
}

func readClaims(t *oidc.IDToken) (map[string]any, error) {
	var raw json.RawMessage
	if err := t.Claims(&raw); err != nil {
		return nil, err
	}
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	var claims map[string]any
	return claims, d.Decode(&claims)
}

// refuse says what is wrong with the claims of a token whose signature, issuer and
// end are right.
func (j *JWT) refuse(claims map[string]any) string {
	audience := list(claims["aud"])
	if claims["aud"] == nil {
		audience = list(claims["client_id"])
	}
	if len(j.Audience) > 0 && !slices.ContainsFunc(audience, func(a string) bool { return slices.Contains(j.Audience, a) }) {
		return "the token is for another audience"
	}
	if n, ok := claims["iat"].(json.Number); ok {
		if at, err := n.Float64(); err == nil && at > float64(time.Now().Add(time.Minute).Unix()) {
			return "the token was issued in the future"
		}
	}
	return ""
}

// grantedScopes returns those of the wanted scopes that a token has.
func grantedScopes(claims map[string]any, wanted []string) []string {
	has := append(strings.Fields(strings.Join(list(claims["scope"]), " ")), strings.Fields(strings.Join(list(claims["scp"]), " "))...)
	return slices.DeleteFunc(slices.Clone(wanted), func(w string) bool { return !slices.Contains(has, w) })
}

// list returns a claim that may be one string or several.
func list(claim any) []string {
	switch c := claim.(type) {
	case string:
		return []string{c}
	case []any:
		var all []string
		for _, e := range c {
			if s, ok := e.(string); ok {
				all = append(all, s)
			}
		}
		return all
	}
	return nil
}
