package latchkeytest_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/latchkeytest"
)

// newClient returns a client of an issuer. With a secret it is also a back end.
func newClient(t *testing.T, issuer *latchkeytest.Issuer, secret string) *latchkey.Client {
	t.Helper()
	c, err := latchkey.NewClient(issuer.URL, latchkeytest.ClientID, latchkey.ClientOptions{ClientSecret: secret, Now: issuer.Now, RetryWindow: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func signIn(t *testing.T, c *latchkey.Client, clientToken string, p latchkey.CreateParams) *latchkey.Session {
	t.Helper()
	s, err := c.CreateSession(latchkey.WithUserAgent(t.Context(), "Mozilla/5.0"), clientToken, p)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ids collects a list of sessions.
func ids(t *testing.T, list func(func(*latchkey.SessionDetails, error) bool)) (got []string) {
	t.Helper()
	for d, err := range list {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, d.ID)
	}
	return got
}

func wantCode(t *testing.T, what string, err error, code string) {
	t.Helper()
	if refusal := (*latchkey.Error)(nil); !errors.As(err, &refusal) || refusal.Code != code {
		t.Errorf("%s: %v", what, err)
	}
}

func TestUsersSeeAndEndTheirSessions(t *testing.T) {
	t.Parallel()
	issuer := latchkeytest.New(t)
	c := newClient(t, issuer, "")
	phone := signIn(t, c, issuer.ClientToken("alice"), latchkey.CreateParams{DeviceName: "phone"})
	laptop := signIn(t, c, issuer.ClientToken("alice"), latchkey.CreateParams{DeviceName: "laptop"})
	tablet := signIn(t, c, issuer.ClientToken("alice"), latchkey.CreateParams{})
	other := signIn(t, c, issuer.ClientToken("bob"), latchkey.CreateParams{})
	token := phone.Tokens().AccessToken
	if got := ids(t, c.Sessions(t.Context(), token)); !slices.Equal(got, []string{tablet.ID(), laptop.ID(), phone.ID()}) {
		t.Errorf("alice sees %v", got)
	}
	for d := range c.Sessions(t.Context(), token) {
		if d.Current != (d.ID == phone.ID()) || d.Current && d.Device != (latchkey.Device{Name: "phone", UserAgent: "Mozilla/5.0", IP: "127.0.0.1"}) {
			t.Errorf("shown %+v", d)
		}
	}
	wantCode(t, "another user's", c.EndSession(t.Context(), token, other.ID()), "not_found")
	if err := c.EndSession(t.Context(), token, tablet.ID()); err != nil || issuer.SessionActive(tablet.ID()) || !issuer.SessionActive(laptop.ID()) {
		t.Errorf("ending one: %v", err)
	}
	if err := c.EndOtherSessions(t.Context(), token); err != nil || issuer.SessionActive(laptop.ID()) || !issuer.SessionActive(phone.ID()) {
		t.Errorf("ending the others: %v", err)
	}
	if err := c.EndAllSessions(t.Context(), token); err != nil || issuer.SessionActive(phone.ID()) || !issuer.SessionActive(other.ID()) {
		t.Errorf("ending all: %v", err)
	}
	if _, err := c.ValidateSession(t.Context(), token); !errors.Is(err, latchkey.ErrInvalidToken) {
		t.Errorf("afterwards: %v", err)
	}
}

func TestATokenForAnotherTargetIsRejected(t *testing.T) {
	t.Parallel()
	issuer := latchkeytest.New(t)
	c := newClient(t, issuer, "")
	s := signIn(t, c, issuer.ClientToken("alice"), latchkey.CreateParams{Audience: []string{"web", latchkeytest.Audience}})
	narrow, err := c.TokenFor(t.Context(), s, latchkey.Target{Audience: []string{latchkeytest.Audience}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.EndAllSessions(t.Context(), narrow.AccessToken); !errors.Is(err, latchkey.ErrInvalidToken) || !issuer.SessionActive(s.ID()) {
		t.Errorf("a resource server's token: %v", err)
	}
	old := s.Tokens().AccessToken
	if _, err := c.ValidateSession(t.Context(), old); err != nil {
		t.Error(err)
	}
	issuer.Advance(latchkeytest.AccessTokenLifetime)
	if _, err := c.ValidateSession(t.Context(), old); !errors.Is(err, latchkey.ErrInvalidToken) {
		t.Errorf("an expired one: %v", err)
	}
}

func TestBackEndsManageSessions(t *testing.T) {
	t.Parallel()
	issuer := latchkeytest.New(t)
	c := newClient(t, issuer, "secret")
	first := signIn(t, c, issuer.ClientToken("alice"), latchkey.CreateParams{})
	second := signIn(t, c, issuer.ClientToken("alice"), latchkey.CreateParams{})
	other := signIn(t, c, issuer.ClientToken("bob"), latchkey.CreateParams{})
	if got := ids(t, c.UserSessions(t.Context(), "alice")); !slices.Equal(got, []string{second.ID(), first.ID()}) {
		t.Errorf("listed %v", got)
	}
	for _, e := range []struct{ by, want time.Duration }{{2 * latchkeytest.SessionLifetime, 2 * latchkeytest.SessionLifetime}, {100 * latchkeytest.SessionLifetime, latchkeytest.MaxLifetime}} {
		d, err := c.ExtendSession(t.Context(), other.ID(), e.by)
		if err != nil || d.ExpiresAt.Sub(issuer.Now().Add(e.want)).Abs() > time.Minute {
			t.Errorf("extended by %s: %v, %v", e.by, d, err)
		}
	}
	if err := c.EndUserSession(t.Context(), first.ID()); err != nil || issuer.SessionActive(first.ID()) {
		t.Errorf("ending one: %v", err)
	}
	if d, err := c.UserSession(t.Context(), first.ID()); err != nil || d.Active() || d.EndReason != "revoked" || d.EndedAt == nil {
		t.Errorf("it is %+v, %v", d, err)
	}
	_, err := c.ExtendSession(t.Context(), first.ID(), time.Hour)
	wantCode(t, "extending it", err, "invalid_request")
	if err := c.EndUserSessions(t.Context(), "alice"); err != nil || issuer.SessionActive(second.ID()) || !issuer.SessionActive(other.ID()) {
		t.Errorf("ending all: %v", err)
	}
	_, err = c.UserSession(t.Context(), "nobody")
	wantCode(t, "an unknown one", err, "not_found")
	issuer.Advance(2 * latchkeytest.SessionLifetime)
	if err := c.RefreshSession(t.Context(), other); err != nil {
		t.Errorf("the extended session: %v", err)
	}
	_, err = newClient(t, issuer, "").UserSession(t.Context(), other.ID())
	wantCode(t, "a public client", err, "invalid_client")
}

func TestAssuranceIsThatOfTheDefaultClasses(t *testing.T) {
	t.Parallel()
	issuer := latchkeytest.New(t)
	c := newClient(t, issuer, "")
	for want, amr := range map[string][]string{
		"":                   {"mfa", "rba"},
		"urn:latchkey:acr:1": {"pwd", "pin"},
		"urn:latchkey:acr:2": {"pwd", "otp"},
		"phr":                {"swk", "pwd"},
		"phrh":               {"hwk", "face"},
	} {
		s := signIn(t, c, issuer.ClientToken("alice", latchkeytest.Claims{"amr": amr}), latchkey.CreateParams{})
		if d, err := c.ValidateSession(t.Context(), s.Tokens().AccessToken); err != nil || d.ACR != want || fmt.Sprint(d.AMR) != fmt.Sprint(amr) || len(d.Factors) != 2 {
			t.Errorf("%v is %+v, %v", amr, d, err)
		}
	}
}

func TestDemandsAreMetOrRefused(t *testing.T) {
	t.Parallel()
	issuer := latchkeytest.New(t)
	c := newClient(t, issuer, "")
	for name, row := range map[string]struct {
		demand latchkey.Demand
		met    bool
	}{
		"the class":               {latchkey.Demand{ACRValues: []string{"phr"}}, true},
		"a weaker one":            {latchkey.Demand{ACRValues: []string{"urn:latchkey:acr:2"}}, true},
		"one of two":              {latchkey.Demand{ACRValues: []string{"gold", "phr"}}, true},
		"a stronger one":          {latchkey.Demand{ACRValues: []string{"phrh"}}, false},
		"an unknown one":          {latchkey.Demand{ACRValues: []string{"gold"}}, false},
		"a proof that is younger": {latchkey.Demand{MaxAge: new(2 * time.Minute)}, true},
		"a proof that is older":   {latchkey.Demand{MaxAge: new(30 * time.Second)}, false},
	} {
		proof := issuer.ClientToken("alice", latchkeytest.Claims{"amr": []string{"hwk"}, "auth_time": issuer.Now().Add(-time.Minute).Unix()})
		_, err := c.CreateSession(t.Context(), proof, latchkey.CreateParams{Demand: row.demand})
		if row.met && err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !row.met {
			wantCode(t, name, err, "unmet_authentication_requirements")
		}
	}
}
