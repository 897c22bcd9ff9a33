package sqs

import (
	"crypto/md5" // what clients check messages by
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/queue"
)

// DigestOfBody returns the MD5 of a message's body, in hex.
func DigestOfBody(body string) string {
	sum := md5.Sum([]byte(body))
	return hex.EncodeToString(sum[:])
}

// DigestOfAttributes returns the MD5 of a message's attributes as SQS defines it:
// by name, each part with its length before it. It is "" for none.
func DigestOfAttributes(as map[string]queue.Attribute) string {
	if len(as) == 0 {
		return ""
	}
	var b []byte
	add := func(s string) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	for _, name := range slices.Sorted(maps.Keys(as)) {
		a := as[name]
		add(name)
		add(a.Type)
		if isBinary(a.Type) {
			b = append(b, 2)
		} else {
			b = append(b, 1)
		}
		add(string(a.Data))
	}
	sum := md5.Sum(b)
	return hex.EncodeToString(sum[:])
}

func isBinary(dataType string) bool { return strings.HasPrefix(dataType, "Binary") }
