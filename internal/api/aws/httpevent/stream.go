package httpevent

import (
	"bytes"
	"errors"
	"net/http"
)

// Prelude is the content type of a streamed answer that begins with its status and
// headers, in JSON, and eight NUL bytes.
const Prelude = "application/vnd.awslambda.http-integration-response"

// maxPrelude bounds the JSON before the body in bytes.
const maxPrelude = 64 << 10

var preludeEnd = make([]byte, 8)

// Stream sends a function's answer to a client while it is written.
type Stream struct {
	w       http.ResponseWriter
	flush   *http.ResponseController
	content string
	finish  func(http.Header) // sees the header before it is sent

	prelude []byte // of an answer that has one, while it is not whole
	waiting bool   // for the end of the prelude
	sent    bool   // the head is
}

// NewStream returns a Stream to w. content is the type of an answer that names
// none; finish may change the header of the answer before it is sent.
func NewStream(w http.ResponseWriter, content string, finish func(http.Header)) *Stream {
	return &Stream{w: w, flush: http.NewResponseController(w), content: content, finish: finish}
}

// Sent reports whether the client has the status and headers of an answer.
func (s *Stream) Sent() bool { return s.sent }

// Begin starts the answer: contentType is the Runtime API's.
func (s *Stream) Begin(contentType string) error {
	if contentType == Prelude {
		s.waiting = true
		return nil
	}
	if contentType == "" {
		contentType = s.content
	}
	return s.head(&Answer{Status: http.StatusOK, Header: http.Header{"Content-Type": {contentType}}})
}

func (s *Stream) head(a *Answer) error {
	s.finish(a.Header)
	a.sendHead(s.w)
	s.sent = true
	return s.flush.Flush()
}

// Write passes a part of the answer on at once.
func (s *Stream) Write(p []byte) (int, error) {
	n := len(p)
	if s.waiting {
		s.prelude = append(s.prelude, p...)
		i := bytes.Index(s.prelude, preludeEnd)
		if i < 0 {
			if len(s.prelude) > maxPrelude {
				return 0, errors.New("the metadata of a streamed answer does not end")
			}
			return n, nil
		}
		a, err := ParsePrelude(s.prelude[:i], s.content)
		if err != nil {
			return 0, err
		}
		p = s.prelude[i+len(preludeEnd):]
		s.waiting, s.prelude = false, nil
		if err := s.head(a); err != nil {
			return 0, err
		}
	}
	if len(p) == 0 {
		return n, nil
	}
	if _, err := s.w.Write(p); err != nil {
		return 0, err
	}
	return n, s.flush.Flush()
}
