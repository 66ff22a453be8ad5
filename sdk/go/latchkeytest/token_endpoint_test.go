package latchkeytest_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/latchkeytest"
	"github.com/latchkey/latchkey/sdk/go/resource"
)

// ask posts to the token endpoint as a public client.
func ask(t *testing.T, issuer *latchkeytest.Issuer, form url.Values) map[string]any {
	t.Helper()
	form.Set("client_id", latchkeytest.ClientID)
	answer, err := http.PostForm(issuer.URL+"/token", form)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var body map[string]any
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	return body
}

func TestTheIssuerRotatesRefreshTokensAsTheServerDoes(t *testing.T) {
	t.Parallel()
	issuer := latchkeytest.New(t)
	exchange := func() map[string]any {
		return ask(t, issuer, url.Values{
			"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {issuer.ClientToken("alice")}, "subject_token_type": {latchkey.TokenTypeJWT},
		})
	}
	refresh := func(token any) map[string]any {
		return ask(t, issuer, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token.(string)}})
	}
	over := func(any) { issuer.Advance(latchkeytest.RetryWindow + time.Second) }
	for name, end := range map[string]func(first any){
		"its successor was used": func(first any) { refresh(refresh(first)["refresh_token"]) },
		"a step-up spent it and the retry window is over": func(first any) {
			ask(t, issuer, url.Values{
				"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {issuer.ClientToken("alice")}, "subject_token_type": {latchkey.TokenTypeJWT},
				"latchkey_session_token": {refresh(first)["refresh_token"].(string)},
			})
			over(nil)
		},
	} {
		made := exchange()
		first, sid := made["refresh_token"], made["session_id"].(string)
		next := refresh(first)["refresh_token"]
		if again := refresh(first); next == first || again["refresh_token"] != next || again["access_token"] == made["access_token"] {
			t.Errorf("a retry yields %v", again)
		}
		end(first)
		if got := refresh(first); got["error"] != "invalid_grant" || issuer.SessionActive(sid) {
			t.Errorf("when %s a used token yields %v", name, got)
		}
	}
}

func TestTheIssuerAnswersOneLateRetryInNineRefreshes(t *testing.T) {
	t.Parallel()
	issuer := latchkeytest.New(t)
	refresh := func(token any) map[string]any {
		return ask(t, issuer, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token.(string)}})
	}
	lost := func(token any) any { // loses the response to a refresh
		next := refresh(token)["refresh_token"]
		issuer.Advance(time.Hour)
		if again := refresh(token); again["refresh_token"] != next {
			t.Fatalf("a late retry yields %v", again)
		}
		return next
	}
	made := ask(t, issuer, url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {issuer.ClientToken("alice")}, "subject_token_type": {latchkey.TokenTypeJWT},
	})
	token, sid := lost(made["refresh_token"]), made["session_id"].(string)
	for range 8 {
		token = refresh(token)["refresh_token"]
	}
	token = lost(token)
	for range 7 {
		token = refresh(token)["refresh_token"]
	}
	refresh(token)
	issuer.Advance(time.Hour)
	if got := refresh(token); got["error"] != "invalid_grant" || issuer.SessionActive(sid) {
		t.Errorf("a second late retry within nine refreshes yields %v", got)
	}
}

func TestASessionEndsForAppsAndVerifiersAlike(t *testing.T) {
	t.Parallel()
	issuer := latchkeytest.New(t)
	client, err := latchkey.NewClient(issuer.URL, latchkeytest.ClientID, latchkey.ClientOptions{Now: issuer.Now})
	if err != nil {
		t.Fatal(err)
	}
	o := issuer.VerifierOptions()
	o.Revocation = resource.Introspection
	verifier, err := resource.NewVerifier(issuer.URL, latchkeytest.Audience, o)
	if err != nil {
		t.Fatal(err)
	}
	defer verifier.Close()
	for name, end := range map[string]func(s *latchkey.Session) error{
		"the app signs out":   func(s *latchkey.Session) error { return client.SignOut(t.Context(), s) },
		"somebody revokes it": func(s *latchkey.Session) error { issuer.RevokeSession(s.ID()); return nil },
		"the user is revoked": func(s *latchkey.Session) error { issuer.RevokeUser("alice"); return nil },
	} {
		s, err := client.CreateSession(t.Context(), issuer.ClientToken("alice"), latchkey.CreateParams{Resource: []string{latchkeytest.Audience}})
		if err != nil {
			t.Fatal(err)
		}
		token := s.Tokens().AccessToken
		if verified, err := verifier.Verify(t.Context(), token); err != nil || verified.Subject != "alice" || verified.SessionID != s.ID() {
			t.Fatalf("verified %+v, %v", verified, err)
		}
		if err := end(s); err != nil {
			t.Fatal(err)
		}
		issuer.Advance(2 * time.Second)
		if _, err := verifier.Verify(t.Context(), token); !errors.Is(err, latchkey.ErrInvalidToken) {
			t.Errorf("%s: the verifier returns %v", name, err)
		}
		if err := client.RefreshSession(t.Context(), s); !errors.Is(err, latchkey.ErrSessionEnded) {
			t.Errorf("%s: the refresh returns %v", name, err)
		}
	}
}

func TestAStepUpReplacesBothHandlesAndIsAnsweredAgain(t *testing.T) {
	t.Parallel()
	for name, shown := range map[string]string{"the refresh token": "refresh_token", "the session token": "session_token", "an access token": "access_token"} {
		issuer := latchkeytest.New(t)
		stepUp := func(handle any, proof string) map[string]any {
			return askAs(t, issuer, url.Values{
				"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {proof}, "subject_token_type": {latchkey.TokenTypeJWT},
				"latchkey_session_token": {handle.(string)},
			})
		}
		made := askAs(t, issuer, url.Values{
			"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {issuer.ClientToken("alice")}, "subject_token_type": {latchkey.TokenTypeJWT},
		})
		proof := issuer.ClientToken("alice", latchkeytest.Claims{"amr": []string{"otp"}})
		up := stepUp(made[shown], proof)
		for _, handle := range []string{"refresh_token", "session_token"} {
			if up[handle] == nil || up[handle] == made[handle] {
				t.Errorf("by %s: the %s is %v", name, handle, up[handle])
			}
		}
		issuer.Advance(2 * time.Minute)
		if again := stepUp(made[shown], proof); again["refresh_token"] != up["refresh_token"] || again["session_token"] != up["session_token"] || again["latchkey_generation"] != up["latchkey_generation"] {
			t.Errorf("by %s: the same request again is answered %v", name, again)
		}
		refresh := func(token any) map[string]any {
			return askAs(t, issuer, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token.(string)}})
		}
		if shown != "refresh_token" {
			if got := refresh(made["refresh_token"]); got["latchkey_reason"] != "refresh_superseded" {
				t.Errorf("by %s: the old refresh token yields %v", name, got)
			}
		}
		swapped := askAs(t, issuer, url.Values{
			"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {made["session_token"].(string)}, "subject_token_type": {"urn:latchkey:params:oauth:token-type:session"},
		})
		if swapped["latchkey_reason"] != "session_token_superseded" {
			t.Errorf("by %s: the old session token yields %v", name, swapped)
		}
		next := refresh(up["refresh_token"])
		if next["error"] != nil {
			t.Errorf("by %s: the new refresh token yields %v", name, next)
		}
		if got := stepUp(up["refresh_token"], proof); got["latchkey_reason"] != "subject_token_spent" {
			t.Errorf("by %s: a used client token yields %v", name, got)
		}
		if sid := made["session_id"].(string); !issuer.SessionActive(sid) {
			t.Errorf("by %s: the session is over", name)
		}
	}
}

func TestARefreshThatOverlapsAStepUpGetsNoRefreshToken(t *testing.T) {
	t.Parallel()
	issuer := latchkeytest.New(t)
	made := askAs(t, issuer, url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {issuer.ClientToken("alice")}, "subject_token_type": {latchkey.TokenTypeJWT},
	})
	up := askAs(t, issuer, url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {issuer.ClientToken("alice", latchkeytest.Claims{"amr": []string{"otp"}})},
		"subject_token_type": {latchkey.TokenTypeJWT}, "latchkey_session_token": {made["refresh_token"].(string)},
	})
	refresh := func(token any) map[string]any {
		return askAs(t, issuer, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token.(string)}})
	}
	got := refresh(made["refresh_token"])
	if got["access_token"] == nil || got["refresh_token"] != nil || got["session_token"] != nil || got["latchkey_generation"] != made["latchkey_generation"] {
		t.Errorf("answered %v", got)
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(got["access_token"].(string), ".")[1])
	if err != nil || !strings.Contains(string(payload), `"acr":"urn:latchkey:acr:1"`) {
		t.Errorf("its access token has the claims %s, %v", payload, err)
	}
	if next := refresh(up["refresh_token"]); next["refresh_token"] == nil {
		t.Errorf("the new refresh token yields %v", next)
	}
}

// askAs posts to the token endpoint as a client with a secret.
func askAs(t *testing.T, issuer *latchkeytest.Issuer, form url.Values) map[string]any {
	t.Helper()
	r, err := http.NewRequest("POST", issuer.URL+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(latchkeytest.ClientID, "secret")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var body map[string]any
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	return body
}
