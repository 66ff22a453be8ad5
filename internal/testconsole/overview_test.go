package testconsole

import (
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

func TestOverviewShowsWhatHappened(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		for name, n := range map[string]int{"exchange.ok": 7, "refresh.rotated": 1234, "refresh.refused.refresh_reused": 3} {
			for range n {
				d.Store.AddStat("default", name)
			}
		}
		d.Store.AddStat("acme", "exchange.refused.subject_token_expired")
		if err := d.Store.SyncStats(t.Context(), "node"); err != nil {
			t.Fatal(err)
		}
		b := d.signedIn(t, d.keys[models.RoleViewer])
		page := want(t, 200, b.get("/console/t/default/overview"))
		wantText(t, page, "Exchanges 7", "Refreshes 1,234", "Refusals 3", "Reuse detected 3 in the last 30 days", "refresh refresh_reused 3", "Client tokens that were refused, and why", "enabled")
		if !strings.Contains(page.body, `aria-label="Last hour. Refreshes: 1,234 in total, at most 1,234 a minute. Exchanges: 7 in total`) || !strings.Contains(page.body, `d="M0.0 60.0L`) {
			t.Errorf("the page has no chart: %s", page.body)
		}
		if strings.Contains(page.text(), "First steps") || strings.Contains(page.text(), "subject_token_expired") {
			t.Errorf("the page is %s", page.text())
		}
		part := want(t, 200, b.get("/console/t/default/overview", header("HX-Request", "true")))
		if !strings.HasPrefix(strings.TrimSpace(part.body), `<div class="live" id="live"`) || strings.Contains(part.body, "<html") {
			t.Errorf("the part of the page that is read again is %s", part.body)
		}
	})
}

func TestOverviewListsTheFirstStepsUntilTheFirstExchange(t *testing.T) {
	d := sqlite(t)
	d.Apply(settings.TenantSpec{ID: "fresh"})
	admin, viewer := d.signedIn(t, d.keys[models.RoleAdmin]), d.signedIn(t, d.keys[models.RoleViewer])
	page := want(t, 200, admin.get("/console/t/fresh/overview"))
	wantText(t, page, "First steps", "Trust your authentication service Add an issuer", "Create a client Create a client A client is an app", "No issuer is trusted yet")
	if page = want(t, 200, viewer.get("/console/t/fresh/overview")); strings.Contains(page.text(), "Add an issuer") {
		t.Error("a viewer is offered to add an issuer")
	}
	page = want(t, 200, admin.get("/console/t/acme/overview"))
	wantText(t, page, "Trust your authentication service done", "Create a client done", "Exchange the first token Use the client")
	d.Store.AddStat("acme", "exchange.ok")
	if err := d.Store.SyncStats(t.Context(), "node"); err != nil {
		t.Fatal(err)
	}
	if page = want(t, 200, admin.get("/console/t/acme/overview")); strings.Contains(page.text(), "First steps") {
		t.Error("the first steps are still there after the first exchange")
	}
}

func TestOverviewIsForItsRolesAndTenants(t *testing.T) {
	d := sqlite(t)
	want(t, 403, d.signedIn(t, d.keys[models.RoleSupport]).get("/console/t/default/overview"))
	acme := d.signedIn(t, d.acme)
	want(t, 200, acme.get("/console/t/acme/overview"))
	want(t, 404, acme.get("/console/t/default/overview"))
}

func TestOverviewShowsTheNodes(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		viewer, acme := d.signedIn(t, d.keys[models.RoleViewer]), d.signedIn(t, d.acme)
		wantText(t, want(t, 200, viewer.get("/console/t/acme/overview")), "No node has reported yet")
		report := func(name, version, reason string, up, lag time.Duration) {
			t.Helper()
			now := d.Store.Now()
			if err := d.Store.ReportNode(t.Context(), models.Node{ID: name, Name: name, Version: version, StartedAt: models.At(now.Add(-up)), LogReadAt: models.At(now.Add(-lag)), Reason: reason}); err != nil {
				t.Fatal(err)
			}
		}
		report("node-a", "v1.0.0", "", 2*time.Hour, 100*time.Millisecond)
		page := want(t, 200, viewer.get("/console/t/acme/overview"))
		wantText(t, page, "node-a ready seen now v1.0.0 2 hours ago 0.1 s")
		if strings.Contains(page.text(), "differs") || strings.Contains(page.text(), "different versions") || strings.Contains(page.text(), "stop properly") {
			t.Errorf("with one node, the page is %s", page.text())
		}
		d.Clock.Advance(31 * time.Second)
		report("node-b", "v1.0.0", "the event log was last read 12s ago", 2*time.Hour, 12*time.Second)
		report("node-c", "v1.1.0", "", time.Hour, 0) // started last
		part := want(t, 200, viewer.get("/console/t/acme/overview", header("HX-Request", "true")))
		wantText(t, part, "A node does not report", "node-a missing seen 31 seconds ago v1.0.0 2 hours ago unknown",
			"node-b not ready seen now : the event log was last read 12s ago v1.0.0 differs 2 hours ago 12.0 s", "node-c ready seen now v1.1.0 60 minutes ago 0.0 s", "The nodes run different versions")
		if page := want(t, 200, acme.get("/console/t/acme/overview")); strings.Contains(page.text(), "node-") || strings.Contains(page.text(), "Nodes") {
			t.Error("a key of one tenant sees the nodes of the deployment")
		}
		d.Clock.Advance(models.NodeKept)
		wantText(t, want(t, 200, viewer.get("/console/t/acme/overview")), "No node has reported yet")
	})
}
