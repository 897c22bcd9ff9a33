package function

// Logging is how a version's log is written. The zero Logging is plain text, all
// of it, in the function's own log group.
type Logging struct {
	JSON   bool   `json:"json,omitempty"`   // lines and the platform's own are JSON objects
	Code   string `json:"code,omitempty"`   // least level of the code's lines, with JSON: TRACE to FATAL; "" means all
	System string `json:"system,omitempty"` // least level of the platform's, with JSON: DEBUG, INFO or WARN; "" is INFO
	Group  string `json:"group,omitempty"`  // name of the log group under which the lines are shown
}
