package endpoint

import (
	"io"
	"net/http"
	"time"
)

// bodyPatience is how long a client may send nothing while its body is awaited. A
// body that comes slowly but steadily has no limit of time.
const bodyPatience = 30 * time.Second

// BoundBody has a request fail to read its body when the client stops sending it.
func BoundBody(w http.ResponseWriter, r *http.Request) {
	if r.Body == nil || r.Body == http.NoBody {
		return
	}
	r.Body = &boundBody{ReadCloser: r.Body, control: http.NewResponseController(w)}
}

type boundBody struct {
	io.ReadCloser
	control *http.ResponseController
}

// Read implements io.Reader.
func (b *boundBody) Read(p []byte) (int, error) {
	b.control.SetReadDeadline(time.Now().Add(bodyPatience)) // not every server has deadlines
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}
