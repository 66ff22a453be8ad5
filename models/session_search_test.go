package models_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
)

func TestTheSessionsOfAUserAreReadPageByPage(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		var all, shops []models.SessionID // the oldest first
		for i := range 25 {
			client := "web"
			if i%5 == 0 {
				client = "shop"
			}
			row := w.create(w.alice(func(n *models.NewSession) { n.ClientID = client }))
			w.create(w.alice(func(n *models.NewSession) { n.Subject = "bob" }))
			all = append(all, row.ID)
			if client == "shop" {
				shops = append(shops, row.ID)
			}
			if i%3 == 0 { // several begin at the same moment
				w.clock.Advance(time.Second)
			}
		}
		created := map[models.SessionID]time.Time{}
		for name, c := range map[string]struct {
			filter models.SessionFilter
			want   []models.SessionID
		}{
			"all":                      {models.SessionFilter{}, all},
			"at a client":              {models.SessionFilter{Client: "shop"}, shops},
			"at a client without them": {models.SessionFilter{Client: "other"}, nil},
			"in a range of time":       {models.SessionFilter{CreatedAfter: start.Add(2 * time.Second), CreatedBefore: start.Add(5 * time.Second)}, all[4:13]},
		} {
			for _, limit := range []int{1, 4, 100} {
				var got []models.SessionID
				f := c.filter
				f.Tenant, f.User, f.Limit = acme, "alice", limit
				for {
					list, next, err := w.SearchSessions(t.Context(), f)
					must(t, err)
					if len(list) > limit {
						t.Errorf("%s: a page of %d", name, len(list))
					}
					for _, row := range list {
						got = append(got, row.ID)
						created[row.ID] = row.CreatedAt
					}
					if next == (models.SessionCursor{}) {
						break
					}
					f.After = next
				}
				newestFirst := slices.IsSortedFunc(got, func(a, b models.SessionID) int { return created[b].Compare(created[a]) })
				if !newestFirst || !sameIDs(got, c.want) {
					t.Errorf("%s, %d on a page: %d sessions, the newest first: %v; want %d", name, limit, len(got), newestFirst, len(c.want))
				}
			}
		}
	})
}

// sameIDs reports whether two lists have the same sessions, each once.
func sameIDs(a, b []models.SessionID) bool {
	sorted := func(ids []models.SessionID) (texts []string) {
		for _, id := range ids {
			texts = append(texts, fmt.Sprint(id))
		}
		slices.Sort(texts)
		return texts
	}
	return slices.Equal(sorted(a), sorted(b))
}
