package latchkey_test

import (
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/latchkeytest"
)

func (a *app) otp(sub string) string {
	return a.issuer.ClientToken(sub, latchkeytest.Claims{"amr": []string{"otp"}})
}

// acr returns the class of the session.
func (a *app) acr(s *latchkey.Session) string {
	a.t.Helper()
	d, err := a.ValidateSession(a.t.Context(), s.Tokens().AccessToken)
	if err != nil {
		a.t.Fatal(err)
	}
	return d.ACR
}

var secondFactor = latchkey.StepUpParams{Demand: latchkey.Demand{ACRValues: []string{"urn:latchkey:acr:2"}}}

func TestAStepUpReplacesTheTokensOfItsSession(t *testing.T) {
	t.Parallel()
	for name, faults := range map[string][]fault{
		"without a fault":          nil,
		"after a lost request":     {dropRequest},
		"after a lost response":    {loseResponse},
		"after two lost responses": {loseResponse, neverRespond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kept := newTestStore()
			a := newApp(t, kept.use, func(o *latchkey.ClientOptions) { o.RetryWindow = 3 * time.Second })
			s := a.signIn()
			before := s.Tokens()
			a.network.fail(faults...)
			if err := a.StepUp(t.Context(), s, a.otp("alice"), secondFactor); err != nil {
				t.Fatal(err)
			}
			after := s.Tokens()
			if after.AccessToken == before.AccessToken || after.RefreshToken == before.RefreshToken || a.acr(s) != "urn:latchkey:acr:2" {
				t.Error("it was not raised")
			}
			if stored, _ := kept.Load(t.Context(), s.ID()); stored.RefreshToken != after.RefreshToken {
				t.Error("the tokens were not saved")
			}
			a.requireUsable(s)
		})
	}
}

func TestARefusedStepUpLeavesTheSessionUnchanged(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		token  func(a *app) string
		demand latchkey.StepUpParams
		faults []fault
		code   string
	}{
		"another user's token":            {func(a *app) string { return a.otp("bob") }, secondFactor, nil, "invalid_request"},
		"a used token":                    {func(*app) string { return "used" }, secondFactor, nil, "invalid_request"},
		"an insufficient factor":          {func(a *app) string { return a.issuer.ClientToken("alice") }, secondFactor, nil, "unmet_authentication_requirements"},
		"refused after a lost response":   {func(a *app) string { return a.otp("bob") }, secondFactor, []fault{loseResponse}, "invalid_request"},
		"refused after a lost request":    {func(a *app) string { return a.otp("bob") }, secondFactor, []fault{dropRequest, loseResponse}, "invalid_request"},
		"refused after two lost attempts": {func(a *app) string { return a.otp("bob") }, secondFactor, []fault{dropRequest, nil, loseResponse}, "invalid_request"},
		"an insufficient factor, resent":  {func(a *app) string { return a.issuer.ClientToken("alice") }, secondFactor, []fault{dropRequest}, "unmet_authentication_requirements"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t)
			s := a.signIn()
			a.network.fail(c.faults...)
			err := a.StepUp(t.Context(), s, c.token(a), c.demand)
			if refusal := (*latchkey.Error)(nil); !errors.As(err, &refusal) || refusal.Code != c.code || errors.Is(err, latchkey.ErrSessionEnded) {
				t.Errorf("failed with %v", err)
			}
			a.issuer.Advance(time.Minute) // by now a used token would end the session
			a.requireUsable(s)
			a.requireUsable(s)
			if a.acr(s) != "urn:latchkey:acr:1" {
				t.Error("the session was stepped up")
			}
		})
	}
}

func TestAStepUpWithoutAResponseLeavesTheSessionUsable(t *testing.T) {
	t.Parallel()
	a := newApp(t, shortRetryWindow)
	s := a.signIn()
	a.network.failAlways(loseResponse)
	if err := a.StepUp(t.Context(), s, a.otp("alice"), secondFactor); !errors.Is(err, latchkey.ErrUnavailable) || s.Err() != nil {
		t.Errorf("failed with %v", err)
	}
	a.requireUsable(s)
	if a.acr(s) != "urn:latchkey:acr:2" {
		t.Error("the refresh did not yield the tokens of the step-up")
	}
}

func TestAStepUpReportsAnEndedSession(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	s := a.signIn()
	a.issuer.RevokeSession(s.ID())
	if err := a.StepUp(t.Context(), s, a.otp("alice"), secondFactor); !errors.Is(err, latchkey.ErrSessionEnded) {
		t.Errorf("failed with %v", err)
	}
}

func TestConcurrentRefreshesWaitForAStepUp(t *testing.T) {
	t.Parallel()
	for name, token := range map[string]func(a *app) string{
		"that succeeds": func(a *app) string { return a.otp("alice") },
		"that fails":    func(a *app) string { return a.otp("bob") },
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t)
			s := a.signIn()
			a.issuer.Advance(time.Hour) // so that later callers find a fresh token
			started := make(chan struct{})
			var begun, all sync.WaitGroup
			begun.Add(32)
			a.network.fail(func(r *http.Request) (*http.Response, error) {
				close(started)
				begun.Wait()
				return http.DefaultTransport.RoundTrip(r)
			})
			var stepUpErr error
			all.Go(func() { stepUpErr = a.StepUp(t.Context(), s, token(a), secondFactor) })
			<-started
			for range 32 {
				all.Go(func() {
					begun.Done()
					if _, err := a.AccessToken(t.Context(), s); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			if sent := a.network.take(); len(sent) > 2 {
				t.Errorf("%d requests", len(sent))
			}
			if (stepUpErr == nil) != (name == "that succeeds") {
				t.Errorf("the step-up: %v", stepUpErr)
			}
			a.requireUsable(s)
		})
	}
}

func TestASessionTokenNamesTheSessionOfAStepUp(t *testing.T) {
	t.Parallel()
	a := newApp(t, confidential)
	kept := a.signIn().Tokens()
	kept.RefreshToken = ""
	s := a.RestoreSession(kept, nil)
	a.issuer.Advance(time.Hour)
	a.network.fail(loseResponse, loseResponse)
	if err := a.StepUp(t.Context(), s, a.otp("alice"), secondFactor); err != nil {
		t.Fatal(err)
	}
	for _, sent := range a.network.take() {
		if named := sent.Get("latchkey_session_token"); named != kept.SessionToken {
			t.Errorf("the session was identified by %q", named)
		}
	}
	if after := s.Tokens(); after.SessionToken == "" || after.SessionToken == kept.SessionToken || after.RefreshToken == "" {
		t.Error("the session token or the refresh token was not replaced")
	}
	if a.acr(s) != "urn:latchkey:acr:2" {
		t.Error("it was not raised")
	}
}

func TestParseChallenge(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		header []string
		acr    []string
		age    *time.Duration
		ok     bool
	}{
		"none":                            {nil, nil, nil, false},
		"another error":                   {[]string{`Bearer error="invalid_token", acr_values="a"`}, nil, nil, false},
		"both demands":                    {[]string{`Bearer realm="api", error="insufficient_user_authentication", acr_values="phr urn:a:2", max_age="5"`}, []string{"phr", "urn:a:2"}, new(5 * time.Second), true},
		"an age of zero":                  {[]string{`Bearer error="insufficient_user_authentication",max_age=0`}, nil, new(time.Duration(0)), true},
		"without demands":                 {[]string{`bearer Error=insufficient_user_authentication`}, nil, nil, true},
		"an age that is no number":        {[]string{`Bearer error="insufficient_user_authentication", max_age="-1"`}, nil, nil, true},
		"after another challenge":         {[]string{`Basic realm="a, b=\"c\" Bearer error=x", DPoP algs="ES256" , Bearer error="insufficient_user_authentication", acr_values="a"`}, []string{"a"}, nil, true},
		"in a header of its own":          {[]string{`Negotiate`, `Bearer error="insufficient_user_authentication", acr_values="a"`}, []string{"a"}, nil, true},
		"after token68":                   {[]string{`Negotiate abc==, Bearer error="insufficient_user_authentication"`}, nil, nil, true},
		"for DPoP":                        {[]string{`DPoP error="insufficient_user_authentication", acr_values="a"`}, []string{"a"}, nil, true},
		"an error in another's string":    {[]string{`Bearer realm="error=insufficient_user_authentication"`}, nil, nil, false},
		"twice: the first counts":         {[]string{`Bearer error="insufficient_user_authentication", acr_values="a", acr_values="b"`}, []string{"a"}, nil, true},
		"an unterminated string":          {[]string{`Bearer error="insufficient_user_authentication`}, nil, nil, false},
		"a parameter without a challenge": {[]string{`error="insufficient_user_authentication"`}, nil, nil, false},
		"nonsense":                        {[]string{`"""`, `,,,`, `=`, "Bearer\x00", `Bearer error="a" b`}, nil, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			d, ok := latchkey.ParseChallenge(http.Header{"Www-Authenticate": c.header})
			if want := (latchkey.Demand{ACRValues: c.acr, MaxAge: c.age}); ok != c.ok || ok && !equalDemands(d, want) {
				t.Errorf("read %v %v", d, ok)
			}
		})
	}
}

func equalDemands(a, b latchkey.Demand) bool {
	return len(a.ACRValues) == len(b.ACRValues) && (len(a.ACRValues) == 0 || a.ACRValues[0] == b.ACRValues[0]) &&
		(a.MaxAge == nil) == (b.MaxAge == nil) && (a.MaxAge == nil || *a.MaxAge == *b.MaxAge)
}
