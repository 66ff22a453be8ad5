package testadmin

import (
	"fmt"
	"testing"

	"github.com/latchkey/latchkey/internal/testserver"
)

func TestAPreviewIsTheAccessTokenThatTheClaimsWouldMake(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		const web = "/tenants/default/clients/web"
		claims := object{"plan": "user.?plan.orValue('free')"}
		want(t, 200, d.call(t, d.admin, "PATCH", web, object{"allow": "token.sub != 'mallory'", "claims": object{"stored": "'yes'"}}))
		want(t, 201, d.call(t, d.admin, "PUT", "/tenants/default/users/alice", object{"attributes": object{"plan": "pro"}}))
		before := d.Stored(configured...)
		stored := want(t, 200, d.call(t, d.admin, "POST", web+"/preview", object{"sub": "alice"}))
		if token := stored.JSON["access_token"].(object); token["stored"] != "yes" || stored.JSON["user_exists"] != true {
			t.Errorf("without expressions, the preview has not those that are stored: %s", stored.Body)
		}
		if a := want(t, 200, d.call(t, d.admin, "POST", web+"/preview", object{"sub": "nobody"})); a.JSON["user_exists"] != false {
			t.Errorf("a user who does not exist: %s", a.Body)
		}
		shown := want(t, 200, d.call(t, d.admin, "POST", web+"/preview", object{"sub": "alice", "claims": claims})).JSON["access_token"].(object)
		if d.Stored(configured...) != before {
			t.Error("a preview has written")
		}
		want(t, 200, d.call(t, d.admin, "PATCH", web, object{"claims": object{"stored": nil, "plan": claims["plan"]}}))
		d.reload(t)
		real := testserver.Claims(t, d.SignIn("alice"))
		for _, token := range []object{shown, real} {
			for _, name := range []string{"jti", "sid", "iat", "exp", "auth_time", "session_expiry"} { // of the sign-in
				delete(token, name)
			}
		}
		if shown["plan"] != "pro" || jsonOf(shown) != jsonOf(real) {
			t.Errorf("previewed %s\nissued    %s", jsonOf(shown), jsonOf(real))
		}
	})
}

func TestAPreviewNamesTheExpressionsThatDoNotCompile(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, sqlite(t))
	const preview = "/tenants/default/clients/web/preview"
	a := want(t, 200, d.call(t, d.admin, "POST", preview, object{"sub": "alice", "allow": "true &&\n tokn.sub == ''", "claims": object{"a/b~c": "1 +", "sub": "'bob'", "fine": "1"}}))
	faults := map[any]object{}
	for _, f := range list(a.JSON["faults"]) {
		faults[f.(object)["pointer"]] = f.(object)
	}
	if len(faults) != 3 || faults["/allow"]["line"] != 2.0 || faults["/allow"]["column"] != 2.0 || faults["/claims/a~1b~0c"] == nil || faults["/claims/sub"] == nil {
		t.Errorf("the faults are %s", a.Body)
	}
	if token := a.JSON["access_token"].(object); token["fine"] != 1.0 || token["sub"] != "alice" {
		t.Errorf("the access token is %v", token)
	}
	many := object{}
	for i := range 51 {
		many[fmt.Sprint("c", i)] = "1"
	}
	for what, body := range map[string]object{"no sub": {}, "NUL": {"sub": "a\x00"}, "51 claims": {"sub": "alice", "claims": many}} {
		wantProblem(t, what, 400, "invalid_request", d.call(t, d.admin, "POST", preview, body, malformed))
	}
}
