package models

import (
	"fmt"

	"github.com/latchkey/latchkey/settings"
)

// nameEntries gives an id to the rows that have none, which an earlier release
// wrote: the id that follows from the issuer's host, with a number from 2 if
// that is taken. The rows must be ordered by age, so that every node chooses
// the same ids. It returns the rows that it named.
func nameEntries(rows []TrustedIssuer) (named []*TrustedIssuer) {
	taken := map[string]bool{}
	for _, row := range rows {
		taken[row.EntryID] = true
	}
	for i := range rows {
		row := &rows[i]
		if row.EntryID != "" {
			continue
		}
		first := settings.IssuerID(row.Settings.Issuer)
		id := first
		for n := 2; taken[id]; n++ {
			suffix := fmt.Sprintf("-%d", n)
			id = first[:min(len(first), settings.MaxIssuerID-len(suffix))] + suffix
		}
		row.EntryID, taken[id] = id, true
		named = append(named, row)
	}
	return named
}
