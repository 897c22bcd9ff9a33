package wire_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/api/aws/wire/botocore"
)

// record is a structure that follows a model loaded at run time. The codec
// sees the same Struct as with generated types.
type record struct {
	model *botocore.Model
	name  string
	shape *wire.Shape
	slots []any // places of the members
}

func newRecord(m *botocore.Model, name string) *record {
	shape, err := m.WireShape(name)
	if err != nil {
		panic(err)
	}
	r := &record{model: m, name: name, shape: shape}
	for i := range shape.Members {
		r.slots = append(r.slots, newPlace(m, m.Shapes[name].Members[shape.Members[i].Name], true))
	}
	return r
}

func (r *record) Shape() *wire.Shape { return r.shape }

func (r *record) Walk(w wire.Walker) {
	for i, s := range r.slots {
		w.Member(i, s)
	}
}

// newPlace makes an empty place: of a member, which may be absent, or of an element.
func newPlace(m *botocore.Model, ref *botocore.Ref, member bool) any {
	s := m.Shapes[ref.Shape]
	switch {
	case s.Document:
		return new(any)
	case s.Type == "structure" && member:
		return &dynNested{model: m, name: ref.Shape}
	case s.Type == "structure":
		return newRecord(m, ref.Shape)
	case s.Type == "list":
		return &dynList{model: m, elem: s.Member, length: -1}
	case s.Type == "map":
		return &dynMap{model: m, elem: s.Value}
	case s.Type == "blob":
		return new([]byte)
	}
	switch s.Type {
	case "boolean":
		return scalarPlace[bool](member)
	case "integer", "short", "byte":
		return scalarPlace[int32](member)
	case "long":
		return scalarPlace[int64](member)
	case "float":
		return scalarPlace[float32](member)
	case "double":
		return scalarPlace[float64](member)
	case "timestamp":
		return scalarPlace[time.Time](member)
	default:
		return scalarPlace[string](member)
	}
}

func scalarPlace[T any](member bool) any {
	if member {
		return new(*T)
	}
	return new(T)
}

type dynNested struct {
	model *botocore.Model
	name  string
	value *record
}

func (n *dynNested) Get() wire.Struct {
	if n.value == nil {
		return nil
	}
	return n.value
}

func (n *dynNested) New() wire.Struct {
	n.value = newRecord(n.model, n.name)
	return n.value
}

type dynList struct {
	model  *botocore.Model
	elem   *botocore.Ref
	length int
	items  []any
}

func (l *dynList) Len() int {
	if l.length < 0 {
		return -1
	}
	return len(l.items)
}
func (l *dynList) At(i int) any { return l.items[i] }
func (l *dynList) Make()        { l.length, l.items = 0, nil }
func (l *dynList) AppendNull()  { l.items = append(l.items, nil) }
func (l *dynList) Append() any {
	l.items = append(l.items, newPlace(l.model, l.elem, false))
	return l.items[len(l.items)-1]
}

type dynMap struct {
	model *botocore.Model
	elem  *botocore.Ref
	items map[string]any
}

func (m *dynMap) Len() int {
	if m.items == nil {
		return -1
	}
	return len(m.items)
}
func (m *dynMap) Keys() []string     { return slices.Sorted(maps.Keys(m.items)) }
func (m *dynMap) At(key string) any  { return m.items[key] }
func (m *dynMap) Make()              { m.items = map[string]any{} }
func (m *dynMap) PutNull(key string) { m.items[key] = nil }
func (m *dynMap) Put(key string, decode func(any) error) error {
	p := newPlace(m.model, m.elem, false)
	m.items[key] = p
	return decode(p)
}

// fill puts a value as the vectors write it into a place.
func fill(m *botocore.Model, ref *botocore.Ref, place, v any) {
	s := m.Shapes[ref.Shape]
	switch p := place.(type) {
	case *any:
		*p = v
	case *dynNested:
		fillRecord(p.New().(*record), v)
	case *record:
		fillRecord(p, v)
	case *dynList:
		p.Make()
		for _, item := range v.([]any) {
			if item == nil {
				p.AppendNull()
				continue
			}
			fill(m, s.Member, p.Append(), item)
		}
	case *dynMap:
		p.Make()
		for k, item := range v.(map[string]any) {
			if item == nil {
				p.PutNull(k)
				continue
			}
			_ = p.Put(k, func(place any) error { fill(m, s.Value, place, item); return nil })
		}
	case *[]byte:
		*p = []byte(v.(string))
	case **string, *string:
		if _, isText := v.(string); ref.JSONValue && !isText {
			b, err := json.Marshal(v)
			if err != nil {
				panic(err)
			}
			v = string(b)
		}
		setScalar(place, v.(string))
	case **bool, *bool:
		setScalar(place, v.(bool))
	case **int32, *int32:
		setScalar(place, int32(number(v)))
	case **int64, *int64:
		setScalar(place, int64(number(v)))
	case **float32, *float32:
		setScalar(place, float32(number(v)))
	case **float64, *float64:
		setScalar(place, number(v))
	case **time.Time, *time.Time:
		f := number(v)
		setScalar(place, time.Unix(int64(math.Floor(f)), int64(math.Round((f-math.Floor(f))*1e3))*1e6).UTC())
	default:
		panic(fmt.Sprintf("no way to fill a %T", place))
	}
}

func fillRecord(r *record, v any) {
	fields := v.(map[string]any)
	for i, m := range r.shape.Members {
		if val, ok := fields[m.Name]; ok && val != nil {
			fill(r.model, r.model.Shapes[r.name].Members[m.Name], r.slots[i], val)
		}
	}
}

func setScalar[T any](place any, v T) {
	if p, ok := place.(**T); ok {
		*p = &v
		return
	}
	*place.(*T) = v
}

func number(v any) float64 {
	switch v := v.(type) {
	case float64:
		return v
	case string:
		switch v {
		case "NaN":
			return math.NaN()
		case "Infinity":
			return math.Inf(1)
		case "-Infinity":
			return math.Inf(-1)
		}
	}
	panic(fmt.Sprintf("%v is no number", v))
}

// plain turns a place into the form that the vectors use, with absent members left out.
func plain(place any, jsonValue bool) any {
	switch p := place.(type) {
	case nil:
		return nil
	case *any:
		return normalJSON(*p)
	case *dynNested:
		if p.value == nil {
			return nil
		}
		return plain(p.value, false)
	case *record:
		out := map[string]any{}
		for i, m := range p.shape.Members {
			if v := plain(p.slots[i], m.JSONValue); v != nil {
				out[m.Name] = v
			}
		}
		return out
	case *dynList:
		if p.Len() < 0 {
			return nil
		}
		out := []any{}
		for _, item := range p.items {
			out = append(out, plain(item, false))
		}
		return out
	case *dynMap:
		if p.items == nil {
			return nil
		}
		out := map[string]any{}
		for k, item := range p.items {
			out[k] = plain(item, false)
		}
		return out
	case *[]byte:
		if *p == nil {
			return nil
		}
		return string(*p)
	case **string:
		if *p == nil {
			return nil
		}
		if jsonValue {
			var v any
			if err := json.Unmarshal([]byte(**p), &v); err != nil {
				return "not JSON: " + **p
			}
			return v
		}
		return **p
	case *string:
		return *p
	case **bool:
		return deref(*p)
	case *bool:
		return *p
	case **int32:
		return floatOf(*p)
	case *int32:
		return float64(*p)
	case **int64:
		return floatOf(*p)
	case *int64:
		return float64(*p)
	case **float32:
		return floatOf(*p)
	case *float32:
		return plainFloat(float64(*p))
	case **float64:
		return floatOf(*p)
	case *float64:
		return plainFloat(*p)
	case **time.Time:
		if *p == nil {
			return nil
		}
		return float64((*p).UnixMilli()) / 1e3
	case *time.Time:
		return float64(p.UnixMilli()) / 1e3
	}
	panic(fmt.Sprintf("%T is no place", place))
}

func deref[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}

func floatOf[T int32 | int64 | float32 | float64](p *T) any {
	if p == nil {
		return nil
	}
	return plainFloat(float64(*p))
}

// plainFloat writes the floats that JSON lacks as the vectors do, and makes
// float32 and float64 comparable.
func plainFloat(f float64) any {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return float64(float32(f))
}

// normalJSON makes documents comparable, however their numbers are kept.
func normalJSON(v any) any {
	if v == nil {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	var out any
	d := json.NewDecoder(strings.NewReader(string(b)))
	if err := d.Decode(&out); err != nil {
		panic(err)
	}
	return out
}
