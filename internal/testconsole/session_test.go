package testconsole

import (
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
)

func TestASessionThatReuseEndedShowsItsEndOnce(t *testing.T) {
	d := sqlite(t)
	b := d.signedIn(t, d.keys[models.RoleOwner])
	answer := d.SignIn("alice")
	first, sid := answer.Text("refresh_token"), answer.Text("session_id")
	for next, n := first, 0; n < 3; n++ {
		d.Clock.Advance(2 * time.Minute)
		next = d.Want(200, "", d.Refresh("", "web", next)).Text("refresh_token")
	}
	d.Want(400, "invalid_grant", d.Refresh("", "web", first))
	page := want(t, 200, b.get("/console/t/default/sessions/"+sid)).text()
	if n := strings.Count(page, "Ended: a used refresh token was sent again"); n != 1 || !strings.Contains(page, "current generation 3") {
		t.Errorf("the end is shown %d times: %s", n, page)
	}
}
