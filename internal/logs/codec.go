package logs

import (
	"bytes"
	"encoding/json"
	"time"
	"unicode/utf8"
)

// appendEntry encodes e as one line of JSON or, if its text is too long, as
// several. It is what encoding/json would write, but in a tenth of the time.
func appendEntry(dst []byte, e *Entry) []byte {
	head := appendHead(nil, e)
	return appendText(dst, head, e.Text, e.Record)
}

// appendHead encodes all that goes before an entry's text.
func appendHead(dst []byte, e *Entry) []byte {
	dst = append(dst, `{"time":"`...)
	dst = e.Time.UTC().AppendFormat(dst, time.RFC3339Nano)
	dst = append(dst, '"')
	dst = appendField(dst, `,"requestId":`, e.RequestID)
	dst = appendField(dst, `,"instance":`, e.Instance)
	dst = appendField(dst, `,"version":`, e.Version)
	dst = appendField(dst, `,"stream":`, e.Stream)
	return append(dst, `,"text":`...)
}

// appendText encodes an entry of which the head is encoded.
func appendText(dst, head []byte, text, record string) []byte {
	for {
		cut := cutAt(text)
		dst = appendString(append(dst, head...), text[:cut])
		if text = text[cut:]; text == "" && record != "" {
			dst = append(append(dst, recordKey...), record...)
		}
		dst = append(dst, '}', '\n')
		if text == "" {
			return dst
		}
	}
}

const recordKey = `,"record":`

func appendField(dst []byte, key, value string) []byte {
	if value == "" {
		return dst
	}
	return appendString(append(dst, key...), value)
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string. Bytes that are no UTF-8 become
// replacement characters.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
			dst = append(append(dst, s[start:i]...), `\ufffd`...)
			i++
			start = i
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\t':
			dst = append(dst, '\\', 't')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}

// parseLine returns the entry of a line. Lines that a failed write or a crash
// damaged give false; the zeros that a failed write can leave before a line are
// passed over.
func parseLine(line []byte) (e Entry, ok bool) {
	line = bytes.TrimRight(bytes.TrimLeft(line, "\x00"), "\r\n")
	if e, ok = parseOwn(line); ok {
		return e, true
	}
	var stored struct {
		Entry
		Record json.RawMessage `json:"record"`
	}
	if json.Unmarshal(line, &stored) != nil {
		return Entry{}, false
	}
	e = stored.Entry
	e.Function, e.Record = "", string(stored.Record)
	return e, true
}

// parseOwn reads a line just as appendEntry writes it.
func parseOwn(line []byte) (e Entry, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte(`{"time":"`))
	if !ok {
		return e, false
	}
	end := bytes.IndexByte(rest, '"')
	if end < 0 || e.Time.UnmarshalText(rest[:end]) != nil {
		return e, false
	}
	rest = rest[end+1:]
	for _, f := range []struct {
		key string
		to  *string
	}{
		{`,"requestId":`, &e.RequestID},
		{`,"instance":`, &e.Instance},
		{`,"version":`, &e.Version},
		{`,"stream":`, &e.Stream},
		{`,"text":`, &e.Text},
	} {
		after, found := bytes.CutPrefix(rest, []byte(f.key))
		if !found {
			if f.to == &e.Text {
				return e, false
			}
			continue
		}
		if *f.to, rest, ok = cutString(after); !ok {
			return e, false
		}
	}
	if record, found := bytes.CutPrefix(rest, []byte(recordKey)); found && len(record) > 1 {
		if record = record[:len(record)-1]; !json.Valid(record) {
			return e, false
		}
		e.Record, rest = string(record), rest[len(rest)-1:]
	}
	return e, len(rest) == 1 && rest[0] == '}'
}

// cutString takes a JSON string off the front of b.
func cutString(b []byte) (s string, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '"' {
		return "", nil, false
	}
	escaped := false
	for i := 1; i < len(b); i++ {
		switch c := b[i]; {
		case c == '\\':
			escaped = true
			i++
		case c == '"':
			if !escaped && utf8.Valid(b[1:i]) {
				return string(b[1:i]), b[i+1:], true
			}
			err := json.Unmarshal(b[:i+1], &s)
			return s, b[i+1:], err == nil
		case c < ' ':
			return "", nil, false
		}
	}
	return "", nil, false
}
