package logs

import (
	"fmt"
	"strconv"
	"time"
)

// Report is what the line at the end of a call says.
type Report struct {
	RequestID string
	Duration  time.Duration // in the handler
	Billed    time.Duration // whole milliseconds
	MemoryMB  int           // configured
	PeakBytes int64         // most memory in use
	Init      time.Duration // 0 on a warm instance
	Restore   time.Duration // 0 but in the first call of a copy of a snapshot

	BilledRestore time.Duration // whole milliseconds; not in Billed

	Status    string // StatusTimeout, StatusError; "" for a call that was answered
	ErrorType string // with StatusError: what failed, such as Runtime.ExitError; may be empty
}

// What a Report can say of a call that was not answered.
const (
	StatusTimeout = "timeout"
	StatusError   = "error"
	StatusFailure = "failure" // answered, with an error; only in JSON
)

// StartLine is the line before a call.
func StartLine(requestID, version string) string {
	return "START RequestId: " + requestID + " Version: " + version
}

// EndLine is the line after a call's own lines.
func EndLine(requestID string) string { return "END RequestId: " + requestID }

// TimeoutLine is the line of a call that was over its time limit, before its end.
func TimeoutLine(at time.Time, requestID string, limit time.Duration) string {
	return fmt.Sprintf("%s %s Task timed out after %.2f seconds", at.UTC().Format("2006-01-02T15:04:05.000Z"), requestID, limit.Seconds())
}

// ReportLine is the line that sums a call up.
func ReportLine(r Report) string {
	b := make([]byte, 0, 192) // by hand: each call has one
	b = append(append(b, "REPORT RequestId: "...), r.RequestID...)
	b = append(appendMillis(append(b, "\tDuration: "...), r.Duration), " ms\tBilled Duration: "...)
	b = append(strconv.AppendInt(b, r.Billed.Milliseconds(), 10), " ms\tMemory Size: "...)
	b = append(strconv.AppendInt(b, int64(r.MemoryMB), 10), " MB\tMax Memory Used: "...)
	b = append(strconv.AppendInt(b, megabytes(r.PeakBytes), 10), " MB\t"...)
	if r.Init > 0 {
		b = append(appendMillis(append(b, "Init Duration: "...), r.Init), " ms\t"...)
	}
	if r.Restore > 0 {
		b = append(appendMillis(append(b, "Restore Duration: "...), r.Restore), " ms\tBilled Restore Duration: "...)
		b = append(strconv.AppendInt(b, r.BilledRestore.Milliseconds(), 10), " ms\t"...)
	}
	return string(appendStatus(b, r.Status, r.ErrorType))
}

// InitReportLine is the line after an init phase that failed or ran too long.
// status is StatusTimeout or StatusError.
func InitReportLine(took time.Duration, status, errorType string) string {
	b := appendMillis([]byte("INIT_REPORT Init Duration: "), took)
	return string(appendStatus(append(b, " ms\tPhase: init\t"...), status, errorType))
}

// RestoreReportLine is the line after a restore of a snapshot whose hooks failed.
func RestoreReportLine(took time.Duration, status, errorType string) string {
	b := appendMillis([]byte("RESTORE_REPORT Restore Duration: "), took)
	return string(appendStatus(append(b, " ms\t"...), status, errorType))
}

func appendStatus(b []byte, status, errorType string) []byte {
	if status == "" {
		return b
	}
	b = append(append(append(b, "Status: "...), status...), '\t')
	if errorType != "" {
		b = append(append(append(b, "Error Type: "...), errorType...), '\t')
	}
	return b
}

// appendMillis appends d in milliseconds with two decimal places, rounded half up.
func appendMillis(b []byte, d time.Duration) []byte {
	hundredths := (max(d, 0) + 5*time.Microsecond) / (10 * time.Microsecond)
	b = append(strconv.AppendInt(b, int64(hundredths/100), 10), '.')
	return append(b, byte('0'+hundredths/10%10), byte('0'+hundredths%10))
}

// megabytes rounds up, so that what used any memory shows some.
func megabytes(n int64) int64 { return (max(n, 0) + 1<<20 - 1) >> 20 }
