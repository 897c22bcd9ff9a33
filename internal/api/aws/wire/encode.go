package wire

import (
	"encoding/base64"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// response is an answer before it is sent.
type response struct {
	status int
	kind   string // content type; "" means none
	body   []byte
	stream io.Reader   // instead of body
	events EventStream // instead of body
}

// encode turns an operation's output into a response. Members that are headers
// go to h.
func (s *Service) encode(req *request, op *Operation, out Struct, h http.Header) (*response, error) {
	res := &response{status: op.Status}
	if res.status == 0 {
		res.status = http.StatusOK
	}
	switch req.protocol {
	case JSON10, JSON11:
		if res.events = eventsOf(out); res.events != nil {
			res.kind = jsonType(req.protocol)
			return res, nil
		}
		b, err := appendJSON(nil, out, false)
		res.kind, res.body = jsonType(req.protocol), b
		return res, err
	case Query:
		w := &xmlWriter{}
		w.open(op.Name+"Response", Namespace{URI: s.Namespace})
		if op.Wrapper != "" {
			w.structure(op.Wrapper, Namespace{}, out, false)
		} else {
			w.members(out, false)
		}
		w.open("ResponseMetadata", Namespace{})
		w.leaf("RequestId", req.id)
		w.close("ResponseMetadata")
		w.close(op.Name + "Response")
		res.kind, res.body = "text/xml", w.b
		return res, nil
	default:
		return res, s.encodeREST(req.protocol, res, out, h)
	}
}

func jsonType(p Protocol) string {
	switch p {
	case JSON10:
		return "application/x-amz-json-1.0"
	case JSON11:
		return "application/x-amz-json-1.1"
	default:
		return "application/json"
	}
}

func (s *Service) encodeREST(p Protocol, res *response, out Struct, h http.Header) error {
	w := &restWriter{shape: out.Shape(), header: h, status: &res.status}
	out.Walk(w)
	shape := out.Shape()
	switch {
	case w.payload != nil:
		return s.encodePayload(p, res, shape, w)
	case !w.fields:
		return nil
	case p == RESTJSON:
		b, err := appendJSON(nil, out, true)
		res.kind, res.body = "application/json", b
		return err
	default:
		x := &xmlWriter{}
		x.structure(orElse(shape.XMLName, shape.Name), s.rootNamespace(shape), out, true)
		res.kind, res.body = "application/xml", x.b
		return nil
	}
}

func (s *Service) rootNamespace(shape *Shape) Namespace {
	if shape.Namespace.URI != "" {
		return shape.Namespace
	}
	return Namespace{URI: s.Namespace}
}

// encodePayload writes the one member that is the whole body.
func (s *Service) encodePayload(p Protocol, res *response, shape *Shape, w *restWriter) error {
	m, place := &shape.Members[shape.payload()], w.payload
	switch {
	case m.Type == TypeEvents:
		res.events = load[EventStream](place)
	case m.Streaming:
		res.kind, res.stream = blobType(p), load[io.Reader](place)
	case m.Type == TypeBlob:
		res.kind, res.body = blobType(p), load[[]byte](place)
	case m.Type == TypeString:
		res.kind, res.body = "text/plain", []byte(load[string](place))
	case p == RESTJSON:
		j := &jsonWriter{}
		j.value(m, place)
		res.kind, res.body = "application/json", j.b
		return j.err
	default:
		st := structOf(place)
		ns := m.Namespace
		if ns.URI == "" {
			ns = s.rootNamespace(st.Shape())
		}
		x := &xmlWriter{}
		x.structure(orElse(m.Wire, orElse(st.Shape().XMLName, m.Name)), ns, st, false)
		res.kind, res.body = "application/xml", x.b
	}
	return nil
}

// blobType returns the content type of a payload whose output names none. The
// REST services that speak JSON carry JSON in blobs: Lambda says so of what
// functions answer.
func blobType(p Protocol) string {
	if p == RESTJSON {
		return "application/json"
	}
	return "application/octet-stream"
}

// restWriter writes the members that are not fields of the body.
type restWriter struct {
	shape   *Shape
	header  http.Header
	status  *int
	fields  bool // some members are fields of the body
	payload any  // the place of the member that is the body
}

// Member implements Walker.
func (w *restWriter) Member(i int, place any) {
	m := &w.shape.Members[i]
	if m.answersInBody() {
		w.fields = true
	}
	if absent(place) {
		return
	}
	switch m.Loc {
	case InPayload:
		w.payload = place
	case InStatus:
		*w.status = int(load[int32](place))
	case InHeader:
		w.set(m, place)
	case InHeaders:
		mp := place.(Map)
		for _, k := range mp.Keys() {
			w.header.Set(m.Wire+k, text(m.Elem, mp.At(k), TimeHTTP))
		}
	}
}

func (w *restWriter) set(m *Member, place any) {
	switch {
	case m.JSONValue:
		w.header.Set(m.WireName(), base64.StdEncoding.EncodeToString([]byte(load[string](place))))
	case m.Type == TypeList:
		l := place.(List)
		items := make([]string, 0, l.Len())
		for i := range l.Len() {
			item := text(m.Elem, l.At(i), TimeHTTP)
			if m.Elem.Type == TypeString && strings.ContainsAny(item, `",`) {
				item = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(item) + `"`
			}
			items = append(items, item)
		}
		if len(items) > 0 {
			w.header.Set(m.WireName(), strings.Join(items, ", "))
		}
	default:
		w.header.Set(m.WireName(), text(m, place, TimeHTTP))
	}
}

// send writes the response. A failure to write is the caller's connection
// breaking; a stream that fails before its end breaks it on purpose, so that
// the caller can't take the part for the whole.
func (res *response) send(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	if res.kind != "" && h.Get("Content-Type") == "" {
		h.Set("Content-Type", res.kind)
	}
	bodyless := res.status == http.StatusNoContent || res.status == http.StatusNotModified
	if res.stream != nil {
		if c, ok := res.stream.(io.Closer); ok {
			defer c.Close()
		}
		w.WriteHeader(res.status)
		if bodyless || r.Method == http.MethodHead {
			return
		}
		if _, err := io.Copy(w, res.stream); err != nil {
			panic(http.ErrAbortHandler)
		}
		return
	}
	if bodyless {
		h.Del("Content-Type")
		w.WriteHeader(res.status)
		return
	}
	if h.Get("Content-Length") == "" {
		h.Set("Content-Length", strconv.Itoa(len(res.body)))
	}
	w.WriteHeader(res.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(res.body)
	}
}
