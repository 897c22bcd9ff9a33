package pattern

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// mostNumber bounds the numbers that patterns compare, as EventBridge does.
const mostNumber = 5e9

// bound is one side of a range of numbers.
type bound struct {
	op    string
	value float64
}

func (b bound) allows(f float64) bool {
	switch b.op {
	case "=":
		return f == b.value
	case "<":
		return f < b.value
	case "<=":
		return f <= b.value
	case ">":
		return f > b.value
	default:
		return f >= b.value
	}
}

// numeric takes ["=", n], one bound, or a lower and an upper one.
func numeric(arg any) (test, error) {
	list, ok := arg.([]any)
	if !ok || len(list) != 2 && len(list) != 4 {
		return nil, fmt.Errorf("takes a list such as [\">\", 0, \"<=\", 5], not %s", spell(arg))
	}
	var bounds []bound
	for i := 0; i < len(list); i += 2 {
		b, err := readBound(list[i], list[i+1])
		if err != nil {
			return nil, err
		}
		bounds = append(bounds, b)
	}
	if len(bounds) == 2 {
		low, high := bounds[0], bounds[1]
		if low.op[0] != '>' || high.op[0] != '<' {
			return nil, fmt.Errorf("takes the lower bound first (> or >=) and then the upper one (< or <=), not %s", spell(arg))
		}
		if low.value >= high.value {
			return nil, fmt.Errorf("has no number between %s and %s", spell(list[1]), spell(list[3]))
		}
	}
	return func(v any) bool {
		n, ok := v.(json.Number)
		if !ok {
			return false
		}
		f, err := n.Float64()
		if err != nil {
			return false
		}
		for _, b := range bounds {
			if !b.allows(f) {
				return false
			}
		}
		return true
	}, nil
}

func readBound(op, value any) (bound, error) {
	o, _ := op.(string)
	switch o {
	case "=", "<", "<=", ">", ">=":
	default:
		return bound{}, fmt.Errorf("compares with =, <, <=, > or >=, not %s", spell(op))
	}
	n, ok := value.(json.Number)
	if !ok {
		return bound{}, fmt.Errorf("compares with numbers, not %s", spell(value))
	}
	f, err := readNumber(n)
	return bound{o, f}, err
}

func readNumber(n json.Number) (float64, error) {
	f, err := strconv.ParseFloat(string(n), 64)
	if err != nil || f < -mostNumber || f > mostNumber {
		return 0, fmt.Errorf("takes numbers from -5.0e9 to 5.0e9, not %s", n)
	}
	return f, nil
}

// sameNumber allows a number however it is spelled.
func sameNumber(want json.Number) (test, error) {
	f, err := readNumber(want)
	if err != nil {
		return nil, err
	}
	return func(v any) bool {
		n, ok := v.(json.Number)
		if !ok {
			return false
		}
		g, err := n.Float64()
		return err == nil && f == g
	}, nil
}
