package testadmin

import (
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
)

func TestNodesAreListedAsTheyLastReported(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		report := func(n models.Node) {
			t.Helper()
			if err := d.Store.ReportNode(t.Context(), n); err != nil {
				t.Fatal(err)
			}
		}
		begun := models.At(d.Store.Now())
		report(models.Node{ID: "c", Name: "gone", Version: "v1", StartedAt: begun, LogReadAt: begun})
		d.Clock.Advance(30 * time.Second)
		report(models.Node{ID: "b", Name: "new", Version: "v2", StartedAt: begun, Reason: "the event log has not been read yet"})
		report(models.Node{ID: "a", Name: "old", Version: "v1", StartedAt: begun, LogReadAt: models.At(d.Store.Now().Add(-1500 * time.Millisecond))})
		items := func() []object {
			var list []object
			for _, n := range want(t, 200, d.call(t, d.viewer, "GET", "/nodes", nil)).JSON["items"].([]any) {
				list = append(list, n.(object))
			}
			return list
		}
		list := items()
		if len(list) != 3 || list[0]["state"] != "ready" {
			t.Fatalf("30 seconds after its report, the list is %v", list)
		}
		d.Clock.Advance(time.Microsecond)
		list = items()
		if list[0]["name"] != "gone" || list[0]["state"] != "missing" || list[0]["log_age_seconds"] != 0.0 {
			t.Errorf("the node that does not report is %v", list[0])
		}
		if _, has := list[1]["log_age_seconds"]; has || list[1]["state"] != "not_ready" || list[1]["reason"] != "the event log has not been read yet" || list[1]["version"] != "v2" {
			t.Errorf("the node that is not ready is %v", list[1])
		}
		if _, has := list[2]["reason"]; has || list[2]["id"] != "a" || list[2]["state"] != "ready" || list[2]["log_age_seconds"] != 1.5 {
			t.Errorf("the node that is ready is %v", list[2])
		}

		// The names of hosts belong to no tenant.
		for _, role := range []models.Role{models.RoleAdmin, models.RoleSupport, models.RoleViewer} {
			key, _ := d.NewAdminKey(oauth.AdminKeySpec{Name: "acme's", Role: role, Tenants: []string{"acme", "default"}})
			wantProblem(t, "nodes as "+string(role)+" of some tenants", 403, "forbidden", d.call(t, key, "GET", "/nodes", nil))
		}
	})
}
