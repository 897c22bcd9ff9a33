package lambda

import (
	"encoding/base64"
	"strconv"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
)

const (
	maxPage      = 50    // the longest page of a list, whatever the caller asks for
	maxListItems = 10000 // the most that MaxItems of most lists may say
)

// pageSize returns how long a page is for a caller who asks for maxItems of at
// most limit.
func pageSize(maxItems *int32, limit int) (int, error) {
	if maxItems == nil {
		return maxPage, nil
	}
	var c constraints
	n := int(*maxItems)
	switch {
	case n < 1:
		c.add("maxItems", strconv.Itoa(n), "Member must have value greater than or equal to 1")
	case n > limit:
		c.add("maxItems", strconv.Itoa(n), "Member must have value less than or equal to "+strconv.Itoa(limit))
	}
	return min(maxPage, n), c.err()
}

// marker returns the NextMarker of a page that ends with the named entry.
func marker(last string) *string {
	return new(base64.RawURLEncoding.EncodeToString([]byte(last)))
}

// readMarker returns the name of the entry after which a list goes on. valid
// says whether it can be one.
func readMarker(marker *string, valid func(string) bool) (string, error) {
	if wire.Value(marker) == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(*marker)
	if err != nil || !valid(string(b)) {
		return "", invalid("Invalid marker: pass the NextMarker of the page before.")
	}
	return string(b), nil
}
