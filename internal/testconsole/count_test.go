package testconsole

import (
	"fmt"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/handlers/admin"
	"github.com/latchkey/latchkey/models"
)

// storeSessions stores n further sessions of alice, which are copies of hers. set
// replaces the values of columns.
func (d *deployment) storeSessions(t *testing.T, n int, set map[string]string) {
	t.Helper()
	columns := strings.Split("tenant_id client_id issuer_id subject created_at auth_time last_active_at absolute_expires_at idle_expires_at generation session_token_generation "+
		"factors session_attributes scope audience device_name user_agent ip ended_at end_reason prune_at", " ")
	values := make([]string, len(columns))
	for i, column := range columns {
		values[i] = column
		if value, found := set[column]; found {
			values[i] = value
		}
	}
	d.Tamper(fmt.Sprintf(`INSERT INTO sessions (id, %s) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
		SELECT randomblob(16), %s FROM n, (SELECT * FROM sessions WHERE subject = 'alice' LIMIT 1)`, strings.Join(columns, ", "), n, strings.Join(values, ", ")))
}

func TestNumbersAboveTenThousandAreMoreThanThat(t *testing.T) {
	d := sqlite(t)
	d.SignIn("alice")
	d.storeSessions(t, 10_001, nil)
	d.SignIn("bob")
	b := d.signedIn(t, d.keys[models.RoleAdmin])
	const at = "/console/t/default"
	wantText(t, want(t, 200, b.get(at+"/users/show?sub=alice")), "more than 10,000 live sessions")
	wantText(t, want(t, 200, b.get(at+"/users/sign-out?sub=alice")), "This ends more than 10,000 live sessions")
	end := at + "/sessions/end?user=alice"
	page := want(t, 200, b.get(end))
	wantText(t, page, "This ends more than 10,000 live sessions of the user alice")
	if most := fieldValue(page, "count"); most != fmt.Sprint(admin.MaxConfirm) {
		t.Errorf("the form ends at most %s sessions", most)
	}
	wantText(t, want(t, 200, b.get(at+"/users/show?sub=bob")), "1 live session")

	want(t, 200, b.post(at+"/new-destination", "id", "audit", "type", "webhook", "url", "https://hooks.example.com/"))
	d.Tamper(`INSERT INTO event_deliveries (tenant_id, destination_id, event_id, type, attempts, dead_at, status, error, answer)
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10001)
		SELECT 'default', 'audit', CAST(printf('%016d', i) AS BLOB), 'session.created', 1, 1, 0, '', '' FROM n`)
	wantText(t, want(t, 200, b.get(at+"/destinations")), "more than 10,000")
	wantText(t, want(t, 200, b.get(at+"/destinations/audit")), "Given up (more than 10,000)", "Waiting (0)")
}

// The live sessions of a user are not counted among more than 10,000 stored ones.
func TestTheSessionsOfAUserWithVeryManyAreShown(t *testing.T) {
	d := sqlite(t)
	d.SignIn("alice")
	d.storeSessions(t, 10_001, map[string]string{"created_at": "created_at + i", "ended_at": "created_at", "end_reason": "'signed_out'"})
	b := d.signedIn(t, d.keys[models.RoleAdmin])
	const at = "/console/t/default"
	want(t, 200, b.get(at+"/users/show?sub=alice"))
	wantText(t, want(t, 200, b.get(at+"/users/delete?sub=alice")), "This ends all live sessions and deletes")
	page := want(t, 200, b.get(at+"/sessions/end?user=alice"))
	wantText(t, page, "This ends all live sessions of the user alice")
	r := want(t, 303, b.post(at+"/sessions/end?user=alice", "user", "alice", "count", fieldValue(page, "count"), "confirm", "alice"))
	wantText(t, b.get(r.header.Get("Location")), "1 session ended.")
}
