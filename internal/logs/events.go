package logs

import (
	"encoding/json"
	"math"
	"time"
)

// eventTime is how platform events write when they happened.
const eventTime = "2006-01-02T15:04:05.000Z"

// event is a platform line of a log whose format is JSON. Their shapes are the
// field's own.
type event struct {
	Time   string `json:"time"`
	Type   string `json:"type"`
	Record any    `json:"record"`
}

func encodeEvent(at time.Time, kind string, record any) string {
	b, err := json.Marshal(event{at.UTC().Format(eventTime), "platform." + kind, record})
	if err != nil {
		panic("logs: an event always marshals: " + err.Error())
	}
	return string(b)
}

// StartEvent is StartLine in JSON.
func StartEvent(at time.Time, requestID, version string) string {
	return encodeEvent(at, "start", struct {
		RequestID string `json:"requestId"`
		Version   string `json:"version"`
	}{requestID, version})
}

// metrics are the figures of events. Times are in milliseconds.
type metrics struct {
	Duration      float64  `json:"durationMs"`
	Billed        int64    `json:"billedDurationMs,omitempty"`
	MemoryMB      int      `json:"memorySizeMB,omitempty"`
	PeakMB        int64    `json:"maxMemoryUsedMB,omitempty"`
	Init          float64  `json:"initDurationMs,omitempty"`
	Restore       float64  `json:"restoreDurationMs,omitempty"`
	BilledRestore int64    `json:"billedRestoreDurationMs,omitempty"`
	Produced      *float64 `json:"producedBytes,omitempty"`
}

// status is what an event says of how something went: "" of a Report is success.
func eventStatus(s string) string {
	if s == "" {
		return "success"
	}
	return s
}

// DoneEvent tells that the code has answered, or failed to. Text logs say it with
// their EndLine.
func DoneEvent(at time.Time, r Report, produced int) string {
	size := float64(produced)
	return encodeEvent(at, "runtimeDone", struct {
		RequestID string  `json:"requestId"`
		Status    string  `json:"status"`
		ErrorType string  `json:"errorType,omitempty"`
		Metrics   metrics `json:"metrics"`
	}{r.RequestID, eventStatus(r.Status), r.ErrorType, metrics{Duration: floatMillis(r.Duration), Produced: &size}})
}

// ReportEvent is ReportLine in JSON.
func ReportEvent(at time.Time, r Report) string {
	return encodeEvent(at, "report", struct {
		RequestID string  `json:"requestId"`
		Metrics   metrics `json:"metrics"`
		Status    string  `json:"status"`
		ErrorType string  `json:"errorType,omitempty"`
	}{r.RequestID, metrics{
		Duration: floatMillis(r.Duration), Billed: r.Billed.Milliseconds(), MemoryMB: r.MemoryMB,
		PeakMB: megabytes(r.PeakBytes), Init: floatMillis(r.Init),
		Restore: floatMillis(r.Restore), BilledRestore: r.BilledRestore.Milliseconds(),
	}, eventStatus(r.Status), r.ErrorType})
}

// InitReportEvent is InitReportLine in JSON.
func InitReportEvent(at time.Time, took time.Duration, status, errorType string) string {
	return encodeEvent(at, "initReport", struct {
		Kind      string  `json:"initializationType"`
		Phase     string  `json:"phase"`
		Status    string  `json:"status"`
		ErrorType string  `json:"errorType,omitempty"`
		Metrics   metrics `json:"metrics"`
	}{"on-demand", "init", eventStatus(status), errorType, metrics{Duration: floatMillis(took)}})
}

// RestoreReportEvent is RestoreReportLine in JSON.
func RestoreReportEvent(at time.Time, took time.Duration, status, errorType string) string {
	return encodeEvent(at, "restoreReport", struct {
		Status    string  `json:"status"`
		ErrorType string  `json:"errorType,omitempty"`
		Metrics   metrics `json:"metrics"`
	}{eventStatus(status), errorType, metrics{Duration: floatMillis(took)}})
}

// floatMillis is d in milliseconds, rounded to a thousandth.
func floatMillis(d time.Duration) float64 {
	return math.Round(float64(max(d, 0))/1e3) / 1e3
}
