package wire

import "encoding/base64"

// Page returns the part of a list, sorted by key, that comes after what token says,
// of at most most elements, and the token of the next part, nil if there is none.
// ok is false if token is none of its own.
func Page[T any](list []T, key func(T) string, token *string, most int) (page []T, next *string, ok bool) {
	after := ""
	if token != nil && *token != "" {
		b, err := base64.RawURLEncoding.DecodeString(*token)
		if err != nil {
			return nil, nil, false
		}
		after = string(b)
	}
	for _, e := range list {
		if key(e) <= after {
			continue
		}
		if len(page) == most {
			t := base64.RawURLEncoding.EncodeToString([]byte(key(page[len(page)-1])))
			return page, &t, true
		}
		page = append(page, e)
	}
	return page, nil, true
}
