package meter

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"math/bits"
	"os"
	"strings"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// Money is an amount in picodollars (10^-12 USD), so that list prices such as
// $0.0000166667 and sums of them are exact. It reaches 9.2 million dollars;
// amounts beyond stay at that limit.
type Money int64

// Dollar is one US dollar.
const Dollar Money = 1e12

// ParseMoney reads a plain decimal number of dollars, such as "0.0000166667".
// More than 12 decimal places or more than 9 million dollars are an error.
func ParseMoney(s string) (Money, error) {
	whole, frac, _ := strings.Cut(s, ".")
	if whole == "" && frac == "" || len(frac) > 12 || len(whole) > 7 {
		return 0, fmt.Errorf("%q is not an amount in dollars such as 0.0000166667", s)
	}
	var m Money
	for _, c := range whole + frac + strings.Repeat("0", 12-len(frac)) {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("%q is not an amount in dollars such as 0.0000166667", s)
		}
		digit := Money(c - '0')
		if m > (math.MaxInt64-digit)/10 {
			return 0, fmt.Errorf("%q is more than an amount can hold", s)
		}
		m = m*10 + digit
	}
	return m, nil
}

// String returns the exact amount as a decimal number of dollars, with at least
// two decimal places and no sign for the currency.
func (m Money) String() string {
	sign, u := "", uint64(m)
	if m < 0 {
		sign, u = "-", -u
	}
	frac := strings.TrimRight(fmt.Sprintf("%012d", u%uint64(Dollar)), "0")
	for len(frac) < 2 {
		frac += "0"
	}
	return fmt.Sprintf("%s%d.%s", sign, u/uint64(Dollar), frac)
}

// MarshalText makes m a decimal string in JSON, which no reader rounds.
func (m Money) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText is the inverse of MarshalText for amounts of zero and above.
func (m *Money) UnmarshalText(b []byte) (err error) {
	*m, err = ParseMoney(string(b))
	return err
}

// times returns m * quantity / unit, rounded half up. Negative factors count as
// zero; the product has 128 bits.
func (m Money) times(quantity, unit int64) Money {
	if m <= 0 || quantity <= 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(m), uint64(quantity))
	lo, carry := bits.Add64(lo, uint64(unit)/2, 0)
	hi += carry
	if hi >= uint64(unit) {
		return math.MaxInt64
	}
	q, _ := bits.Div64(hi, lo, uint64(unit))
	return Money(min(q, math.MaxInt64))
}

// plus returns m + n, or the limit.
func (m Money) plus(n Money) Money {
	if m > math.MaxInt64-n {
		return math.MaxInt64
	}
	return m + n
}

// PriceSheet is what usage costs. There are no volume tiers and no free
// allowance: a bill is what the usage is worth at list price.
type PriceSheet struct {
	Name          string `json:"name"`
	MillionCalls  Money  `json:"millionRequests"`             // of 10^6 requests
	GBSecond      Money  `json:"gbSecond"`                    // of memory, 1 GB = 1,024 MB
	StorageSecond Money  `json:"storageGBSecond"`             // of temporary storage above FreeStorageMB
	FreeStorageMB int    `json:"freeStorageMB"`               // that each function has without charge
	KeptGBSecond  Money  `json:"provisionedGBSecond"`         // of memory that is kept ready
	KeptRunSecond Money  `json:"provisionedDurationGBSecond"` // of memory x billed time on what is kept ready; 0 means GBSecond
	ServerGBHour  Money  `json:"serverGBHour"`                // of memory in a server that is always on, for comparison
	Currency      string `json:"currency"`                    // "USD"
	AsOf          string `json:"asOf,omitempty"`              // the month of the list
	Source        string `json:"source,omitempty"`            // where the list is published
}

// ReadPrices reads a price sheet from a file: JSON in the form in which the
// node's usage shows its sheet. What is absent costs nothing.
func ReadPrices(path string) (p PriceSheet, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return p, fmt.Errorf("read the price sheet: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		return p, errs.Newf(errs.Invalid, "the price sheet %s can't be read: %v; `mayfly bill --json` shows the form, in \"prices\"", path, err)
	}
	p.Name, p.Currency = cmp.Or(p.Name, path), cmp.Or(p.Currency, "USD")
	return p, nil
}
