package wire

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// canonical builds the canonical request of Signature Version 4:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
type canonical struct {
	http    *http.Request
	query   string // canonical form
	headers string // canonical form, with its empty line and the list of names
	payload string // hash of the payload, or a word that stands for it
}

func newCanonical(r *http.Request, s *signature, query url.Values, payload string) *canonical {
	return &canonical{http: r, query: canonicalQuery(query, s.presigned), headers: canonicalHeaders(r, s.headers), payload: payload}
}

// hash returns the hash of the canonical request for one form of the path.
func (c *canonical) hash(path string) string {
	b := make([]byte, 0, 512)
	b = append(append(b, c.http.Method...), '\n')
	b = append(append(b, path...), '\n')
	b = append(append(b, c.query...), '\n')
	b = append(append(b, c.headers...), '\n')
	b = append(b, c.payload...)
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// canonicalPaths returns the forms that clients sign a path in, the likely one
// first: AWS's rule is to normalise and then to encode what was sent once more,
// but some SDKs don't normalise. With raw the path is signed as it is sent, or
// as it should have been encoded.
func canonicalPaths(path string, raw bool) []string {
	if path == "" {
		path = "/"
	}
	first, second := path, encodeOnce(path)
	if !raw {
		first, second = encodePath(path), encodePath(normalize(path))
	}
	if first == second {
		return []string{first}
	}
	return []string{first, second}
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

// canonicalQuery returns the parameters encoded and sorted, without the
// signature of a presigned URL.
func canonicalQuery(query url.Values, presigned bool) string {
	if len(query) == 0 {
		return ""
	}
	pairs := make([][2]string, 0, len(query))
	for k, values := range query {
		if presigned && k == presignedParam {
			continue
		}
		name := string(appendEncoded(nil, k, 0))
		for _, v := range values {
			pairs = append(pairs, [2]string{name, string(appendEncoded(nil, v, 0))})
		}
	}
	// Names first, then values: comparing "name=value" would sort "a=" after "a-b=".
	slices.SortFunc(pairs, func(a, b [2]string) int {
		if c := strings.Compare(a[0], b[0]); c != 0 {
			return c
		}
		return strings.Compare(a[1], b[1])
	})
	var b strings.Builder
	for i, p := range pairs {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p[0])
		b.WriteByte('=')
		b.WriteString(p[1])
	}
	return b.String()
}

// canonicalHeaders returns the signed headers with their values, an empty
// line, and their names.
func canonicalHeaders(r *http.Request, names []string) string {
	var b strings.Builder
	for _, name := range names {
		b.WriteString(name)
		b.WriteByte(':')
		switch name {
		case "host":
			b.WriteString(r.Host)
		case "content-length":
			b.WriteString(strconv.FormatInt(r.ContentLength, 10))
		case "transfer-encoding":
			b.WriteString(strings.Join(r.TransferEncoding, ","))
		default:
			for i, v := range r.Header.Values(name) {
				if i > 0 {
					b.WriteByte(',')
				}
				writeCollapsed(&b, v)
			}
		}
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	b.WriteString(strings.Join(names, ";"))
	return b.String()
}

// writeCollapsed writes v trimmed, with runs of spaces made one.
func writeCollapsed(b *strings.Builder, v string) {
	v = strings.TrimSpace(v)
	if !strings.Contains(v, "  ") {
		b.WriteString(v)
		return
	}
	space := false
	for i := range len(v) {
		if v[i] == ' ' && space {
			continue
		}
		space = v[i] == ' '
		b.WriteByte(v[i])
	}
}
