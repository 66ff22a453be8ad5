package testadmin

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
)

// webhookSecret signs webhooks in tests that need to know the secret.
const webhookSecret = "whsec_" + "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="

// makeDestination makes sure that the tenant "default" has a webhook, and returns its id.
func (d *deployment) makeDestination(t *testing.T) string {
	t.Helper()
	a := d.call(t, d.owner, "PUT", "/tenants/default/event-destinations/hooks", object{"type": "webhook", "url": "https://hooks.example.com"})
	if a.Status != 200 && a.Status != 201 {
		t.Fatalf("make a destination: status %d %s", a.Status, a.Body)
	}
	return "hooks"
}

// saveDeliveries stores what a node that delivers would.
func (d *deployment) saveDeliveries(t *testing.T, id string, failing bool, put ...models.Delivery) {
	t.Helper()
	const holder = "the test"
	key, now := models.DestinationKey{Tenant: "default", ID: id}, d.Clock.Now()
	held, err := d.Store.Lease(t.Context(), models.DeliveryLease, holder, now, time.Minute)
	if err != nil || !held {
		t.Fatal(held, err)
	}
	state, err := d.Store.DeliveryState(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	state.FailingSince, state.LastError = time.Time{}, ""
	if failing {
		state.FailingSince, state.LastError = now, "the receiver answered 500"
	}
	state.Recent = []models.Attempt{
		{Event: models.EventFrom(now), Type: "session.created", At: now, Took: 12 * time.Millisecond, Number: 1, Status: 500, Error: "the receiver answered 500", Answer: "no"},
		{Event: models.EventFrom(now), Type: "session.created", At: now, Took: 12 * time.Millisecond, Number: 2, Status: 204},
	}
	changed, err := d.Store.SaveDeliveries(t.Context(), holder, []models.DeliveryProgress{{State: *state, Put: put}})
	if err != nil || len(changed) > 0 {
		t.Fatal(changed, err)
	}
}

func callEveryDestinationOperation(t *testing.T, d *deployment, ok func(status int, method, path string, body any, options ...option) *testserver.Answer) {
	const all = "/tenants/default/event-destinations"
	every := object{
		"type": "webhook", "url": "https://hooks.example.com/in", "events": []string{"session.ended.", "key.rotated"}, "paused": true,
		"description": "Our own back end", "allow_private_addresses": true,
	}
	a := ok(201, "PUT", all+"/made", every, header("If-None-Match", "*"))
	if !strings.HasPrefix(a.Text("secret"), "whsec_") {
		t.Errorf("a new webhook got the secret %q", a.Text("secret"))
	}
	ok(200, "PUT", all+"/made", with(every, object{"id": "made", "status": a.JSON["status"], "secret": webhookSecret}), header("If-Match", a.Header.Get("ETag")))
	ok(200, "PATCH", all+"/made", with(every, object{"id": "made", "status": nil, "events": nil, "secret": webhookSecret}))
	ok(201, "PUT", all+"/pushed", object{"type": "set_push", "url": "https://siem.example.com", "audience": "https://siem.example.com", "subject": "iss_sub", "client": "backend", "secret": "Bearer x"})
	ok(200, "PATCH", all+"/pushed", object{"audience": "https://other.example.com", "subject": "complex", "client": "backend"})
	want(t, 201, d.call(t, d.owner, "PUT", "/tenants/default/clients/poller", object{"auth": "secret", "grants": []string{"client-credentials"}, "scopes": []string{"ssf.read"}}))
	ok(201, "PUT", all+"/polled", object{"type": "set_poll", "client": "poller"})
	ok(200, "GET", all+"?q=ed&limit=1", nil)
	ok(200, "GET", all+"?limit=1", nil)
	a = ok(200, "POST", all+"/made/secret", object{"previous_until": "2h"})
	if a.JSON["previous_secret_until"] == nil {
		t.Errorf("the answer with a new secret: %s", a.Body)
	}
	ok(200, "GET", all+"/made", nil)
	ok(200, "POST", all+"/made/secret", nil)
	if a := ok(200, "POST", all+"/made/test", nil); a.Text("state") != "failed" || a.Text("error") == "" {
		t.Errorf("a test of a receiver that does not exist: %s", a.Body)
	}
	now := d.Clock.Now()
	var put []models.Delivery
	for i := range 3 {
		p := models.Delivery{Event: models.EventFrom(now.Add(time.Duration(i) * time.Second)), Type: "session.created", Attempts: 2, FirstAt: now, NextAt: now.Add(time.Hour), Status: 500, Error: "the receiver answered 500", Answer: "no"}
		if i > 0 {
			p.NextAt, p.DeadAt = time.Time{}, now
		}
		put = append(put, p)
	}
	d.saveDeliveries(t, "made", true, put...)
	ok(200, "GET", all+"/made", nil)
	for state, n := range map[string]int{"recent": 1, "waiting": 1, "dead": 1} {
		a := ok(200, "GET", all+"/made/deliveries?limit=1&state="+state, nil)
		if got := len(list(a.JSON["items"])); got != n {
			t.Errorf("%d deliveries with the state %s: %s", got, state, a.Body)
		}
		if cursor := a.Text("next_cursor"); cursor != "" {
			ok(200, "GET", all+"/made/deliveries?limit=1&state="+state+"&cursor="+cursor, nil)
		}
	}
	if a := ok(200, "POST", all+"/made/redeliver", nil); a.JSON["dead"] != 2.0 {
		t.Errorf("redelivering what was given up: %s", a.Body)
	}
	ok(200, "POST", all+"/made/redeliver?since="+url.QueryEscape(now.Add(-time.Hour).Format(time.RFC3339)), nil)
	if err := d.Store.DisableDestination(t.Context(), "default", "made", "the receiver answered 410", models.ServerActor); err != nil {
		t.Fatal(err)
	}
	if a := ok(200, "GET", all+"/made", nil); a.JSON["status"].(object)["state"] != "disabled" {
		t.Errorf("a destination whose receiver answered 410: %s", a.Body)
	}
	if a := ok(200, "POST", all+"/made/enable", nil); a.JSON["status"].(object)["state"] != "paused" {
		t.Errorf("a destination that was enabled again: %s", a.Body)
	}
	ok(204, "DELETE", all+"/made", nil)
	ok(204, "DELETE", all+"/pushed", nil)
	ok(204, "DELETE", all+"/polled", nil)
}

func TestOnlyAnOwnerLetsEventsGoToPrivateAddresses(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		const at = "/tenants/default/event-destinations/inside"
		inside := object{"type": "webhook", "url": "http://127.0.0.1:1/hooks", "allow_private_addresses": true}
		wantProblem(t, "create", 403, "forbidden", d.call(t, d.admin, "PUT", at, inside))
		wantProblem(t, "apply", 403, "forbidden", d.call(t, d.admin, "POST", "/apply", object{"tenants": []object{{"id": "default", "event_destinations": []object{with(inside, object{"id": "inside"})}}}}))
		want(t, 201, d.call(t, d.owner, "PUT", at, inside))
		wantProblem(t, "another address", 403, "forbidden", d.call(t, d.admin, "PATCH", at, object{"url": "http://169.254.169.254/latest"}))
		wantProblem(t, "another address by PUT", 403, "forbidden", d.call(t, d.admin, "PUT", at, with(inside, object{"url": "http://10.0.0.1"})))
		wantProblem(t, "apply to the stored one", 403, "forbidden", d.call(t, d.admin, "POST", "/apply", object{"tenants": []object{{"id": "default", "event_destinations": []object{{"id": "inside", "url": "http://10.0.0.1"}}}}}))
		want(t, 200, d.call(t, d.admin, "PATCH", at, object{"events": []string{"session."}}))
		want(t, 200, d.call(t, d.admin, "PATCH", at, object{"allow_private_addresses": nil, "url": "https://hooks.example.com"}))
		wantProblem(t, "without the switch", 400, "invalid_request", d.call(t, d.admin, "PATCH", at, object{"url": "http://hooks.example.com"}))
	})
}
