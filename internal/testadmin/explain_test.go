package testadmin

import (
	"crypto/ecdsa"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
)

// failedCheck returns the failed check of an explanation.
func failedCheck(a *testserver.Answer) (name, reason string) {
	for _, check := range list(a.JSON["checks"]) {
		if check := check.(object); check["outcome"] == "failed" {
			reason, _ := check["reason"].(string)
			return check["name"].(string), reason
		}
	}
	return "", ""
}

func TestExplainGivesTheReasonOfTheExchange(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		want(t, 200, d.call(t, d.admin, "PATCH", "/tenants/default/clients/web", object{"allow": "token.sub != 'mallory'"}))
		want(t, 200, d.call(t, d.admin, "PATCH", "/tenants/default/trusted-issuers/"+d.entryID("default"), object{"subject": "token.sub", "user_attributes": object{"age": "token.?age.orValue(0) + 1"}}))
		want(t, 201, d.call(t, d.admin, "PUT", "/tenants/default/users/disabled", object{"disabled": true}))
		want(t, 201, d.call(t, d.admin, "PUT", "/tenants/default/clients/machine", object{"auth": "secret", "secret": testserver.ClientSecret, "grants": []string{"client-credentials"}}))
		d.reload(t)
		now := d.Clock.Now().Unix()
		key := d.Issuer.Key.(*ecdsa.PrivateKey)
		token := func(change object) string { return d.Issuer.Token(d.URL, "alice", change) }
		spent := token(nil)
		d.Want(200, "", d.Exchange("", "web", spent))
		d.SignIn("gone")
		want(t, 200, d.call(t, d.support, "DELETE", "/tenants/default/users/gone/sessions", nil))
		cut := func(s string) string { return s[:len(s)-4] }
		for what, c := range map[string]struct{ token, check string }{
			"not a JWT":              {"x.y", "format"},
			"no text":                {"...", "format"},
			"alg none":               {testserver.Forge(`{"alg":"none"}`, jsonOf(d.Issuer.Claims(d.URL, "alice")), func(string) []byte { return nil }), ""},
			"another alg":            {testserver.Forge(`{"alg":"HS256"}`, jsonOf(d.Issuer.Claims(d.URL, "alice")), testserver.HS256([]byte("x"))), ""},
			"another key":            {testserver.Forge(`{"alg":"ES256","kid":"test-key"}`, jsonOf(d.Issuer.Claims(d.URL, "alice")), testserver.ES256(testserver.NewES256Key(t))), "signature"},
			"another kid":            {testserver.Forge(`{"alg":"ES256","kid":"no-key"}`, jsonOf(d.Issuer.Claims(d.URL, "alice")), testserver.ES256(key)), "signature"},
			"another typ":            {testserver.Forge(`{"alg":"ES256","kid":"test-key","typ":"at+jwt"}`, jsonOf(d.Issuer.Claims(d.URL, "alice")), testserver.ES256(key)), "typ"},
			"a broken signature":     {cut(token(nil)) + "AAAA", "signature"},
			"another iss":            {token(object{"iss": "https://elsewhere.example.com"}), "issuer"},
			"no iss":                 {token(object{"iss": nil}), "issuer"},
			"another aud":            {token(object{"aud": "https://elsewhere.example.com"}), "audience"},
			"two aud":                {token(object{"aud": []string{d.URL, "https://elsewhere.example.com"}}), "audience"},
			"no aud":                 {token(object{"aud": nil}), "audience"},
			"expired":                {token(object{"exp": now - 60, "iat": now - 120}), "times"},
			"no exp":                 {token(object{"exp": nil}), "times"},
			"an exp that is text":    {token(object{"exp": "soon"}), ""},
			"too old":                {token(object{"iat": now - 3600, "exp": now + 60}), "times"},
			"from the future":        {token(object{"iat": now + 3600, "exp": now + 3660}), "times"},
			"not yet":                {token(object{"nbf": now + 3600}), "times"},
			"too long":               {token(object{"exp": now + 86400}), "times"},
			"for another client":     {token(object{"client_id": "backend"}), "client_id"},
			"no jti":                 {token(object{"jti": nil}), "jti"},
			"an amr that is no list": {token(object{"amr": "pwd"}), "assertions"},
			"a future auth_time":     {token(object{"auth_time": now + 3600}), "assertions"},
			"no sub":                 {token(object{"sub": nil}), ""},
			"an empty sub":           {token(object{"sub": ""}), ""},
			"a mapping that fails":   {token(object{"age": "old"}), "subject"},
			"not allowed":            {token(object{"sub": "mallory"}), "allow"},
			"spent":                  {spent, "unspent"},
			"a disabled user":        {token(object{"sub": "disabled"}), "user"},
			"before a sign-out":      {token(object{"sub": "gone"}), "signed_out"},
			"a client's id":          {token(object{"sub": "backend"}), ""},
		} {
			before := d.Stored(configured...)
			explained := want(t, 200, d.call(t, d.admin, "POST", "/tenants/default/explain", object{"client_id": "web", "subject_token": c.token}))
			if after := d.Stored(configured...); after != before {
				t.Errorf("%s: explain has written", what)
			}
			refused := d.Exchange("", "web", c.token)
			name, reason := failedCheck(explained)
			if explained.JSON["allowed"] != false || refused.Status == 200 || reason != refused.Text("latchkey_reason") {
				t.Errorf("%s: explain fails %s for %q; the exchange answers %d %s", what, name, reason, refused.Status, refused.Body)
			}
			if c.check != "" && name != c.check {
				t.Errorf("%s: the failed check is %s, want %s", what, name, c.check)
			}
		}
		for client, reason := range map[string]string{"nobody": "", "machine": ""} {
			explained := want(t, 200, d.call(t, d.admin, "POST", "/tenants/default/explain", object{"client_id": client, "subject_token": token(nil)}))
			if name, _ := failedCheck(explained); name != "grant" {
				t.Errorf("client %s: the failed check is %s%s", client, name, reason)
			}
		}
	})
}

func TestExplainShowsTheAccessTokenOfTheExchange(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d *deployment) {
		want(t, 200, d.call(t, d.admin, "PATCH", "/tenants/default/clients/web", object{"claims": object{"plan": "user.?plan.orValue('free')", "org": "session.?org.orValue('none')"}}))
		want(t, 200, d.call(t, d.admin, "PATCH", "/tenants/default/trusted-issuers/"+d.entryID("default"), object{"user_attributes": object{"email": "token.?email.orValue('')"}, "session_attributes": object{"org": "token.?org.orValue('')"}}))
		want(t, 201, d.call(t, d.admin, "PUT", "/tenants/default/users/alice", object{"attributes": object{"plan": "pro"}}))
		d.reload(t)
		token := d.Issuer.Token(d.URL, "alice", object{"email": "alice@personal.example", "org": "secretive", "amr": []string{"pwd", "otp"}, "auth_time": d.Clock.Now().Add(-time.Minute).Unix()})
		before := d.Stored(configured...)
		body := object{"client_id": "web", "subject_token": token}
		explained := want(t, 200, d.call(t, d.admin, "POST", "/tenants/default/explain", body))
		masked := want(t, 200, d.call(t, d.support, "POST", "/tenants/default/explain", body))
		wantProblem(t, "the role viewer", 403, "forbidden", d.call(t, d.viewer, "POST", "/tenants/default/explain", body))
		if after := d.Stored(configured...); after != before {
			t.Error("explain has written")
		}
		for _, check := range list(explained.JSON["checks"]) {
			if check.(object)["outcome"] != "passed" {
				t.Errorf("check %s", jsonOf(check))
			}
		}
		shown := explained.JSON["access_token"].(object)
		real := testserver.Claims(t, d.Want(200, "", d.Exchange("", "web", token)))
		for _, claims := range []object{shown, real} {
			for _, name := range []string{"jti", "sid", "iat", "exp"} {
				if claims[name] == nil {
					t.Errorf("%s is missing in %s", name, jsonOf(claims))
				}
				delete(claims, name)
			}
		}
		if jsonOf(shown) != jsonOf(real) {
			t.Errorf("explained %s\nissued    %s", jsonOf(shown), jsonOf(real))
		}
		if masked.JSON["masked"] != true || strings.Contains(string(masked.Body), "secretive") || strings.Contains(string(masked.Body), "personal") || strings.Contains(string(masked.Body), `"pro"`) {
			t.Errorf("the role support sees %s", masked.Body)
		}
		for _, a := range []*testserver.Answer{explained, masked} {
			if strings.Contains(string(a.Body), strings.Split(token, ".")[2]) {
				t.Error("the answer has the signature of the token")
			}
		}
	})
}
