package testwire

import (
	"context"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

func TestSessionsOfDisabledUsersAreSwept(t *testing.T) {
	for name, c := range map[string]struct {
		disable func(*settings.TenantSpec)
		why     session.EndReason
	}{
		"client": {func(s *settings.TenantSpec) { s.Clients[0].Disabled = true }, session.ClientDisabled},
		"issuer": {func(s *settings.TenantSpec) { s.TrustedIssuers[0].Disabled = true }, session.IssuerDisabled},
		"tenant": {func(s *settings.TenantSpec) { s.Disabled = true }, session.TenantDisabled},
	} {
		t.Run(name, func(t *testing.T) {
			testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
				other := testserver.NewIssuer(t, d.Clock)
				acme := testserver.Tenant("acme", other, testserver.Web())
				d.Apply(acme)
				bystander := d.Want(200, "", d.Exchange("/t/acme", "web", other.Token(d.URL+"/t/acme", "alice", nil)))
				var sids []string
				for range 3 {
					sids = append(sids, d.SignIn("alice").Text("session_id"))
				}
				tenant := testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend())
				c.disable(&tenant)
				d.Clock.Advance(time.Second)
				d.Apply(tenant)
				for range 2 { // the second time there is nothing to do
					if err := d.Store.Sweep(context.Background()); err != nil {
						t.Fatal(err)
					}
				}
				for _, sid := range sids {
					if row := d.SessionRow("default", sid); row.EndReason != c.why || !row.EndedAt.Equal(d.Clock.Now()) {
						t.Errorf("ended at %v because of %q", row.EndedAt, row.EndReason)
					}
				}
				if row := d.SessionRow("acme", bystander.Text("session_id")); !row.EndedAt.IsZero() {
					t.Errorf("a session of another tenant was ended: %q", row.EndReason)
				}
			})
		})
	}
}
