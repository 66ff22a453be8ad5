package events_test

import (
	"encoding/base64"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/events"
	"github.com/latchkey/latchkey/sdk/go/latchkeytest"
)

const (
	secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	older  = "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
	body   = `{"type":"session.ended.signed_out","timestamp":"2026-11-30T15:32:51Z","data":{"id":"AAZhf8JqwRWbP9XgbfwR4w","tenant":"acme","sequence":7,"session":"s1","user":"alice","client":"web","issuer":"auth","details":{"reason":"signed_out"}}}`
)

// signed returns a webhook that was signed at a time.
func signed(t testing.TB, secret, body string, at time.Time) *http.Request {
	t.Helper()
	hook, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := hook.Sign("AAZhf8JqwRWbP9XgbfwR4w", at, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/hooks", strings.NewReader(body))
	r.Header.Set("webhook-id", "AAZhf8JqwRWbP9XgbfwR4w")
	r.Header.Set("webhook-timestamp", strconv.FormatInt(at.Unix(), 10))
	r.Header.Set("webhook-signature", signature)
	return r
}

func TestAWebhookIsRead(t *testing.T) {
	webhooks, err := events.NewWebhooks(secret, older)
	if err != nil {
		t.Fatal(err)
	}
	for _, with := range []string{secret, older} {
		e, err := webhooks.Read(signed(t, with, body, time.Now()))
		if err != nil {
			t.Fatal(err)
		}
		want := events.Event{
			ID: "AAZhf8JqwRWbP9XgbfwR4w", Type: "session.ended.signed_out", Timestamp: time.Date(2026, 11, 30, 15, 32, 51, 0, time.UTC),
			Tenant: "acme", Sequence: 7, Session: "s1", User: "alice", Client: "web", Issuer: "auth", Details: e.Details,
		}
		if e.Details["reason"] != "signed_out" || !equal(*e, want) {
			t.Errorf("%+v, want %+v", *e, want)
		}
	}
}

func equal(a, b events.Event) bool {
	a.Details, b.Details = nil, nil
	return a.ID == b.ID && a.Type == b.Type && a.Timestamp.Equal(b.Timestamp) && a.Tenant == b.Tenant && a.Sequence == b.Sequence &&
		a.Session == b.Session && a.User == b.User && a.Client == b.Client && a.Issuer == b.Issuer
}

func TestAnInvalidWebhookIsRejected(t *testing.T) {
	webhooks, err := events.NewWebhooks(secret)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	changed := func(change func(*http.Request)) *http.Request {
		r := signed(t, secret, body, now)
		change(r)
		return r
	}
	for name, r := range map[string]*http.Request{
		"another secret":       signed(t, older, body, now),
		"an old signature":     signed(t, secret, body, now.Add(-6*time.Minute)),
		"a future signature":   signed(t, secret, body, now.Add(6*time.Minute)),
		"no signature":         changed(func(r *http.Request) { r.Header.Del("webhook-signature") }),
		"another id":           changed(func(r *http.Request) { r.Header.Set("webhook-id", "other") }),
		"another time":         changed(func(r *http.Request) { r.Header.Set("webhook-timestamp", strconv.FormatInt(now.Unix()-1, 10)) }),
		"a signature of v2":    changed(func(r *http.Request) { r.Header.Set("webhook-signature", "v2"+r.Header.Get("webhook-signature")[2:]) }),
		"another body":         changed(func(r *http.Request) { r.Body = http.NoBody }),
		"a repeated member":    signed(t, secret, `{"type":"session.created","type":"session.ended.idle","data":{}}`, now),
		"what is not an event": signed(t, secret, `{"data":{}}`, now),
		"a list":               signed(t, secret, `[]`, now),
		"more than 1 MiB":      signed(t, secret, `{"type":"x","data":{"details":{"a":"`+strings.Repeat("x", 1<<20)+`"}}}`, now),
	} {
		if e, err := webhooks.Read(r); !errors.Is(err, events.ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
}

func TestASecretWithWhichAnybodyCouldSignIsRejected(t *testing.T) {
	for _, secret := range []string{"", "whsec_", "whsec_c2hvcnQ=", "whsec_not base64", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
		"whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 23))} {
		if _, err := events.NewWebhooks(secret); err == nil || strings.Contains(err.Error(), "c2hvcnQ") {
			t.Errorf("%q: %v", secret, err)
		}
	}
	if _, err := events.NewWebhooks(); err == nil {
		t.Error("no secret is accepted")
	}
}

// set returns the claims of a security event token.
func set(i *latchkeytest.Issuer, change latchkeytest.Claims) latchkeytest.Claims {
	claims := latchkeytest.Claims{
		"iss": i.URL, "aud": "risk-engine", "jti": "AAZhf8JqwRWbP9XgbfwR4w", "txn": "x", "iat": i.Now().Unix(),
		"sub_id": map[string]any{
			"format": "complex", "session": map[string]any{"format": "opaque", "id": "s1"},
			"user": map[string]any{"format": "iss_sub", "iss": i.URL, "sub": "alice"}, "tenant": map[string]any{"format": "opaque", "id": "acme"},
		},
		"events": map[string]any{events.SessionRevoked: map[string]any{"event_timestamp": 1790000000, "initiating_entity": "user"}},
	}
	maps.Copy(claims, change)
	return claims
}

func TestASecurityEventTokenIsVerified(t *testing.T) {
	issuer := latchkeytest.Start()
	defer issuer.Close()
	v, err := events.NewVerifier(issuer.URL, "risk-engine", events.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := v.Verify(t.Context(), issuer.Sign("secevent+jwt", set(issuer, nil))+"\n")
	if err != nil {
		t.Fatal(err)
	}
	if e.ID != "AAZhf8JqwRWbP9XgbfwR4w" || e.Type != events.SessionRevoked || e.Session != "s1" || e.User != "alice" || e.Tenant != "acme" || e.Client != "" ||
		e.Members["initiating_entity"] != "user" || e.Happened.Unix() != 1790000000 || e.Issuer != issuer.URL || e.Stream != "" {
		t.Errorf("%+v", e)
	}
	opaque := func(id string) map[string]any { return map[string]any{"format": "opaque", "id": id} }
	user := map[string]any{"format": "iss_sub", "iss": issuer.URL, "sub": "bob"}
	for name, c := range map[string]struct {
		subject map[string]any
		want    events.SecurityEvent
	}{
		"the user alone":             {user, events.SecurityEvent{User: "bob"}},
		"a whole client":             {map[string]any{"format": "complex", "tenant": opaque("acme"), "application": opaque("web")}, events.SecurityEvent{Tenant: "acme", Client: "web"}},
		"a session without its user": {map[string]any{"format": "complex", "tenant": opaque("acme"), "session": opaque("s2")}, events.SecurityEvent{Tenant: "acme", Session: "s2"}},
		"a stream":                   {opaque("stream"), events.SecurityEvent{Stream: "stream"}},
	} {
		e, err := v.Verify(t.Context(), issuer.Sign("secevent+jwt", set(issuer, latchkeytest.Claims{"sub_id": c.subject})))
		if err != nil || e.User != c.want.User || e.Session != c.want.Session || e.Tenant != c.want.Tenant || e.Client != c.want.Client || e.Stream != c.want.Stream {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
}

func TestATokenThatIsNoSecurityEventIsRejected(t *testing.T) {
	issuer, other := latchkeytest.Start(), latchkeytest.Start()
	defer issuer.Close()
	defer other.Close()
	v, err := events.NewVerifier(issuer.URL, "risk-engine", events.Options{})
	if err != nil {
		t.Fatal(err)
	}
	with := func(change latchkeytest.Claims) string { return issuer.Sign("secevent+jwt", set(issuer, change)) }
	revoked := map[string]any{"event_timestamp": 1790000000}
	for name, token := range map[string]string{
		"an access token":             issuer.Token(),
		"a token without a type":      issuer.Sign("JWT", set(issuer, nil)),
		"the key of another issuer":   other.Sign("secevent+jwt", set(issuer, nil)),
		"another issuer":              with(latchkeytest.Claims{"iss": other.URL}),
		"another receiver":            with(latchkeytest.Claims{"aud": "other"}),
		"no receiver":                 with(latchkeytest.Claims{"aud": []string{}}),
		"no jti":                      with(latchkeytest.Claims{"jti": ""}),
		"no iat":                      with(latchkeytest.Claims{"iat": 0}),
		"the future":                  with(latchkeytest.Claims{"iat": time.Now().Add(time.Hour).Unix()}),
		"no event":                    with(latchkeytest.Claims{"events": map[string]any{}}),
		"two events":                  with(latchkeytest.Claims{"events": map[string]any{events.SessionRevoked: revoked, events.SessionEstablished: revoked}}),
		"an event that is text":       with(latchkeytest.Claims{"events": map[string]any{events.SessionRevoked: "x"}}),
		"no subject":                  with(latchkeytest.Claims{"sub_id": nil}),
		"a subject of nothing":        with(latchkeytest.Claims{"sub_id": map[string]any{"format": "complex"}}),
		"a subject of another format": with(latchkeytest.Claims{"sub_id": map[string]any{"format": "email", "email": "a@example.com"}}),
		"a user of another issuer":    with(latchkeytest.Claims{"sub_id": map[string]any{"format": "iss_sub", "iss": other.URL, "sub": "alice"}}),
		"a session of another format": with(latchkeytest.Claims{"sub_id": map[string]any{"format": "complex", "session": map[string]any{"format": "uri", "uri": "x"}}}),
		"a changed payload":           swapPayload(issuer.Sign("secevent+jwt", set(issuer, nil)), with(latchkeytest.Claims{"jti": "x"})),
		"nonsense":                    "nonsense",
		"more than a token may have":  strings.Repeat("a", 20<<10),
	} {
		if e, err := v.Verify(t.Context(), token); !errors.Is(err, events.ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
	unreachable, err := events.NewVerifier("http://127.0.0.1:1", "risk-engine", events.Options{})
	if err != nil {
		t.Fatal(err)
	}
	claims := set(issuer, latchkeytest.Claims{"iss": "http://127.0.0.1:1"})
	if _, err := unreachable.Verify(t.Context(), issuer.Sign("secevent+jwt", claims)); !errors.Is(err, latchkey.ErrUnavailable) || errors.Is(err, events.ErrInvalid) {
		t.Errorf("without the keys: %v", err)
	}
	if _, err := events.NewVerifier(issuer.URL, "", events.Options{}); err == nil {
		t.Error("no audience is accepted")
	}
}

// swapPayload returns a token with the payload of another.
func swapPayload(token, other string) string {
	a, b := strings.Split(token, "."), strings.Split(other, ".")
	return a[0] + "." + b[1] + "." + a[2]
}
