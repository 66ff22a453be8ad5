package testconsole

import (
	"net/url"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

func TestClaimsAreCheckedPreviewedAndSaved(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		tenant := testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend())
		tenant.Users = []settings.UserSpec{{Sub: "alice", Attributes: map[string]any{"plan": "<b>pro</b>"}}}
		d.Apply(tenant)
		b := d.signedIn(t, d.keys[models.RoleAdmin])
		path := clientsPath + "/web/claims"
		page := want(t, 200, b.get(path))
		wantText(t, page, "Every expression can be read.", `"sub": "alice"`, `"amr": [ "pwd" ]`)

		fields := []string{"version", page.version(), "sub", "alice", "how", "hwk", "allow", "token.sub != 'x' &&\n usr.plan == 1", "claim_name", "plan", "claim_value", "user.plan", "claim_name", "bad", "claim_value", "1 +"}
		checked := want(t, 200, b.post(path, append(fields, "action", "check")...))
		wantText(t, checked, "2 expressions cannot be read", "Line 2, column 2: undeclared reference to 'usr'", "Line 1, column 4:", `"plan": "<b>pro</b>"`, `"amr": [ "hwk" ]`)
		if strings.Contains(checked.body, "<b>pro") || !strings.Contains(checked.body, "\n ^</pre>") {
			t.Errorf("the page is %s", checked.body)
		}
		wantText(t, want(t, 200, b.get(path)), "Every expression can be read.") // nothing was saved
		wantText(t, want(t, 200, b.post(path, "action", "check", "claim_name", "empty", "claim_value", " ")), "Line 1, column 1:")
		refused := want(t, 400, b.post(path, append(fields, "action", "save")...))
		wantText(t, refused, "Nothing was changed.", "undeclared reference")

		fields = fields[:12]
		fields[7] = "token.sub != 'x'"
		form := url.Values{"form_token": {b.token(path)}}
		for i := 0; i < len(fields); i += 2 {
			form.Add(fields[i], fields[i+1])
		}
		part := want(t, 200, b.send("POST", path, form, header("HX-Request", "true")))
		if strings.Contains(part.body, "<html") || !strings.Contains(part.body, `id="e-allow" hx-swap-oob="true"`) {
			t.Errorf("the part of the page is %s", part.body)
		}
		want(t, 303, b.post(path, append(fields, "action", "save")...))
		wantText(t, want(t, 200, b.get(path)), "Saved. The next token of each session has the new claims.", "token.sub != 'x'")
		if err := d.OAuth.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if claims := testserver.Claims(t, d.SignIn("alice")); claims["plan"] != "<b>pro</b>" {
			t.Errorf("the access token contains %v", claims)
		}
		page = want(t, 200, b.get(path))
		want(t, 303, b.post(path, "version", page.version(), "sub", "alice", "allow", "", "claim_name", "", "claim_value", "", "action", "save"))
		if page = want(t, 200, b.get(path)); strings.Contains(page.text(), "user.plan") {
			t.Error("the claim is still there")
		}
	})
}

func TestClaimsFollowTheRole(t *testing.T) {
	d := sqlite(t)
	path := clientsPath + "/web/claims"
	for _, role := range []models.Role{models.RoleSupport, models.RoleViewer} {
		b := d.signedIn(t, d.keys[role])
		if page := want(t, 200, b.get(path)); strings.Contains(page.text(), "The access token of") || strings.Contains(page.text(), "Save") {
			t.Errorf("%s sees %s", role, page.text())
		}
		want(t, 403, b.post(path, "action", "check", "sub", "alice"))
	}
	want(t, 404, d.signedIn(t, d.acme).get(path))
}
