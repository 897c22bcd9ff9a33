package wire

import (
	"encoding/base64"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// store writes v to a scalar's place, with one star or two.
func store[T any](place any, v T) {
	switch p := place.(type) {
	case **T:
		*p = &v
	case *T:
		*p = v
	default:
		panic(fmt.Sprintf("wire: a place of type %T can't hold a %T", place, v))
	}
}

// load reads a scalar from its place. An absent one gives the zero value.
func load[T any](place any) (v T) {
	switch p := place.(type) {
	case **T:
		if *p != nil {
			return **p
		}
		return v
	case *T:
		return *p
	default:
		panic(fmt.Sprintf("wire: a place of type %T does not hold a %T", place, v))
	}
}

// absent reports whether a member has no value. It is not for elements of
// lists and maps, which always have one.
func absent(place any) bool {
	switch p := place.(type) {
	case nil:
		return true
	case **string:
		return *p == nil
	case *string:
		return *p == ""
	case **bool:
		return *p == nil
	case **int32:
		return *p == nil
	case **int64:
		return *p == nil
	case **float32:
		return *p == nil
	case **float64:
		return *p == nil
	case **time.Time:
		return *p == nil
	case *[]byte:
		return *p == nil
	case *any:
		return *p == nil
	case *io.Reader:
		return *p == nil
	case *EventStream:
		return *p == nil
	case Nested:
		return p.Get() == nil
	case List:
		return p.Len() < 0
	case Map:
		return p.Len() < 0
	default:
		panic(fmt.Sprintf("wire: %T is no place", place))
	}
}

// structAt returns the structure at a place, made new if it is absent.
func structAt(place any) Struct {
	if n, ok := place.(Nested); ok {
		return n.New()
	}
	return place.(Struct)
}

// structOf returns the structure at a place that is not absent.
func structOf(place any) Struct {
	if n, ok := place.(Nested); ok {
		return n.Get()
	}
	return place.(Struct)
}

// setText parses the text form of a scalar, as headers, URIs, query parameters
// and XML have it, into its place.
func setText(m *Member, place any, s string) error {
	switch m.Type {
	case TypeString:
		store(place, s)
	case TypeBoolean:
		switch s {
		case "true":
			store(place, true)
		case "false":
			store(place, false)
		default:
			return conversion("STRING_VALUE", "a Boolean")
		}
	case TypeInteger:
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil {
			return conversion("STRING_VALUE", "an Integer")
		}
		store(place, int32(n))
	case TypeLong:
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return conversion("STRING_VALUE", "a Long")
		}
		store(place, n)
	case TypeFloat, TypeDouble:
		f, err := parseFloat(s)
		if err != nil {
			return conversion("STRING_VALUE", "a Double")
		}
		storeFloat(m, place, f)
	case TypeTimestamp:
		t, err := parseTime(s)
		if err != nil {
			return err
		}
		store(place, t)
	case TypeBlob:
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return serialization("a blob is not valid base64")
		}
		store(place, b)
	default:
		return serialization("%s can not be read from text", m.WireName())
	}
	return nil
}

// text returns the text form of a scalar; timestamps in the member's format or
// else in def.
func text(m *Member, place any, def TimeFormat) string {
	switch m.Type {
	case TypeString:
		return load[string](place)
	case TypeBoolean:
		return strconv.FormatBool(load[bool](place))
	case TypeInteger:
		return strconv.FormatInt(int64(load[int32](place)), 10)
	case TypeLong:
		return strconv.FormatInt(load[int64](place), 10)
	case TypeFloat:
		return formatFloat(float64(load[float32](place)), 32)
	case TypeDouble:
		return formatFloat(load[float64](place), 64)
	case TypeTimestamp:
		return formatTime(load[time.Time](place), m.format(def))
	case TypeBlob:
		return base64.StdEncoding.EncodeToString(load[[]byte](place))
	default:
		panic("wire: " + m.WireName() + " has no text form")
	}
}

func storeFloat(m *Member, place any, f float64) {
	if m.Type == TypeFloat {
		store(place, float32(f))
		return
	}
	store(place, f)
}

// parseFloat reads a number or one of the three names that JSON has no number for.
func parseFloat(s string) (float64, error) {
	switch s {
	case "NaN":
		return math.NaN(), nil
	case "Infinity":
		return math.Inf(1), nil
	case "-Infinity":
		return math.Inf(-1), nil
	}
	if strings.ContainsAny(s, "xX_nN") {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseFloat(s, 64)
}

func formatFloat(f float64, bits int) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return strconv.FormatFloat(f, 'g', -1, bits)
}

// parseTime reads a timestamp in any of the three formats: they can't be
// confused, and clients do not always send the one that the model names.
func parseTime(s string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(f) < 1<<53 {
		return epoch(f), nil
	}
	if t, err := http.ParseTime(s); err == nil {
		return t, nil
	}
	// HTTP dates with a fraction of a second.
	if t, err := time.Parse("Mon, 02 Jan 2006 15:04:05.999999999 GMT", s); err == nil {
		return t, nil
	}
	return time.Time{}, serialization("%q is not a timestamp", s)
}

// epoch turns seconds since 1970 into a time, to the millisecond: a float64
// holds no more for present dates.
func epoch(f float64) time.Time {
	sec, frac := math.Modf(f)
	return time.Unix(int64(sec), int64(math.Round(frac*1e3))*1e6).UTC()
}

func conversion(have, want string) *Error {
	return serialization("%s can not be converted to %s", have, want)
}
