package lambda

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/function"
)

// CodePath begins the paths of code packages, which CodeHandler serves. It
// can't be the beginning of a path of Lambda's API.
const CodePath = "/_mayfly/code/"

// codeLifetime is how long the address of a code package works, as in Lambda.
const codeLifetime = 10 * time.Minute

// codeURL returns the address from which v's code package can be downloaded
// without further credentials for codeLifetime.
func (d *Door) codeURL(ctx context.Context, v *function.Version) string {
	expires := strconv.FormatInt(time.Now().Add(codeLifetime).Unix(), 10)
	scheme, host := baseURL(ctx)
	u := url.URL{
		Scheme: scheme, Host: host, Path: CodePath + v.Code.SHA256 + ".zip",
		RawQuery: url.Values{"expires": {expires}, "signature": {d.codeSignature(v.Code.SHA256, expires)}}.Encode(),
	}
	return u.String()
}

func (d *Door) codeSignature(sum, expires string) string {
	h := hmac.New(sha256.New, d.codeKey[:])
	fmt.Fprintf(h, "%s\n%s", sum, expires)
	return hex.EncodeToString(h.Sum(nil))
}

// CodeHandler serves code packages at the addresses that GetFunction gives,
// which carry their own proof. It is to be reached under CodePath.
func (d *Door) CodeHandler() http.Handler { return http.HandlerFunc(d.serveCode) }

func (d *Door) serveCode(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "Code packages can only be read.", http.StatusMethodNotAllowed)
		return
	}
	sum, zip := strings.CutSuffix(path.Base(r.URL.Path), ".zip")
	q := r.URL.Query()
	expires, signature := q.Get("expires"), q.Get("signature")
	if !zip || !hmac.Equal([]byte(signature), []byte(d.codeSignature(sum, expires))) {
		http.Error(w, "This is not an address that GetFunction gave since the node was started.", http.StatusForbidden)
		return
	}
	// What is signed is a number.
	if at, err := strconv.ParseInt(expires, 10, 64); err != nil || time.Now().After(time.Unix(at, 0)) {
		http.Error(w, "This address has expired: call GetFunction again.", http.StatusForbidden)
		return
	}
	f, err := d.o.Functions.OpenCode(r.Context(), function.Code{SHA256: sum})
	switch {
	case errs.Is(err, errs.NotFound):
		http.Error(w, "This code package no longer exists: call GetFunction again.", http.StatusNotFound)
		return
	case err != nil:
		d.o.Log.Error("a code package can't be read", "package", sum, "err", err)
		http.Error(w, "The code package can't be read now.", http.StatusInternalServerError)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/zip")
	w.Header().Set("Cache-Control", "private, no-store")
	http.ServeContent(w, r, "", time.Time{}, f)
}
