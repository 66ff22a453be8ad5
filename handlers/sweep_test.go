package handlers_test

import (
	"context"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
)

func TestSessionsOfTheDisabledAreSwept(t *testing.T) {
	for name, c := range map[string]struct {
		disable func(*models.TenantSpec)
		why     session.EndReason
	}{
		"client": {func(s *models.TenantSpec) { s.Clients[0].Disabled = true }, session.ClientDisabled},
		"issuer": {func(s *models.TenantSpec) { s.TrustedIssuers[0].Disabled = true }, session.IssuerDisabled},
		"tenant": {func(s *models.TenantSpec) { s.Disabled = true }, session.TenantDisabled},
	} {
		t.Run(name, func(t *testing.T) {
			eachDatabase(t, func(t *testing.T, w *world) {
				other := testserver.NewIssuer(t, w.Clock)
				acme := testserver.Tenant("acme", other, testserver.Web())
				w.Apply(acme)
				bystander := w.want(200, "", w.Exchange("/t/acme", "web", other.Token(w.URL+"/t/acme", "alice", nil)))
				var sids []string
				for range 3 {
					sids = append(sids, w.signIn("alice").Text("session_id"))
				}
				tenant := testserver.Tenant("default", w.issuer, testserver.Web(), testserver.Backend())
				c.disable(&tenant)
				w.Clock.Advance(time.Second)
				w.Apply(tenant)
				for range 2 { // the second time there is nothing to do
					if err := w.Store.Sweep(context.Background()); err != nil {
						t.Fatal(err)
					}
				}
				for _, sid := range sids {
					if row := w.session("default", sid); row.EndReason != c.why || !row.EndedAt.Equal(w.Clock.Now()) {
						t.Errorf("ended at %v because of %q", row.EndedAt, row.EndReason)
					}
				}
				if row := w.session("acme", bystander.Text("session_id")); !row.EndedAt.IsZero() {
					t.Errorf("a session of another tenant was ended: %q", row.EndReason)
				}
			})
		})
	}
}

func (w *world) session(tenant, sid string) *models.Session {
	w.t.Helper()
	id, err := models.ParseSessionID(sid)
	if err != nil {
		w.t.Fatal(err)
	}
	row, err := w.Store.Session(context.Background(), tenant, id)
	if err != nil {
		w.t.Fatal(err)
	}
	return row
}
