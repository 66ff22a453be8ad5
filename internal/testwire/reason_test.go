package testwire

import (
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
)

// wantReason checks status, code, reason and end reason of an error.
func wantReason(t *testing.T, what string, a *testserver.Answer, status int, code, reason, endReason string) {
	t.Helper()
	if a.Status != status || a.Error() != code || a.Text("latchkey_reason") != reason || a.Text("latchkey_end_reason") != endReason {
		t.Errorf("%s: status %d %s, want %d %s %s %s", what, a.Status, a.Body, status, code, reason, endReason)
	}
}

func TestTheReasonOfAnEndIsShownToItsOwnClient(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		d.Apply(testserver.SessionTenant(d.Issuer))
		for reason, end := range map[string]func(a *testserver.Answer){
			"signed_out": func(a *testserver.Answer) { d.Want(204, "", d.Delete("/session", testserver.AsBearer(a))) },
			"revoked_by_user": func(a *testserver.Answer) {
				other := d.SignIn("alice")
				d.Want(204, "", d.Delete("/sessions/"+a.Text("session_id"), testserver.AsBearer(other)))
			},
			"revoked_by_backend": func(a *testserver.Answer) {
				d.Want(204, "", d.Delete("/sessions/"+a.Text("session_id"), testserver.AsSupport()))
			},
		} {
			a := d.Want(200, "", d.Post("/token", d.BackendExchangeForm("alice"), testserver.AsBackend()))
			end(a)
			before := d.Written()
			refresh := []string{"grant_type", "refresh_token", "refresh_token", a.Text("refresh_token")}
			wantReason(t, "a refresh", d.Post("/token", refresh, testserver.AsBackend()), 400, "invalid_grant", "session_ended", reason)
			wantReason(t, "a bearer", d.Get("/session", testserver.AsBearer(a)), 401, "invalid_token", "session_ended", reason)
			wantReason(t, "a session token as bearer", d.Get("/session", testserver.Authorization("Bearer "+a.Text("session_token"))), 401, "invalid_token", "session_ended", reason)
			wantReason(t, "a swap", d.ExchangeSession(a.Text("session_token")), 400, "invalid_request", "session_ended", reason)
			stepUp := append(d.BackendExchangeForm("alice"), "latchkey_session_token", a.Text("refresh_token"))
			wantReason(t, "a step-up", d.Post("/token", stepUp, testserver.AsBackend()), 400, "invalid_grant", "session_ended", reason)
			wantReason(t, "another client", d.Refresh("", "web", a.Text("refresh_token")), 400, "invalid_grant", "refresh_unknown", "")
			d.WantUnchanged(t, before)
		}
	})
}

func TestSigningOutEverywhereHasItsOwnReason(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		own, other := d.SignIn("alice"), d.SignIn("alice")
		d.Want(204, "", d.Delete("/sessions?scope=all", testserver.AsBearer(own)))
		wantReason(t, "the own session", d.Refresh("", "web", own.Text("refresh_token")), 400, "invalid_grant", "session_ended", "signed_out")
		wantReason(t, "the other one", d.Refresh("", "web", other.Text("refresh_token")), 400, "invalid_grant", "session_ended", "revoked_by_user")
	})
}

func TestAnExpiredSessionHasItsReason(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignIn("alice")
		d.Clock.Advance(6 * 24 * time.Hour)
		wantReason(t, "no activity", d.Refresh("", "web", a.Text("refresh_token")), 400, "invalid_grant", "session_ended", "idle")
	})
}

func TestAReusedRefreshTokenHasItsReason(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		first := d.SignIn("alice").Text("refresh_token")
		second := d.Want(200, "", d.Refresh("", "web", first)).Text("refresh_token")
		third := d.Want(200, "", d.Refresh("", "web", second)).Text("refresh_token")
		wantReason(t, "a delayed duplicate", d.Refresh("", "web", first), 400, "invalid_grant", "refresh_superseded", "")
		d.Clock.Advance(time.Minute)
		wantReason(t, "a reuse", d.Refresh("", "web", first), 400, "invalid_grant", "refresh_reused", "reuse_detected")
		wantReason(t, "the same again", d.Refresh("", "web", first), 400, "invalid_grant", "session_ended", "reuse_detected")
		wantReason(t, "the rightful app", d.Refresh("", "web", third), 400, "invalid_grant", "session_ended", "reuse_detected")
		wantReason(t, "a text", d.Refresh("", "web", "lk_rt_x"), 400, "invalid_grant", "refresh_unknown", "")
	})
}

func TestARejectedClientTokenReportsTheExpectedValue(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	now := d.Clock.Now().Unix()
	for reason, claims := range map[string]map[string]any{
		"subject_token_expired":       {"iat": now - 120, "exp": now - 60},
		"subject_token_too_old":       {"iat": now - 3600, "exp": now + 60},
		"subject_token_lifetime":      {"exp": now + 86400},
		"subject_token_not_yet_valid": {"iat": now + 600, "exp": now + 660},
		"subject_token_audience":      {"aud": "https://elsewhere.example"},
		"subject_token_issuer":        {"iss": "https://unknown.example"},
		"subject_token_client":        {"client_id": "somebody-else"},
	} {
		d.Log.Take()
		wantReason(t, reason, d.Exchange("", "web", d.Issuer.Token(d.URL, "alice", claims)), 400, "invalid_request", reason, "")
		if log := d.Log.Take(); !strings.Contains(log, `"reason":"`+reason+`"`) || !strings.Contains(log, `"expected":`) || !strings.Contains(log, `"received":`) {
			t.Errorf("%s: logged as %s", reason, log)
		}
	}
	token := d.Issuer.Token(d.URL, "alice", nil)
	d.Want(200, "", d.Exchange("", "web", token))
	wantReason(t, "a second use", d.Exchange("", "web", token), 400, "invalid_request", "subject_token_spent", "")
	wantReason(t, "a repeated parameter", d.Post("/token", []string{"grant_type", "a", "grant_type", "b"}), 400, "invalid_request", "parameter_repeated", "")
	if a := d.Post("/token", []string{"client_id", "a", "client_id", "b"}); !strings.Contains(a.Text("error_description"), "client_id") {
		t.Errorf("the repeated parameter is not named: %s", a.Body)
	}
}

func TestTheLogTruncatesTokensInWrongParameters(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.OnSQLite(t))
	a := d.SignIn("alice")
	for _, secret := range []string{a.Text("refresh_token"), a.Text("access_token"), d.Issuer.Token(d.URL, "alice", nil)} {
		d.Log.Take()
		for _, form := range [][]string{{"grant_type", secret}, {"grant_type", "client_credentials", "scope", secret}, {"grant_type", testserver.GrantTokenExchange, "subject_token", "x", "subject_token_type", secret}} {
			d.Post("/token", form, testserver.AsBackend())
		}
		d.Post("/token", []string{"grant_type", "x"}, testserver.Origin(secret))
		last := secret[len(secret)-20:]
		if log := d.Log.Take(); strings.Contains(log, last) || !strings.Contains(log, `"received":`) {
			t.Errorf("the log has a token: %s", log)
		}
	}
}
