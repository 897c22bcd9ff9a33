package admin

import (
	"encoding/json"
	"net/http"

	"github.com/mayfly-dev/mayfly/internal/errs"
	"github.com/mayfly-dev/mayfly/internal/function"
	"github.com/mayfly-dev/mayfly/internal/replay"
)

// Recordings is the answer of GET recordings: without bodies, newest first.
type Recordings struct {
	Recordings []replay.Recording `json:"recordings"`
}

// recordingRoutes are the calls about kept events and answers.
//
//	GET    recording/{function}     the function's settings (replay.Settings)
//	PUT    recording/{function}     change them
//	DELETE recording/{function}     keep nothing more
//	GET    recordings?function=     what was kept (Recordings)
//	GET    recordings/{id}          one, with its bodies (replay.Recording)
//	POST   recordings/{id}/replay   {"version": QUALIFIER}: run it again (replay.Replayed)
func (d *door) recordingRoutes() map[string]handler {
	return map[string]handler{
		"GET recording/{function}":    d.recordingSettings,
		"PUT recording/{function}":    d.setRecording,
		"DELETE recording/{function}": d.endRecording,
		"GET recordings":              d.recordings,
		"GET recordings/{id}":         d.recording,
		"POST recordings/{id}/replay": d.replay,
	}
}

func (d *door) recordingSettings(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("function")
	set := d.Replay.Settings(name)
	if set == nil {
		return errs.Newf(errs.NotFound, "the calls of %s are not recorded", name)
	}
	return write(w, set)
}

func (d *door) setRecording(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("function")
	if _, err := d.Functions.Get(name, function.Latest); err != nil {
		return err
	}
	var set replay.Settings
	if err := read(r, &set); err != nil {
		return err
	}
	if err := d.Replay.Set(name, &set); err != nil {
		return err
	}
	return write(w, set)
}

func (d *door) endRecording(w http.ResponseWriter, r *http.Request) error {
	if err := d.Replay.Set(r.PathValue("function"), nil); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (d *door) recordings(w http.ResponseWriter, r *http.Request) error {
	if err := only(r, "function"); err != nil {
		return err
	}
	list, err := d.Replay.List(r.FormValue("function"), maxRecordings)
	if err != nil {
		return err
	}
	return write(w, Recordings{append([]replay.Recording{}, list...)})
}

const maxRecordings = 200

func (d *door) recording(w http.ResponseWriter, r *http.Request) error {
	rec, err := d.Replay.Get(r.PathValue("id"))
	if err != nil {
		return err
	}
	return write(w, rec)
}

func (d *door) replay(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Version string `json:"version"`
	}
	if err := read(r, &in); err != nil {
		return err
	}
	res, err := d.Replay.Replay(r.Context(), d.Invoker, r.PathValue("id"), in.Version)
	if err != nil {
		return err
	}
	return write(w, res)
}

// read decodes a request's body, and refuses what it does not know.
func read(r *http.Request, v any) error {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return errs.Newf(errs.Invalid, "the request's body is not what this call takes: %w", err)
	}
	return nil
}
