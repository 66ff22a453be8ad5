package testwire

import (
	"crypto/rand"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
)

const (
	securityEventsPath = "/security-events"
	sessionRevoked     = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
	accountDisabled    = "https://schemas.openid.net/secevent/risc/event-type/account-disabled"
	sessionsRevoked    = "https://schemas.openid.net/secevent/risc/event-type/sessions-revoked"
)

type object = map[string]any

// eventClaims are those of a valid security event token about a user.
func eventClaims(d *testserver.Deployment, event string, subID object) object {
	return object{
		"iss": d.Issuer.URL, "aud": d.URL + securityEventsPath, "jti": rand.Text(), "iat": d.Clock.Now().Unix(),
		"sub_id": subID, "events": object{event: object{"event_timestamp": d.Clock.Now().Unix()}},
	}
}

func pushEvent(d *testserver.Deployment, token string, opts ...testserver.Option) *testserver.Answer {
	opts = append([]testserver.Option{testserver.Header("Content-Type", "application/secevent+jwt"), testserver.Accept("application/json")}, opts...)
	return d.Do("POST", securityEventsPath, strings.NewReader(token), opts...)
}

func TestASecurityEventSignsItsUserOutEverywhere(t *testing.T) {
	eachRevokingDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		user := object{"format": "iss_sub", "iss": d.Issuer.URL, "sub": "alice"}
		for what, claims := range map[string]func() object{
			"session-revoked":  func() object { return eventClaims(d, sessionRevoked, user) },
			"sessions-revoked": func() object { return eventClaims(d, sessionsRevoked, user) },
			"account-disabled": func() object { return eventClaims(d, accountDisabled, object{"format": "opaque", "id": "alice"}) },
			"a complex subject": func() object {
				return eventClaims(d, sessionRevoked, object{"format": "complex", "user": user, "session": object{"format": "opaque", "id": "s1"}})
			},
			"the subject of earlier drafts": func() object {
				c := eventClaims(d, sessionRevoked, nil)
				delete(c, "sub_id")
				c["events"] = object{sessionRevoked: object{"subject": object{"subject_type": "iss-sub", "iss": d.Issuer.URL, "sub": "alice"}}}
				return c
			},
			"beside another event": func() object {
				c := eventClaims(d, sessionRevoked, user)
				c["events"].(object)["https://example.com/other"] = object{}
				return c
			},
			"delivered late": func() object {
				c := eventClaims(d, sessionRevoked, user)
				c["iat"] = d.Clock.Now().Add(-23 * time.Hour).Unix()
				return c
			},
		} {
			a, bob := d.SignIn("alice"), d.SignIn("bob")
			before := d.Issuer.Token(d.URL, "alice", nil)
			token := signed(t, d.Issuer, "secevent+jwt", claims())
			if r := pushEvent(d, token); r.Status != 202 || len(r.Body) > 0 {
				t.Fatalf("%s: %d %s", what, r.Status, r.Body)
			}
			if d.Active(a.Text("access_token")) || !d.Active(bob.Text("access_token")) {
				t.Errorf("%s: another session has ended", what)
			}
			if who := endedBy(t, d, a); !strings.Contains(who, "security-event") {
				t.Errorf("%s: ended by %s", what, who)
			}
			wantRefusal(t, what, 400, beforeRevocation, d.Exchange("", "web", before))
			d.Clock.Advance(time.Second)
			a = d.SignIn("alice")
			if r := pushEvent(d, token); r.Status != 202 { // a repeated delivery
				t.Errorf("%s again: %d %s", what, r.Status, r.Body)
			}
			if !d.Active(a.Text("access_token")) {
				t.Errorf("%s: a repeated delivery has ended a new session", what)
			}
		}
	})
}

func TestOtherSecurityEventsAreAcceptedAndIgnored(t *testing.T) {
	eachRevokingDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignIn("alice")
		user := object{"format": "iss_sub", "iss": d.Issuer.URL, "sub": "alice"}
		for what, claims := range map[string]object{
			"verification":      eventClaims(d, "https://schemas.openid.net/secevent/ssf/event-type/verification", object{"format": "opaque", "id": "stream"}),
			"credential-change": eventClaims(d, "https://schemas.openid.net/secevent/caep/event-type/credential-change", user),
			"an unknown user":   eventClaims(d, sessionRevoked, object{"format": "opaque", "id": "nobody"}),
			"another issuer's":  eventClaims(d, sessionRevoked, object{"format": "iss_sub", "iss": "https://elsewhere.example.com", "sub": "alice"}),
		} {
			if r := pushEvent(d, signed(t, d.Issuer, "secevent+jwt", claims)); r.Status != 202 {
				t.Errorf("%s: %d %s", what, r.Status, r.Body)
			}
		}
		if !d.Active(a.Text("access_token")) {
			t.Error("the session has ended")
		}
	})
}

func TestATokenThatIsNoSecurityEventEndsNothing(t *testing.T) {
	eachRevokingDeployment(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignIn("alice")
		claims := eventClaims(d, sessionRevoked, object{"format": "opaque", "id": "alice"})
		now := d.Clock.Now().Unix()
		with := func(change object) string { return signed(t, d.Issuer, "secevent+jwt", changed(claims, change)) }
		stranger := testserver.NewIssuer(t, d.Clock)
		for what, c := range map[string]struct{ token, err string }{
			"a client token":               {d.Issuer.Token(d.URL+securityEventsPath, "alice", nil), "invalid_request"},
			"a revocation token":           {revocationToken(t, d, object{"aud": d.URL + securityEventsPath}), "invalid_request"},
			"no typ":                       {signed(t, d.Issuer, "", claims), "invalid_request"},
			"a logout token's typ":         {signed(t, d.Issuer, "logout+jwt", claims), "invalid_request"},
			"another key":                  {signed(t, &testserver.Issuer{Key: testserver.NewES256Key(t)}, "secevent+jwt", claims), "invalid_key"},
			"another issuer":               {signed(t, stranger, "secevent+jwt", changed(claims, object{"iss": stranger.URL})), "invalid_issuer"},
			"no iss":                       {with(object{"iss": nil}), "invalid_issuer"},
			"another aud":                  {with(object{"aud": d.URL}), "invalid_audience"},
			"a second aud":                 {with(object{"aud": []string{d.URL + securityEventsPath, "https://elsewhere.example.com"}}), "invalid_audience"},
			"its aud twice":                {with(object{"aud": []string{d.URL + securityEventsPath, d.URL + securityEventsPath}}), "invalid_audience"},
			"no aud":                       {with(object{"aud": nil}), "invalid_audience"},
			"the other endpoint's aud":     {with(object{"aud": d.URL + revocationPath}), "invalid_audience"},
			"no iat":                       {with(object{"iat": nil}), "invalid_request"},
			"from the future":              {with(object{"iat": now + 31}), "invalid_request"},
			"more than a day ago":          {with(object{"iat": now - 86431}), "invalid_request"},
			"expired":                      {with(object{"exp": now - 31}), "invalid_request"},
			"no jti":                       {with(object{"jti": nil}), "invalid_request"},
			"no events":                    {with(object{"events": nil}), "invalid_request"},
			"empty events":                 {with(object{"events": object{}}), "invalid_request"},
			"an event that is no object":   {with(object{"events": object{sessionRevoked: true}}), "invalid_request"},
			"no subject":                   {with(object{"sub_id": nil}), "invalid_request"},
			"a subject without a user":     {with(object{"sub_id": object{"format": "complex", "session": object{"format": "opaque", "id": "s"}}}), "invalid_request"},
			"a subject of another format":  {with(object{"sub_id": object{"format": "did", "url": "did:x"}}), "invalid_request"},
			"a subject that is incomplete": {with(object{"sub_id": object{"format": "iss_sub", "iss": d.Issuer.URL}}), "invalid_request"},
			"no JWT":                       {"x.y.z", "invalid_request"},
			"nothing":                      {"", "invalid_request"},
		} {
			r := pushEvent(d, c.token, fromNewAddress())
			if r.Status != 400 || r.Text("err") != c.err || r.Text("description") == "" || len(r.JSON) != 2 {
				t.Errorf("%s: %d %s, want %s", what, r.Status, r.Body, c.err)
			}
			if !d.Active(a.Text("access_token")) {
				t.Fatalf("%s has ended the session", what)
			}
		}
		for what, r := range map[string]*testserver.Answer{
			"another media type": d.Do("POST", securityEventsPath, strings.NewReader(with(nil)), testserver.Header("Content-Type", "application/json")),
			"70 KB":              pushEvent(d, strings.Repeat("x", 70_000)),
			"a browser":          pushEvent(d, with(nil), testserver.Origin(testserver.OriginWeb)),
		} {
			if r.Status < 400 || r.Status >= 500 {
				t.Errorf("%s: %d %s", what, r.Status, r.Body)
			}
		}
		trusting(d, d.Issuer.Entry())
		wantRefusal(t, "no entry with may_revoke", 404, "not_found", pushEvent(d, with(nil)))
		for what, audience := range map[string]string{"default": "", "its own": "urn:events"} {
			e := revoking(d.Issuer.Entry())
			e.SecurityEventAudience = audience
			trusting(d, e)
			aud := audience
			if aud == "" {
				aud = d.URL + securityEventsPath
			}
			other := maps.Clone(claims)
			other["aud"], other["jti"] = map[string]string{"default": "urn:events", "its own": d.URL + securityEventsPath}[what], rand.Text()
			if r := pushEvent(d, signed(t, d.Issuer, "secevent+jwt", other)); r.Text("err") != "invalid_audience" {
				t.Errorf("%s: %d %s", what, r.Status, r.Body)
			}
			if r := pushEvent(d, with(object{"aud": aud, "jti": rand.Text()})); r.Status != 202 {
				t.Errorf("%s: %d %s", what, r.Status, r.Body)
			}
		}
		if d.Active(a.Text("access_token")) {
			t.Error("the session is live")
		}
	})
}
