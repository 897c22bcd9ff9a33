package wire

import "slices"

// Struct is a structure of a service model: a generated type, or a value that
// follows a model loaded at run time. The codec sees only this.
type Struct interface {
	// Shape returns the description of the structure.
	Shape() *Shape
	// Walk calls w.Member once for each member, with its index in
	// Shape().Members. The codec reads from the place or writes to it.
	Walk(w Walker)
}

// Walker visits the members of a Struct. A place is a pointer to where the
// member's value is; its type follows from the member's Type:
//
//	string            **string, or *string where "" means absent
//	boolean           **bool
//	integer, long     **int32, **int64
//	float, double     **float32, **float64
//	blob              *[]byte (nil means absent), or *io.Reader when Streaming
//	timestamp         **time.Time
//	document          *any (nil means absent)
//	event stream      *EventStream (nil means absent)
//	structure         Nested
//	list, map         List, Map
//
// A place inside a list or map always has a value, so it has one star less; a
// structure's is a Struct. A nil place there is a JSON null.
type Walker interface {
	Member(i int, place any)
}

// Nested is the place of a structure that may be absent.
type Nested interface {
	Get() Struct // nil when absent
	New() Struct // makes it present and empty
}

// List is the place of a list.
type List interface {
	Len() int           // -1 when absent
	At(i int) (val any) // the place of an element
	Make()              // makes it present and empty
	Append() (val any)  // adds a zero element, valid until the next Append
	AppendNull()        // adds a null: ignored unless the list is sparse
}

// Map is the place of a map from strings.
type Map interface {
	Len() int                                           // -1 when absent
	Keys() []string                                     // sorted
	At(key string) (val any)                            // the place of a copy of the value
	Make()                                              // makes it present and empty
	Put(key string, decode func(place any) error) error // adds what decode writes to the place
	PutNull(key string)                                 // adds a null: ignored unless the map is sparse
}

// Ptr returns the place of an optional structure.
func Ptr[T any, P structPtr[T]](p **T) Nested {
	return nested[T, P]{p}
}

type nested[T any, P structPtr[T]] struct{ p **T }

func (n nested[T, P]) Get() Struct {
	if *n.p == nil {
		return nil
	}
	return P(*n.p)
}

func (n nested[T, P]) New() Struct {
	*n.p = new(T)
	return P(*n.p)
}

// ListOf returns the place of a list. The place of an element is a *T, unless
// place makes another one of it (for lists in lists).
func ListOf[T any](p *[]T, place func(*T) any) List { return &listOf[T]{p, place} }

type listOf[T any] struct {
	p     *[]T
	place func(*T) any
}

func (l *listOf[T]) Len() int {
	if *l.p == nil {
		return -1
	}
	return len(*l.p)
}

func (l *listOf[T]) At(i int) any {
	if l.place != nil {
		return l.place(&(*l.p)[i])
	}
	return &(*l.p)[i]
}

func (l *listOf[T]) Make() { *l.p = []T{} }

func (l *listOf[T]) Append() any {
	var zero T
	*l.p = append(*l.p, zero)
	return l.At(len(*l.p) - 1)
}

func (l *listOf[T]) AppendNull() {}

// MapOf returns the place of a map. The place of a value is a *V, unless place
// makes another one of it.
func MapOf[V any](p *map[string]V, place func(*V) any) Map { return &mapOf[V]{p, place} }

type mapOf[V any] struct {
	p     *map[string]V
	place func(*V) any
}

func (m *mapOf[V]) Len() int {
	if *m.p == nil {
		return -1
	}
	return len(*m.p)
}

func (m *mapOf[V]) Keys() []string {
	keys := make([]string, 0, len(*m.p))
	for k := range *m.p {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (m *mapOf[V]) at(v *V) any {
	if m.place != nil {
		return m.place(v)
	}
	return v
}

func (m *mapOf[V]) At(key string) any {
	v := (*m.p)[key]
	return m.at(&v)
}

func (m *mapOf[V]) Make() { *m.p = map[string]V{} }

func (m *mapOf[V]) Put(key string, decode func(any) error) error {
	var v V
	if err := decode(m.at(&v)); err != nil {
		return err
	}
	(*m.p)[key] = v
	return nil
}

func (m *mapOf[V]) PutNull(string) {}
