package logs

import (
	"fmt"
	"strings"
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
	var b strings.Builder
	fmt.Fprintf(&b, "REPORT RequestId: %s\tDuration: %s ms\tBilled Duration: %d ms\tMemory Size: %d MB\tMax Memory Used: %d MB\t",
		r.RequestID, millis(r.Duration), r.Billed.Milliseconds(), r.MemoryMB, megabytes(r.PeakBytes))
	if r.Init > 0 {
		fmt.Fprintf(&b, "Init Duration: %s ms\t", millis(r.Init))
	}
	if r.Restore > 0 {
		fmt.Fprintf(&b, "Restore Duration: %s ms\tBilled Restore Duration: %d ms\t", millis(r.Restore), r.BilledRestore.Milliseconds())
	}
	writeStatus(&b, r.Status, r.ErrorType)
	return b.String()
}

// InitReportLine is the line after an init phase that failed or ran too long.
// status is StatusTimeout or StatusError.
func InitReportLine(took time.Duration, status, errorType string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "INIT_REPORT Init Duration: %s ms\tPhase: init\t", millis(took))
	writeStatus(&b, status, errorType)
	return b.String()
}

func writeStatus(b *strings.Builder, status, errorType string) {
	if status == "" {
		return
	}
	b.WriteString("Status: " + status + "\t")
	if errorType != "" {
		b.WriteString("Error Type: " + errorType + "\t")
	}
}

// millis is d in milliseconds with two decimal places, rounded half up.
func millis(d time.Duration) string {
	hundredths := (max(d, 0) + 5*time.Microsecond) / (10 * time.Microsecond)
	return fmt.Sprintf("%d.%02d", hundredths/100, hundredths%100)
}

// megabytes rounds up, so that what used any memory shows some.
func megabytes(n int64) int64 { return (max(n, 0) + 1<<20 - 1) >> 20 }
