package logs

import (
	"encoding/json"
	"strings"
)

// Level is how grave a line is. The zero Level is that of no line.
type Level uint8

// The levels, in the field's words.
const (
	Trace Level = iota + 1
	Debug
	Info
	Warn
	Error
	Fatal
)

var levelNames = [...]string{"", "TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"}

// String returns the level's name in upper case.
func (l Level) String() string {
	if int(l) < len(levelNames) {
		return levelNames[l]
	}
	return ""
}

// ParseLevel reads a level's name in any case, with the other names that
// languages have for it. false means that it is none.
func ParseLevel(s string) (Level, bool) {
	switch strings.ToUpper(s) {
	case "WARNING":
		return Warn, true
	case "CRITICAL", "PANIC":
		return Fatal, true
	case "NOTICE":
		return Info, true
	}
	for l := Trace; l <= Fatal; l++ {
		if strings.EqualFold(s, levelNames[l]) {
			return l, true
		}
	}
	return 0, false
}

// LevelOf reads the level off a line: the member "level" of a JSON object, or
// the word that loggers put near the beginning of a line. A line that says none
// is Info.
func LevelOf(e *Entry) Level {
	if l, ok := JSONLevel(e.Text); ok {
		return l
	}
	text := e.Text
	if e.Stream == Platform {
		if strings.Contains(text, "Task timed out after") || strings.Contains(text, "\tStatus: ") || strings.Contains(text, `"status":"error"`) || strings.Contains(text, `"status":"timeout"`) {
			return Error
		}
		return Info
	}
	// [ERROR]\t…, ERROR …, TIME\tID\tERROR\t…, TIME ERROR …
	fields := 0
	for word := range strings.FieldsFuncSeq(text[:min(len(text), 120)], func(r rune) bool { return r == ' ' || r == '\t' }) {
		if l, ok := ParseLevel(strings.Trim(word, "[]:")); ok && strings.ToUpper(word) == word {
			return l
		}
		if fields++; fields == 4 {
			break
		}
	}
	return Info
}

// JSONLevel returns the level that a line of JSON names itself.
func JSONLevel(text string) (Level, bool) {
	if !strings.HasPrefix(text, "{") || !strings.Contains(text, `"level"`) && !strings.Contains(text, `"log_level"`) {
		return 0, false
	}
	var line struct {
		Level any    `json:"level"`
		Named string `json:"log_level"`
	}
	if json.Unmarshal([]byte(text), &line) != nil {
		return 0, false
	}
	if s, ok := line.Level.(string); ok {
		return ParseLevel(s)
	}
	return ParseLevel(line.Named)
}
