package httpevent

import "net/http"

// Finish returns a writer that lets finish change the header of an answer right
// before it is sent, when all of it is known.
func Finish(w http.ResponseWriter, finish func(http.Header)) http.ResponseWriter {
	return &finisher{ResponseWriter: w, finish: finish}
}

type finisher struct {
	http.ResponseWriter
	finish func(http.Header)
	done   bool
}

// WriteHeader implements http.ResponseWriter.
func (f *finisher) WriteHeader(status int) {
	if !f.done && status >= 200 {
		f.done = true
		f.finish(f.Header())
	}
	f.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (f *finisher) Write(b []byte) (int, error) {
	if !f.done {
		f.WriteHeader(http.StatusOK)
	}
	return f.ResponseWriter.Write(b)
}

// Unwrap gives an http.ResponseController what flushes and hijacks.
func (f *finisher) Unwrap() http.ResponseWriter { return f.ResponseWriter }
