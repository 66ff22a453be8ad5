package models_test

import (
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

var sweptFor = map[string]session.EndReason{
	"tenant": session.TenantDisabled, "client": session.ClientDisabled, "issuer": session.IssuerDisabled,
}

func TestSweepEndsTheSessionsBeforeACutoff(t *testing.T) {
	for kind, why := range sweptFor {
		t.Run(kind, func(t *testing.T) {
			each(t, func(t *testing.T, w *fixture) {
				refused := w.create(w.alice())
				over := w.create(w.alice())
				must(t, w.EndSession(t.Context(), over, w.Now(), session.SignedOut))
				elsewhere := w.alice()
				elsewhere.TenantID, elsewhere.ClientID, elsewhere.IssuerID = w.neighbour()
				w.create(elsewhere)
				w.clock.Advance(time.Minute)
				mark := w.switched(kind, true)
				before := w.rows()
				for range 2 {
					must(t, w.Sweep(t.Context()))
				}
				w.wantRows(before)
				if row := w.read(refused.ID); row.EndReason != why || !row.EndedAt.Equal(mark.Time) {
					t.Errorf("a refused session ended at %v, %q", row.EndedAt, row.EndReason)
				}
				if row := w.read(over.ID); row.EndReason != session.SignedOut {
					t.Errorf("one that was over ended for the reason %q", row.EndReason)
				}
				if n := w.number("SELECT count(*) FROM sessions WHERE ended_at IS NULL"); n != 1 {
					t.Errorf("%d sessions live, want the one elsewhere", n)
				}
				w.clock.Advance(session.Retention)
				w.prune()
				if n := w.number("SELECT count(*) FROM sessions WHERE subject = 'alice' AND tenant_id = ?", acme); n != 0 {
					t.Errorf("%d rows outlive their retention", n)
				}
			})
		})
	}
}

// neighbour is another tenant with its own client and issuer entry, which no
// cutoff of the first tenant affects.
func (w *fixture) neighbour() (tenantID, client, issuer string) {
	w.Helper()
	spec := tenant()
	spec.ID = "neighbour"
	w.apply(spec)
	config, err := w.TenantConfig(w.Context(), spec.ID)
	must(w, err)
	return spec.ID, "web", config.Issuers[0].ID
}

func TestSweepLeavesOtherClientsAndIssuers(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.apply(settings.TenantSpec{ID: acme, TrustedIssuers: []settings.IssuerSpec{entry("https://b.example.com", "b:")}})
		other := w.config().Issuers[0].ID
		if other == w.issuer {
			other = w.config().Issuers[1].ID
		}
		shop := w.create(w.alice(func(n *models.NewSession) { n.ClientID, n.IssuerID = "shop", other }))
		w.create(w.alice())
		w.clock.Advance(time.Minute)
		w.switched("client", true)
		w.switched("issuer", true)
		must(t, w.Sweep(t.Context()))
		if row := w.read(shop.ID); !row.EndedAt.IsZero() || w.live() != 1 {
			t.Errorf("another client's session ended: %q; %d live", row.EndReason, w.live())
		}
	})
}

// A session created after the cutoff is not swept; if the cutoff moves, Sweep runs
// again.
func TestSweepRunsAgainWhenTheCutoffMoves(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		for round := range 3 {
			w.create(w.alice())
			must(t, w.Sweep(t.Context()))
			if w.live() != 1 {
				t.Errorf("round %d: %d live before anything was disabled", round, w.live())
			}
			w.offAndOn("client")
			fresh := w.create(w.alice())
			must(t, w.Sweep(t.Context()))
			if row := w.read(fresh.ID); !row.EndedAt.IsZero() || w.live() != 1 {
				t.Errorf("round %d: one that signed in afterwards ended: %q; %d live", round, row.EndReason, w.live())
			}
			must(t, w.EndSession(t.Context(), fresh, w.Now(), session.SignedOut))
		}
	})
}

func TestSweepGoesInBatches(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		for range 501 {
			w.create(w.alice())
		}
		w.clock.Advance(time.Minute)
		w.switched("client", true)
		must(t, w.Sweep(t.Context()))
		if w.live() != 0 {
			t.Errorf("%d of 501 still live", w.live())
		}
	})
}
