package wire

// Value returns what an optional member points to, or the zero value for one that
// was not given.
func Value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// Some returns a pointer to v for an optional member, or nil for the zero value,
// which is then not in the answer.
func Some[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
