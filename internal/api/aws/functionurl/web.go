package functionurl

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"

	"github.com/mayfly-dev/mayfly/internal/api/aws/httpevent"
	"github.com/mayfly-dev/mayfly/internal/invoke"
)

// serveWeb passes the request on to a function that is a web server: as it is, but
// for the endpoint's part of the path. Only a URL that asks for signatures needs
// the body before.
func (x *exchange) serveWeb(path string) {
	q := &httpevent.Request{HTTP: x.r, Path: path, ID: x.id, Time: x.began}
	req := x.r.Clone(x.r.Context())
	if x.url.Signed {
		body, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, x.d.o.MaxBody))
		if large := new(http.MaxBytesError); errors.As(err, &large) {
			x.fail(http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException", x.tooLarge())
			return
		} else if err != nil {
			x.fail(http.StatusBadRequest, "BadRequestException", "The body could not be read.")
			return
		}
		if q.Body = body; !x.authenticate(q) {
			return
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	req.URL.RawPath = path
	var err error
	if req.URL.Path, err = url.PathUnescape(path); err != nil {
		x.fail(http.StatusBadRequest, "BadRequestException", "The path is not valid.")
		return
	}
	w := httpevent.Finish(x.w, x.finish)
	err = x.d.o.Invoker.ServeWeb(w, req, invoke.Request{RequestID: x.id, Function: x.url.Function, Qualifier: x.url.Qualifier})
	if err != nil {
		x.refuse(err)
	}
}
