package httpapi

import (
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"

	"github.com/mayfly-dev/mayfly/internal/api/aws/httpevent"
	"github.com/mayfly-dev/mayfly/internal/invoke"
)

// serveWeb passes the request to a function that is a web server as it is, with
// the path that an event would show. Its own time limit holds, not the
// integration's: an answer may be a stream.
func (x *exchange) serveWeb() {
	i := &x.route.Integration
	req := x.r.Clone(x.r.Context())
	if x.event.Body != nil { // it has been read
		req.Body, req.ContentLength = newBody(x.event.Body), int64(len(x.event.Body))
	}
	path, err := url.PathUnescape(x.event.Path)
	if err != nil {
		x.fail(http.StatusBadRequest, "Bad Request")
		return
	}
	req.URL.Path, req.URL.RawPath = path, x.event.Path
	began := time.Now()
	w := httpevent.Finish(x.w, x.finish)
	err = x.s.o.Invoker.ServeWeb(w, req, invoke.Request{RequestID: uuid.NewString(), Function: i.Function, Qualifier: i.Qualifier, InvokedName: i.Invoked})
	x.took = time.Since(began)
	if err != nil {
		x.refuse(err)
		return
	}
	x.status = x.w.status
}
