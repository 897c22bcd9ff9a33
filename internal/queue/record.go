package queue

import (
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/mayfly-dev/mayfly/internal/event"
)

// A record of the log holds the messages of one write. A message's position is
// the number of its record and its place in it.
const (
	placeBits = 10
	maxRecord = 1 << placeBits // messages
)

func position(seq uint64, place int) uint64 { return seq<<placeBits | uint64(place) }
func recordOf(pos uint64) uint64            { return pos >> placeBits }
func placeOf(pos uint64) int                { return int(pos & (maxRecord - 1)) }

// head is what the index needs of a message. Times are in milliseconds.
type head struct {
	ID    string `json:"i"`
	Sent  int64  `json:"s"`           // first, whatever queue that was
	Put   int64  `json:"p,omitempty"` // into this queue, if later
	Due   int64  `json:"d,omitempty"` // when it can be received
	Group string `json:"g,omitempty"`
	Key   string `json:"k,omitempty"` // repeats within the window are dropped
	Size  int    `json:"z"`           // of its part
}

func (h *head) put() int64 { return max(h.Sent, h.Put) }

// check tells whether a change in the journal is about this message.
func (h *head) check() string { return h.ID[:min(8, len(h.ID))] }

// content is what of a message only its receiver needs, besides the body.
type content struct {
	Attributes map[string]Attribute `json:"a,omitempty"`
	Dedup      string               `json:"u,omitempty"`
	TraceID    string               `json:"t,omitempty"`
	Sender     string               `json:"o,omitempty"`
	From       string               `json:"f,omitempty"`
	Lineage    *event.Lineage       `json:"l,omitempty"`
}

func (c *content) empty() bool {
	return len(c.Attributes) == 0 && c.Dedup == "" && c.TraceID == "" && c.Sender == "" && c.From == "" && c.Lineage == nil
}

// part returns the stored form of one message.
func part(c content, body string) ([]byte, error) {
	var b []byte
	if !c.empty() {
		var err error
		if b, err = json.Marshal(c); err != nil {
			return nil, fmt.Errorf("encode a message: %w", err)
		}
	}
	p := binary.AppendUvarint(make([]byte, 0, len(b)+len(body)+binary.MaxVarintLen32), uint64(len(b)))
	return append(append(p, b...), body...), nil
}

// readPart is the inverse of part.
func readPart(p []byte) (c content, body string, err error) {
	n, used := binary.Uvarint(p)
	if used <= 0 || n > uint64(len(p)-used) {
		return c, "", fmt.Errorf("a stored message of %d bytes is broken", len(p))
	}
	p = p[used:]
	if n > 0 {
		if err := json.Unmarshal(p[:n], &c); err != nil {
			return c, "", fmt.Errorf("a stored message is broken: %w", err)
		}
	}
	return c, string(p[n:]), nil
}

// joinParts returns the body of the record that holds the parts.
func joinParts(parts [][]byte) []byte {
	size := 0
	for _, p := range parts {
		size += len(p) + binary.MaxVarintLen32
	}
	b := make([]byte, 0, size)
	for _, p := range parts {
		b = append(binary.AppendUvarint(b, uint64(len(p))), p...)
	}
	return b
}

// partAt returns the part at a place of a record.
func partAt(record []byte, place int) ([]byte, error) {
	for i := 0; ; i++ {
		n, used := binary.Uvarint(record)
		if used <= 0 || n > uint64(len(record)-used) {
			return nil, fmt.Errorf("a record of messages is broken at place %d", i)
		}
		if i == place {
			return record[used : used+int(n)], nil
		}
		record = record[used+int(n):]
	}
}

func readHeads(s string) ([]head, error) {
	var hs []head
	if err := json.Unmarshal([]byte(s), &hs); err != nil {
		return nil, fmt.Errorf("the head of a record of messages is broken: %w", err)
	}
	if len(hs) > maxRecord {
		return nil, fmt.Errorf("a record of %d messages is broken", len(hs))
	}
	return hs, nil
}
