package latchkeytest_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/latchkeytest"
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
	lost := func(token any) any { // the answer to its refresh
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
	o := issuer.Options()
	o.Revocation = latchkey.Introspection
	verifier, err := latchkey.NewVerifier(issuer.URL, latchkeytest.Audience, o)
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
			t.Errorf("when %s, a verifier says %v", name, err)
		}
		if err := client.RefreshSession(t.Context(), s); !errors.Is(err, latchkey.ErrSessionEnded) {
			t.Errorf("when %s, a refresh says %v", name, err)
		}
	}
}
