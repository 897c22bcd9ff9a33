package runtimeapi

import (
	"encoding/binary"
	"errors"
)

// AppendState appends all that a Server knows, for Restore.
func (s *Server) AppendState(b []byte) []byte {
	c := codec{b: b}
	c.server(s)
	return c.b
}

// Restore returns the Server whose state AppendState gave, with the same
// connections.
func Restore(state []byte, out Outlet) (*Server, error) {
	s := New(0, out)
	c := codec{b: state, reads: true}
	c.server(s)
	if c.failed || len(c.b) > 0 {
		return nil, errors.New("the state of the Runtime API's server is damaged")
	}
	return s, nil
}

// codec appends values to b, or reads them from its begin, one after the other.
type codec struct {
	b      []byte
	reads  bool
	failed bool
}

func (c *codec) server(s *Server) {
	a := &s.api
	c.text((*string)(&a.state))
	c.number(&a.limit)
	c.bytes(&a.call.header)
	c.bytes(&a.call.body)
	c.text(&a.callID)
	queued := a.queued != nil
	if c.flag(&queued); queued {
		if c.reads {
			a.queued = &frame{}
		}
		c.bytes(&a.queued.header)
		c.bytes(&a.queued.body)
	}
	c.flag(&a.owes)
	c.conns(s)
	c.waiting(s, &a.waiters)
	c.waiting(s, &a.copies)
}

func (c *codec) conns(s *Server) {
	n := len(s.conns)
	c.number(&n)
	if !c.reads {
		for _, o := range s.conns {
			c.conn(o)
		}
		return
	}
	s.room.left = roomFor(s.api.limit)
	for ; n > 0 && !c.failed; n-- {
		o := &conn{parser: parser{limit: s.api.limit, room: &s.room}}
		c.conn(o)
		s.room.left -= cap(o.parser.held) + cap(o.parser.body)
		s.conns[o.id] = o
	}
}

func (c *codec) conn(o *conn) {
	p := &o.parser
	phase, left := int(p.phase), int(p.left)
	for _, n := range []*int{&o.id, &phase, &left, &p.scanned} {
		c.number(n)
	}
	for _, f := range []*bool{&o.told, &o.waits, &o.last, &o.flows, &p.flows, &p.req.close, &p.req.expect, &p.req.tooLarge} {
		c.flag(f)
	}
	c.bytes(&p.held)
	c.bytes(&p.body)
	for _, t := range []*string{&p.req.method, &p.req.path, &p.req.errorType, &p.req.mode, &p.req.errorBody, &p.req.contentType} {
		c.text(t)
	}
	p.phase, p.left = parsing(phase), int64(left)
}

// waiting is a list of connections.
func (c *codec) waiting(s *Server, list *[]*conn) {
	n := len(*list)
	c.number(&n)
	for i := 0; i < n && !c.failed; i++ {
		var id int
		if !c.reads {
			id = (*list)[i].id
		}
		c.number(&id)
		if !c.reads {
			continue
		}
		o := s.conns[id]
		if o == nil {
			c.failed = true
			return
		}
		*list = append(*list, o)
	}
}

func (c *codec) number(n *int) {
	if !c.reads {
		c.b = binary.AppendVarint(c.b, int64(*n))
		return
	}
	v, size := binary.Varint(c.b)
	if size <= 0 {
		c.failed, c.b, *n = true, nil, 0
		return
	}
	*n, c.b = int(v), c.b[size:]
}

func (c *codec) flag(f *bool) {
	n := 0
	if *f {
		n = 1
	}
	c.number(&n)
	*f = n == 1
}

func (c *codec) bytes(p *[]byte) {
	n := len(*p)
	c.number(&n)
	if !c.reads {
		c.b = append(c.b, *p...)
		return
	}
	if n < 0 || n > len(c.b) {
		c.failed, n = true, 0
	}
	*p, c.b = append([]byte(nil), c.b[:n]...), c.b[n:]
}

func (c *codec) text(t *string) {
	b := []byte(*t)
	c.bytes(&b)
	*t = string(b)
}
