package wire

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// canonical builds the canonical request of Signature Version 4:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
type canonical struct {
	method string
	tail   []byte // all that follows the path
}

// newCanonical returns the canonical request but for its path. The payload is
// its hash, or a word that stands for it.
func newCanonical(r *http.Request, s *signature, query url.Values, payload string) *canonical {
	b := make([]byte, 0, 768)
	b = append(b, '\n')
	b = append(appendQuery(b, query, s.presigned), '\n')
	b = append(appendHeaders(b, r, s.headers), '\n')
	return &canonical{r.Method, append(b, payload...)}
}

// appendHash appends the hash of the request with one form of its path, in hex.
func (c *canonical) appendHash(b []byte, path string) []byte {
	text := make([]byte, 0, len(c.method)+1+len(path)+len(c.tail))
	text = append(append(text, c.method...), '\n')
	text = append(append(text, path...), c.tail...)
	sum := sha256.Sum256(text)
	return hex.AppendEncode(b, sum[:])
}

// canonicalPaths yields the forms that clients sign a path in, the likely one
// first: AWS's rule is to normalise and then to encode what was sent once more,
// but some SDKs don't normalise, and curl signs "f:live" as it is. That is taken of
// paths without an escape only: then it is no other path's right form. With raw the
// path is signed as it is sent, or as it should have been encoded.
func canonicalPaths(path string, raw bool) iter.Seq[string] {
	if path == "" {
		path = "/"
	}
	return func(yield func(string) bool) {
		if raw {
			_ = yield(path) && yield(encodeOnce(path))
			return
		}
		if !yield(encodePath(path)) {
			return
		}
		if normal := normalize(path); normal != path && !yield(encodePath(normal)) {
			return
		}
		if !strings.Contains(path, "%") && encodePath(path) != path {
			yield(path)
		}
	}
}

// encodeOnce encodes what a client should have encoded but sent as it was.
func encodeOnce(path string) string {
	if decoded, err := url.PathUnescape(path); err == nil {
		return encodePath(decoded)
	}
	return path
}

// normalize removes empty, "." and ".." segments.
func normalize(path string) string {
	if !strings.Contains(path, "//") && !strings.Contains(path, "/.") {
		return path
	}
	var out []string
	parts := strings.Split(path, "/")
	for _, p := range parts {
		switch p {
		case "", ".":
		case "..":
			out = out[:max(len(out)-1, 0)]
		default:
			out = append(out, p)
		}
	}
	normal := "/" + strings.Join(out, "/")
	if last := parts[len(parts)-1]; len(out) > 0 && (last == "" || last == "." || last == "..") {
		normal += "/"
	}
	return normal
}

const unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"

// escapeTable tells for each byte whether AWS's encoding leaves it.
var escapeTable = func() (t [256]bool) {
	for _, c := range []byte(unreserved) {
		t[c] = true
	}
	return t
}()

// appendEncoded appends s percent-encoded as AWS does, with also left as it is.
func appendEncoded(b []byte, s string, also byte) []byte {
	const hexUpper = "0123456789ABCDEF"
	for i := range len(s) {
		if c := s[i]; escapeTable[c] || c == also {
			b = append(b, c)
		} else {
			b = append(b, '%', hexUpper[c>>4], hexUpper[c&15])
		}
	}
	return b
}

func encodePath(path string) string {
	return string(appendEncoded(make([]byte, 0, len(path)+16), path, '/'))
}

// appendQuery appends the parameters encoded and sorted, without the signature
// of a presigned URL.
func appendQuery(b []byte, query url.Values, presigned bool) []byte {
	if len(query) == 0 {
		return b
	}
	type pair struct{ name, value string }
	pairs := make([]pair, 0, len(query))
	for k, values := range query {
		if presigned && k == presignedParam {
			continue
		}
		name := string(appendEncoded(nil, k, 0))
		for _, v := range values {
			pairs = append(pairs, pair{name, string(appendEncoded(nil, v, 0))})
		}
	}
	// Names first, then values: comparing "name=value" would sort "a=" after "a-b=".
	slices.SortFunc(pairs, func(a, b pair) int {
		return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.value, b.value))
	})
	for i, p := range pairs {
		if i > 0 {
			b = append(b, '&')
		}
		b = append(append(b, p.name...), '=')
		b = append(b, p.value...)
	}
	return b
}

// appendHeaders appends the signed headers with their values, an empty line,
// and their names.
func appendHeaders(b []byte, r *http.Request, names []string) []byte {
	for _, name := range names {
		b = append(append(b, name...), ':')
		switch name {
		case "host":
			b = append(b, r.Host...)
		case "content-length":
			b = strconv.AppendInt(b, r.ContentLength, 10)
		case "transfer-encoding":
			b = append(b, strings.Join(r.TransferEncoding, ",")...)
		default:
			for i, v := range r.Header.Values(name) {
				if i > 0 {
					b = append(b, ',')
				}
				b = appendCollapsed(b, v)
			}
		}
		b = append(b, '\n')
	}
	b = append(b, '\n')
	for i, name := range names {
		if i > 0 {
			b = append(b, ';')
		}
		b = append(b, name...)
	}
	return b
}

// appendCollapsed appends v trimmed, with runs of spaces made one.
func appendCollapsed(b []byte, v string) []byte {
	v = strings.TrimSpace(v)
	space := false
	for i := range len(v) {
		if v[i] == ' ' && space {
			continue
		}
		space = v[i] == ' '
		b = append(b, v[i])
	}
	return b
}
