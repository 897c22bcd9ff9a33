package meter

import (
	"context"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

// Scope is a part of what is used. Fields that are "" select all.
type Scope struct {
	Function string `json:"function,omitempty"`
	Alias    string `json:"alias,omitempty"` // that callers name
	Tag      string `json:"tag,omitempty"`   // key of a tag of the function
	Value    string `json:"value,omitempty"` // of Tag
}

// Selects reports whether the calls of a function that name an alias ("" for none)
// are in the scope. tags are the function's; they are read only if Tag is set.
func (s *Scope) Selects(function, alias string, tags map[string]string) bool {
	if s.Function != "" && function != s.Function || s.Alias != "" && alias != s.Alias {
		return false
	}
	if s.Tag == "" {
		return true
	}
	value, ok := tags[s.Tag]
	return ok && value == s.Value
}

// Spent returns what the records of each scope cost since a time, which is
// rounded down as a Query's is, at the prices of p. Records that were added before
// the call count. The ledger is read once for all scopes.
func (l *Ledger) Spent(ctx context.Context, since time.Time, scopes []Scope, p PriceSheet) ([]Money, error) {
	if err := l.settle(ctx); err != nil {
		return nil, err
	}
	usage := make([]Usage, len(scopes))
	err := l.db.View(func(tx *bbolt.Tx) error {
		tags, err := readTags(tx)
		if err != nil {
			return err
		}
		for _, sp := range cover(since, time.Time{}, time.Now(), byDay) {
			err := eachRow(tx, sp, func(_ time.Time, k rowKey, s sums) {
				for i := range scopes {
					if scopes[i].Selects(k.Function, k.Alias, tags[k.Tags]) {
						usage[i].add(&k, &s, &p)
					}
				}
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	spent := make([]Money, len(scopes))
	for i := range usage {
		usage[i].price(&p)
		spent[i] = usage[i].Cost
	}
	return spent, nil
}
