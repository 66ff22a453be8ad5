package testsdk

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"

	latchkey "github.com/latchkey/latchkey/sdk/go"
)

func TestASessionLivesFromSignInToSignOut(t *testing.T) {
	eachAppDeployment(t, func(t *testing.T, w *appDeployment) {
		ctx := latchkey.WithUserAgent(t.Context(), "Mozilla/5.0")
		s, err := w.web.CreateSession(ctx, w.proof("alice", "pwd"), latchkey.CreateParams{
			Scope: []string{"profile"}, Audience: []string{"web"}, Resource: []string{"https://api.example.com"}, DeviceName: "Alice's phone",
		})
		w.ok(err)
		first := s.Tokens()
		if s.ID() == "" || first.Scope != "profile" || !first.Expiry.Equal(w.Clock.Now().Add(5*time.Minute)) || !first.SessionExpiry.Equal(w.Clock.Now().Add(30*24*time.Hour)) {
			t.Errorf("got %s of %q until %s, session until %s", s, first.Scope, first.Expiry, first.SessionExpiry)
		}
		d, err := w.web.ValidateSession(t.Context(), first.AccessToken)
		w.ok(err)
		if d.ID != s.ID() || d.Subject != "alice" || d.ClientID != "web" || !d.Active() || !d.Current || d.Device.Name != "Alice's phone" ||
			d.Device.UserAgent != "Mozilla/5.0" || d.IdleExpiresAt == nil || d.EndedAt != nil || d.EndReason != "" || !slices.Equal(d.AMR, []string{"pwd"}) || len(d.Factors) != 1 {
			t.Errorf("it is %+v", d)
		}

		w.ok(w.web.RefreshSession(t.Context(), s))
		if next := s.Tokens(); next.RefreshToken == first.RefreshToken || !w.active(next.AccessToken) {
			t.Error("it was not refreshed")
		}
		w.ok(w.web.SignOut(t.Context(), s))
		if w.active(s.Tokens().AccessToken) {
			t.Error("it is not signed out")
		}
		if _, err := w.web.ValidateSession(t.Context(), s.Tokens().AccessToken); !errors.Is(err, latchkey.ErrInvalidToken) || code(err) != "invalid_token" {
			t.Errorf("validated %v", err)
		}
		if err := w.web.RefreshSession(t.Context(), w.web.RestoreSession(s.Tokens(), nil)); !errors.Is(err, latchkey.ErrSessionEnded) || code(err) != "invalid_grant" {
			t.Errorf("refreshed %v", err)
		}
	})
}

func TestLostResponsesEndNoSession(t *testing.T) {
	eachAppDeployment(t, func(t *testing.T, w *appDeployment) {
		s := w.signIn(w.web, "alice")
		first := s.Tokens()
		for range 3 {
			w.lose(2)
			w.ok(w.web.RefreshSession(t.Context(), s))
		}
		w.lose(2)
		w.ok(w.web.StepUp(t.Context(), s, w.proof("alice", "otp"), latchkey.StepUpParams{Demand: latchkey.Demand{ACRValues: []string{"urn:latchkey:acr:2"}}}))
		d, err := w.web.ValidateSession(t.Context(), s.Tokens().AccessToken)
		w.ok(err)
		if d.ACR != "urn:latchkey:acr:2" || !slices.Equal(d.AMR, []string{"otp", "pwd"}) && !slices.Equal(d.AMR, []string{"pwd", "otp"}) {
			t.Errorf("raised to %s by %v", d.ACR, d.AMR)
		}
		w.ok(w.web.RefreshSession(t.Context(), s))
		w.lose(1)
		w.ok(w.web.RevokeSession(t.Context(), first.RefreshToken)) // a used token works too
		if w.active(s.Tokens().AccessToken) {
			t.Error("it is not signed out")
		}
	})
}

func TestALostStepUpIsResolvedAfterARestart(t *testing.T) {
	eachAppDeployment(t, func(t *testing.T, w *appDeployment) {
		impatient := latchkey.ClientOptions{RetryWindow: 2 * time.Second} // long enough for the server to carry out the request
		for name, keep := range map[string]func(*latchkey.Tokens){
			"by the refresh token": func(*latchkey.Tokens) {},
			"by the session token": func(t *latchkey.Tokens) { t.RefreshToken = "" },
		} {
			before := w.signIn(w.client("backend", latchkey.ClientOptions{}), "alice").Tokens()
			keep(&before)
			backend := w.client("backend", impatient)
			s := backend.RestoreSession(before, nil)
			w.lose(1000)
			if err := backend.StepUp(t.Context(), s, w.proof("alice", "otp"), latchkey.StepUpParams{}); !errors.Is(err, latchkey.ErrUnavailable) {
				t.Fatalf("%s: the step-up: %v", name, err)
			}
			w.lose(0)
			kept, err := latchkey.ParseTokens(s.Tokens().Serialize())
			w.ok(err)
			w.Clock.Advance(time.Hour) // longer than the retry window and the client token's lifetime
			again := w.client("backend", latchkey.ClientOptions{})
			restored := again.RestoreSession(kept, nil)
			_, err = again.AccessToken(t.Context(), restored)
			w.ok(err)
			after := restored.Tokens()
			if after.Pending != nil || after.RefreshToken == before.RefreshToken || after.SessionToken == before.SessionToken || after.Generation <= before.Generation {
				t.Errorf("%s: the handles are not those of the step-up", name)
			}
			d, err := again.ValidateSession(t.Context(), after.SessionToken)
			w.ok(err)
			if d.ACR != "urn:latchkey:acr:2" {
				t.Errorf("%s: the session has %s", name, d.ACR)
			}
			w.ok(again.RefreshSession(t.Context(), restored))
		}
	})
}

func TestConcurrentRefreshesKeepOneChain(t *testing.T) {
	eachAppDeployment(t, func(t *testing.T, w *appDeployment) {
		s := w.signIn(w.web, "alice")
		for range 3 {
			w.Clock.Advance(time.Hour)
			w.lose(1)
			before := w.posts.Load()
			var all sync.WaitGroup
			for range 64 {
				all.Go(func() {
					if _, err := w.web.AccessToken(t.Context(), s); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			if n := w.posts.Load() - before; n != 2 {
				t.Errorf("%d requests, one of which was lost", n)
			}
		}
		if !w.active(s.Tokens().AccessToken) {
			t.Error("the session is over")
		}
	})
}

func TestUsersSeeAndEndTheirSessions(t *testing.T) {
	eachAppDeployment(t, func(t *testing.T, w *appDeployment) {
		var sessions []*latchkey.Session
		for range 4 {
			sessions = append(sessions, w.signIn(w.web, "alice"))
			w.Clock.Advance(time.Second)
		}
		bob := w.signIn(w.web, "bob")
		token := sessions[0].Tokens().AccessToken
		listed := func() (ids []string) {
			for d, err := range w.web.Sessions(t.Context(), token) {
				w.ok(err)
				ids = append(ids, d.ID)
			}
			return ids
		}
		if got := listed(); !slices.Equal(got, []string{sessions[3].ID(), sessions[2].ID(), sessions[1].ID(), sessions[0].ID()}) {
			t.Errorf("listed %v", got)
		}
		w.ok(w.web.EndSession(t.Context(), token, sessions[3].ID()))
		if err := w.web.EndSession(t.Context(), token, bob.ID()); code(err) != "not_found" {
			t.Errorf("another user's: %v", err)
		}
		if err := w.web.RefreshSession(t.Context(), sessions[3]); !errors.Is(err, latchkey.ErrSessionEnded) {
			t.Errorf("ended elsewhere: %v", err)
		}
		w.ok(w.web.EndOtherSessions(t.Context(), token))
		if got := listed(); !slices.Equal(got, []string{sessions[0].ID()}) {
			t.Errorf("left %v", got)
		}
		w.ok(w.web.EndAllSessions(t.Context(), token))
		for _, err := range w.web.Sessions(t.Context(), token) {
			if !errors.Is(err, latchkey.ErrInvalidToken) {
				t.Errorf("listed %v", err)
			}
		}
		if !w.active(bob.Tokens().AccessToken) {
			t.Error("another user was signed out")
		}
	})
}

func TestABackEndManagesSessions(t *testing.T) {
	eachAppDeployment(t, func(t *testing.T, w *appDeployment) {
		support := w.client("support", latchkey.ClientOptions{})
		const sub = "alice & bob?/#" // needs escaping in URLs
		var ids []string
		for range 3 {
			ids = append(ids, w.signIn(w.web, sub).ID())
		}
		other := w.signIn(w.web, "carol")
		n := 0
		for d, err := range support.UserSessions(t.Context(), sub) {
			w.ok(err)
			if n++; d.Subject != sub || d.Current || !slices.Contains(ids, d.ID) {
				t.Errorf("listed %+v", d)
			}
		}
		if n != 3 {
			t.Errorf("listed %d", n)
		}
		extended, err := support.ExtendSession(t.Context(), ids[0], 45*24*time.Hour)
		w.ok(err)
		if !extended.ExpiresAt.Equal(w.Clock.Now().Add(45 * 24 * time.Hour)) {
			t.Errorf("extended to %s", extended.ExpiresAt)
		}
		w.ok(support.EndUserSession(t.Context(), ids[1]))
		ended, err := support.UserSession(t.Context(), ids[1])
		w.ok(err)
		if ended.Active() || ended.EndReason == "" || ended.EndedAt == nil {
			t.Errorf("ended: %+v", ended)
		}
		w.ok(support.EndUserSessions(t.Context(), sub))
		for d, err := range support.UserSessions(t.Context(), sub) {
			t.Errorf("left %v, %v", d, err)
		}
		if !w.active(other.Tokens().AccessToken) {
			t.Error("another user was signed out")
		}
		backend := w.client("backend", latchkey.ClientOptions{})
		if err := backend.EndUserSessions(t.Context(), "carol"); code(err) != "unauthorized_client" {
			t.Errorf("without the permission: %v", err)
		}
		if _, err := support.UserSession(t.Context(), "PDKYTQ2WMRIhXMFkcyXxzA"); code(err) != "not_found" {
			t.Errorf("no session: %v", err)
		}
	})
}

func TestAListOfManyPagesIsReadWhole(t *testing.T) {
	eachAppDeployment(t, func(t *testing.T, w *appDeployment) {
		const many = 201
		seen := map[string]bool{}
		for range many {
			seen[w.signIn(w.web, "alice").ID()] = false
		}
		for d, err := range w.client("support", latchkey.ClientOptions{}).UserSessions(t.Context(), "alice") {
			w.ok(err)
			if was, known := seen[d.ID]; was || !known {
				t.Fatalf("%s is listed twice, or not Alice's", d.ID)
			}
			seen[d.ID] = true
		}
		for id, listed := range seen {
			if !listed {
				t.Errorf("%s is not listed", id)
			}
		}
	})
}

func TestASessionTokenYieldsAccessTokens(t *testing.T) {
	eachAppDeployment(t, func(t *testing.T, w *appDeployment) {
		backend := w.client("backend", latchkey.ClientOptions{})
		kept := w.signIn(backend, "alice").Tokens()
		if kept.SessionToken == "" {
			t.Fatal("it gets no session token")
		}
		w.lose(1)
		fresh, err := backend.ExchangeSessionToken(t.Context(), kept.SessionToken)
		w.ok(err)
		if fresh.AccessToken == kept.AccessToken || !w.active(fresh.AccessToken) || fresh.RefreshToken != "" || fresh.SessionToken != kept.SessionToken {
			t.Error("it was not swapped")
		}
		d, err := backend.ValidateSession(t.Context(), kept.SessionToken)
		w.ok(err)
		if d.ID != kept.SessionID {
			t.Errorf("it is %+v", d)
		}
		kept.RefreshToken = ""
		s := backend.RestoreSession(kept, nil)
		w.Clock.Advance(time.Hour)
		w.lose(1)
		w.ok(backend.StepUp(t.Context(), s, w.proof("alice", "otp"), latchkey.StepUpParams{}))
		w.ok(backend.RefreshSession(t.Context(), s))
		w.ok(backend.RevokeSession(t.Context(), kept.SessionToken))
		if _, err := backend.ExchangeSessionToken(t.Context(), kept.SessionToken); !errors.Is(err, latchkey.ErrSessionEnded) {
			t.Errorf("ended: %v", err)
		}
	})
}

// sensitive returns a resource server that requires two factors (RFC 9470).
func (w *appDeployment) sensitive() *httptest.Server {
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		d, err := w.web.ValidateSession(r.Context(), bearerOf(r))
		if err != nil || d.ACR != "urn:latchkey:acr:2" {
			rw.Header().Set("WWW-Authenticate", `Bearer error="insufficient_user_authentication", acr_values="urn:latchkey:acr:2", max_age="60"`)
			rw.WriteHeader(http.StatusUnauthorized)
		}
	}))
	w.t.Cleanup(server.Close)
	return server
}

func TestAChallengeIsMetByAStepUp(t *testing.T) {
	eachAppDeployment(t, func(t *testing.T, w *appDeployment) {
		s := w.signIn(w.web, "alice")
		api, url := &http.Client{Transport: &oauth2.Transport{Source: w.web.TokenSource(t.Context(), s)}}, w.sensitive().URL
		answer, err := api.Get(url)
		w.ok(err)
		answer.Body.Close()
		demand, ok := latchkey.ParseChallenge(answer.Header)
		if !ok || answer.StatusCode != http.StatusUnauthorized {
			t.Fatalf("status %d %v", answer.StatusCode, answer.Header)
		}
		if err := w.web.StepUp(t.Context(), s, w.proof("alice", "pwd"), latchkey.StepUpParams{Demand: demand}); code(err) != "unmet_authentication_requirements" {
			t.Errorf("the same factor again: %v", err)
		}
		if err := w.web.StepUp(t.Context(), s, w.proof("bob", "otp"), latchkey.StepUpParams{Demand: demand}); code(err) != "invalid_request" {
			t.Errorf("another user's: %v", err)
		}
		if err := w.web.StepUp(t.Context(), s, w.proof("alice", "otp"), latchkey.StepUpParams{Demand: demand}); code(err) != "unmet_authentication_requirements" {
			t.Errorf("a factor whose time nobody states: %v", err)
		}
		now := w.Clock.Now().Unix()
		timed := w.issuer.Token(w.URL, "alice", map[string]any{"amr": []string{"pwd", "otp"}, "auth_time": now})
		w.ok(w.web.StepUp(t.Context(), s, timed, latchkey.StepUpParams{Demand: demand}))
		answer, err = api.Get(url)
		w.ok(err)
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Errorf("status %d %v", answer.StatusCode, answer.Header)
		}
	})
}

func TestATokenSourceRefreshesOnce(t *testing.T) {
	eachAppDeployment(t, func(t *testing.T, w *appDeployment) {
		s := w.signIn(w.web, "alice")
		api := oauth2.NewClient(t.Context(), w.web.TokenSource(t.Context(), s))
		server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if !w.active(bearerOf(r)) {
				rw.WriteHeader(http.StatusUnauthorized)
			}
		}))
		t.Cleanup(server.Close)
		w.Clock.Advance(5*time.Minute - 10*time.Second)
		before := w.posts.Load()
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				answer, err := api.Get(server.URL)
				if err != nil {
					t.Error(err)
					return
				}
				answer.Body.Close()
				if answer.StatusCode != http.StatusOK {
					t.Errorf("status %d", answer.StatusCode)
				}
			})
		}
		all.Wait()
		if n := w.posts.Load() - before; n != 1 {
			t.Errorf("%d refreshes", n)
		}
		w.ok(w.web.RevokeSession(t.Context(), s.Tokens().RefreshToken))
		w.Clock.Advance(time.Hour)
		if _, err := api.Get(server.URL); !errors.Is(err, latchkey.ErrSessionEnded) {
			t.Errorf("revoked: %v", err)
		}
	})
}
