package queue

import (
	"bytes"
	"strings"
	"testing"
)

func TestPartsComeOutOfARecordAsTheyWentIn(t *testing.T) {
	var parts [][]byte
	for _, body := range []string{"", "a", strings.Repeat("b", 1000)} {
		p, err := part(content{TraceID: body}, body)
		ok(t, err)
		parts = append(parts, p)
	}
	record := joinParts(parts)
	for i := range parts {
		p, err := partAt(record, i)
		ok(t, err)
		c, body, err := readPart(p)
		ok(t, err)
		if !bytes.Equal(p, parts[i]) || c.TraceID != body {
			t.Errorf("part %d is %q", i, p)
		}
	}
	if _, err := partAt(record, 3); err == nil {
		t.Error("a record of three parts has a fourth")
	}
}

func FuzzRecord(f *testing.F) {
	p, err := part(content{Sender: "s"}, "body")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(joinParts([][]byte{p, p}), `[{"i":"x","s":1,"z":2}]`, uint8(1))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, "[]", uint8(0))
	f.Fuzz(func(t *testing.T, record []byte, line string, place uint8) {
		if p, err := partAt(record, int(place)); err == nil {
			readPart(p)
		}
		readHeads(line)
	})
}
