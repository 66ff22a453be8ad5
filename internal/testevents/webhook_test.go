package testevents

import (
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/settings"
)

func TestAWebhookTellsOfASessionFromItsBeginningToItsEnd(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, url string) {
		r := newReceiver(t)
		d := deployed(t, url, r.webhook("hooks", only("session.")))
		in := d.SignIn("alice")
		d.Clock.Advance(time.Second)
		d.Post("/revoke", []string{"client_id", "web", "token", in.Text("refresh_token")})
		all := r.until(t, "two events", r.count(2))
		for _, got := range all {
			if got.Verified != nil {
				t.Errorf("%s: %v", got.Body, got.Verified)
			}
			if got.Data.Tenant != "default" || got.Data.Client != "web" || got.Data.Issuer == "" || got.ID != got.Data.ID {
				t.Errorf("webhook %s: %s", got.ID, got.Body)
			}
		}
		var alice []received
		for _, got := range all {
			if got.Data.User == "alice" {
				alice = append(alice, got)
			}
		}
		if len(alice) != 2 || alice[0].Type != "session.created" || alice[1].Type != "session.ended.signed_out" {
			t.Fatalf("events of alice: %v", types(alice))
		}
		if alice[0].Data.Session == "" || alice[0].Data.Session != alice[1].Data.Session || alice[0].Data.Sequence >= alice[1].Data.Sequence {
			t.Errorf("events of one session: %s, %s", alice[0].Body, alice[1].Body)
		}
	})
}

func TestADestinationGetsOnlyTheEventsItNames(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		r := newReceiver(t)
		d := deployed(t, url, r.webhook("hooks", only("session.ended.")))
		in := d.SignIn("alice")
		d.Post("/revoke", []string{"client_id", "web", "token", in.Text("refresh_token")})
		all := r.until(t, "the end", r.count(1))
		if len(all) != 1 || all[0].Type != "session.ended.signed_out" {
			t.Errorf("received %v", types(all))
		}
	})
}

func TestTheEndOfASessionNamesWhoEndedIt(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		r := newReceiver(t)
		d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: url, Run: true, Admin: true})
		tenant := testserver.SessionTenant(d.Issuer)
		tenant.EventDestinations = []settings.DestinationSpec{r.webhook("hooks", only("session.ended."))}
		d.Apply(tenant)
		key, row := d.NewAdminKey(oauth.AdminKeySpec{Name: "ops", Role: models.RoleSupport})
		admin := func(method, path string) {
			request, err := http.NewRequestWithContext(t.Context(), method, d.AdminURL+"/admin/v1/tenants/default"+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Authorization", "Bearer "+key)
			resp, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode >= 300 {
				t.Errorf("%s %s: %d", method, path, resp.StatusCode)
			}
		}
		ended := func(users ...string) (sids []string) {
			for _, user := range users {
				sids = append(sids, d.SignIn(user).Text("session_id"))
			}
			return sids
		}
		sids := ended("one", "several", "all", "by-backend-one", "by-backend-all", "self")
		admin(http.MethodDelete, "/sessions/"+sids[0])
		admin(http.MethodDelete, "/sessions?user=several&confirm=5")
		admin(http.MethodDelete, "/users/all/sessions")
		d.Want(204, "", d.Delete("/sessions/"+sids[3], testserver.AsSupport()))
		d.Want(204, "", d.Delete("/sessions?sub=by-backend-all", testserver.AsSupport()))
		self := d.SignIn("self")
		d.Want(204, "", d.Delete("/sessions?scope=all", testserver.AsBearer(self)))
		operator := map[string]any{"name": "ops", "role": "support", "key": row.ID}
		backend := map[string]any{"name": "client support", "role": "client"}
		want := map[string]any{"one": operator, "several": operator, "all": operator, "by-backend-one": backend, "by-backend-all": backend, "self": nil}
		for _, got := range r.until(t, "every end", r.count(7)) {
			actor := got.Data.Details["actor"]
			if expected, known := want[got.Data.User]; !known || !(actor == nil && expected == nil || reflect.DeepEqual(actor, expected)) {
				t.Errorf("%s of %s: actor %v, want %v", got.Type, got.Data.User, actor, expected)
			}
		}
	})
}
