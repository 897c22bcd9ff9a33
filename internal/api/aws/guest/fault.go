package guest

import (
	"encoding/json"
	"fmt"
	"strconv"
	"syscall"

	"github.com/mayfly-dev/mayfly/internal/sandbox"
)

// Fault words an error that the host found out as Lambda does. The words of a
// fault without request id, found in init, leave the id out.
func (g *Guest) Fault(f sandbox.Fault) (body []byte, errorType string) {
	errorType, message := words(f)
	doc := struct {
		Type    string `json:"errorType"`
		Message string `json:"errorMessage"`
	}{errorType, message}
	body, err := json.Marshal(doc)
	if err != nil {
		panic("guest: two strings always marshal: " + err.Error())
	}
	return body, errorType
}

func words(f sandbox.Fault) (errorType, message string) {
	if f.Kind == sandbox.ResponseTooLarge {
		return "Function.ResponseSizeTooLarge",
			fmt.Sprintf("Response payload size exceeded maximum allowed payload size (%d bytes).", f.Max)
	}
	prefix := "Error: "
	if f.RequestID != "" {
		prefix = "RequestId: " + f.RequestID + " Error: "
	}
	switch f.Kind {
	case sandbox.TimedOut, sandbox.InitTimedOut:
		return "Sandbox.Timedout", prefix + fmt.Sprintf("Task timed out after %.2f seconds", f.Limit.Seconds())
	case sandbox.Canceled:
		return "Sandbox.Canceled", prefix + "The caller left before the answer was complete"
	case sandbox.OutOfMemory:
		return "Runtime.OutOfMemory", prefix + "Runtime exited with error: signal: killed"
	default:
		return "Runtime.ExitError", prefix + exitWords(f.Exit)
	}
}

func exitWords(e sandbox.Exit) string {
	switch {
	case e.Signal != 0:
		return "Runtime exited with error: signal: " + syscall.Signal(e.Signal).String()
	case e.Code != 0:
		return "Runtime exited with error: exit status " + strconv.Itoa(e.Code)
	}
	return "Runtime exited without providing a reason"
}
