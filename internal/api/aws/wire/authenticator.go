package wire

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// Credentials knows the access keys that may sign requests. Methods are called
// on the path of every request, by many goroutines.
type Credentials interface {
	// Secret returns the secret that belongs to an access key and the name of
	// who holds it. An unknown key is an error of kind errs.NotFound.
	Secret(ctx context.Context, accessKeyID string) (secret, principal string, err error)
}

// SessionCredentials are Credentials that hand out temporary keys, which come
// with a session token. Requests with a token are refused by any others.
type SessionCredentials interface {
	Credentials
	// SessionSecret is Secret for a request with a token. A token that has expired
	// is an error of kind errs.Denied; one that is not the access key's, or any for
	// a key that needs none, of kind errs.NotFound. Secret knows no key that does.
	SessionSecret(ctx context.Context, accessKeyID, token string) (secret, principal string, err error)
}

// Caller is who signed a request.
type Caller struct {
	AccessKeyID string
	Principal   string // as Credentials names them
	Region      string // of the credential scope
	Service     string // of the credential scope
}

// Authenticator verifies Signature Version 4. It is safe for use by many
// goroutines, and one is shared by all doors of a node.
type Authenticator struct {
	credentials Credentials
	keys        keyCache
}

// NewAuthenticator returns an Authenticator for requests signed with the
// credentials.
func NewAuthenticator(c Credentials) *Authenticator {
	return &Authenticator{credentials: c, keys: keyCache{keys: map[scopeKey]signingKey{}}}
}

// attempt is a request that claims to be signed, on the way to being believed.
type attempt struct {
	*signature
	caller Caller
	key    []byte // derived signing key
	http   *http.Request
	path   string // as sent, escaped
	query  url.Values
}

// begin reads a request's signature and checks all of it that does not need
// the body: the key is known, its token right, the time near enough.
func (a *Authenticator) begin(r *http.Request, sig *signature, path string, query url.Values) (*attempt, error) {
	ctx := r.Context()
	secret, principal, err := a.secret(ctx, sig)
	switch {
	case errs.Is(err, errs.Denied):
		return nil, refuse("ExpiredTokenException", "The security token included in the request is expired")
	case errs.Is(err, errs.NotFound):
		return nil, refuse("UnrecognizedClientException", "The security token included in the request is invalid.")
	case err != nil:
		return nil, err
	}
	if e := sig.checkTime(time.Now()); e != nil {
		return nil, e
	}
	if name := unsignedHeader(r.Header, sig.headers); name != "" {
		return nil, refuse("InvalidSignatureException", "There were headers present in the request which were not signed: "+printable(name))
	}
	return &attempt{
		signature: sig, http: r, path: path, query: query,
		key:    a.keys.get(sig, secret),
		caller: Caller{AccessKeyID: sig.accessKey, Principal: principal, Region: sig.region, Service: sig.service},
	}, nil
}

func (a *Authenticator) secret(ctx context.Context, sig *signature) (secret, principal string, err error) {
	if sig.token == "" {
		return a.credentials.Secret(ctx, sig.accessKey)
	}
	if sessions, ok := a.credentials.(SessionCredentials); ok {
		return sessions.SessionSecret(ctx, sig.accessKey, sig.token)
	}
	return "", "", errs.Newf(errs.NotFound, "there are no temporary keys")
}

// unsignedHeader returns the name of an X-Amz header that is not signed, or
// "". What is not signed could have been added on the way.
func unsignedHeader(h http.Header, signed []string) string {
next:
	for name := range h {
		if !strings.HasPrefix(name, "X-Amz-") || name == "X-Amz-Content-Sha256" {
			continue
		}
		for _, s := range signed {
			if strings.EqualFold(name, s) {
				continue next
			}
		}
		return name
	}
	return ""
}

// verify checks the signature against the hash of the payload (lower-case hex,
// or a word that stands for it).
func (t *attempt) verify(payload string, rules SigningRules) *Error {
	c := newCanonical(t.http, t.signature, t.query, payload)
	head := algorithm + "\n" + t.stamp + "\n" + t.scope() + "\n"
	for path := range canonicalPaths(t.path, rules.RawPath) {
		if hmac.Equal(hmacSHA256(t.key, c.appendHash([]byte(head), path)), t.value) {
			return nil
		}
	}
	return refuse("InvalidSignatureException", "The request signature we calculated does not match the signature you provided. "+
		"Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
}

func hmacSHA256(key, data []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(data)
	return h.Sum(nil)
}

func hexSHA256(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// keyCache keeps derived signing keys: deriving one takes four HMACs, and a
// client uses the same one all day.
type keyCache struct {
	mu   sync.RWMutex
	keys map[scopeKey]signingKey // guarded by mu
}

// maxKeys bounds the cache. Regions are chosen by clients.
const maxKeys = 1024

type scopeKey struct{ accessKey, date, region, service string }

type signingKey struct {
	secret string // that the key was derived from
	key    []byte
}

// get returns the signing key for a scope and secret. A secret that has changed
// is noticed.
func (c *keyCache) get(s *signature, secret string) []byte {
	k := scopeKey{s.accessKey, s.date, s.region, s.service}
	c.mu.RLock()
	have, ok := c.keys[k]
	c.mu.RUnlock()
	if ok && have.secret == secret {
		return have.key
	}
	key := SigningKey(secret, s.date, s.region, s.service)
	// The strings are parts of a request's headers: copies let go of the rest.
	k = scopeKey{strings.Clone(k.accessKey), strings.Clone(k.date), strings.Clone(k.region), strings.Clone(k.service)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.keys) >= maxKeys {
		clear(c.keys)
	}
	c.keys[k] = signingKey{secret, key}
	return key
}

// SigningKey derives the key that signs requests of one day (yyyymmdd) to a
// service in a region.
func SigningKey(secret, date, region, service string) []byte {
	key := []byte("AWS4" + secret)
	for _, part := range []string{date, region, service, scopeEnd} {
		key = hmacSHA256(key, []byte(part))
	}
	return key
}
