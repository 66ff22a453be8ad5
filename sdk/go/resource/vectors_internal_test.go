package resource

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
)

// readVectors reads test vectors that the TypeScript SDK's tests read too.
func readVectors(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile("../../vectors/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

// documents serves an issuer's metadata and key set without a network.
type documents map[string]string

// RoundTrip implements http.RoundTripper.
func (d documents) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(d[r.URL.String()])), Request: r}, nil
}

func TestVectorsOfAccessTokens(t *testing.T) {
	var file struct {
		Issuer, Audience string
		Now              int64
		JWKS             json.RawMessage
		Cases            []struct {
			Name, Token  string
			Accepted     bool
			AcceptTypJWT bool  `json:"accept_typ_jwt"`
			MaxTokenAge  int64 `json:"max_token_age"`
		}
	}
	readVectors(t, "access_tokens", &file)
	const jwks = "https://id.example.com/jwks"
	metadata, err := json.Marshal(map[string]string{"issuer": file.Issuer, "jwks_uri": jwks})
	if err != nil {
		t.Fatal(err)
	}
	issuer := documents{file.Issuer + "/.well-known/openid-configuration": string(metadata), jwks: string(file.JWKS)}
	for _, c := range file.Cases {
		t.Run(c.Name, func(t *testing.T) {
			v, err := NewVerifier(file.Issuer, file.Audience, VerifierOptions{
				Revocation: None, AcceptTypJWT: c.AcceptTypJWT, MaxTokenAge: time.Duration(c.MaxTokenAge) * time.Second,
				HTTPClient: &http.Client{Transport: issuer}, Now: func() time.Time { return time.Unix(file.Now, 0) },
			})
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			for range 2 { // the second time perhaps from the cache
				_, err := v.Verify(t.Context(), c.Token)
				if c.Accepted != (err == nil) || err != nil && !errors.Is(err, latchkey.ErrInvalidToken) {
					t.Errorf("verifies with %v", err)
				}
			}
		})
	}
	if len(file.Cases) < 50 {
		t.Errorf("only %d cases", len(file.Cases))
	}
}

func TestVectorsOfTheFeed(t *testing.T) {
	var file struct {
		Now   int64
		Cases []struct{ Name, Stream, Token string }
	}
	readVectors(t, "feed", &file)
	for _, c := range file.Cases {
		t.Run(c.Name, func(t *testing.T) {
			now := time.Unix(file.Now, 0)
			s := newTestFeed(&now)
			s.text(t, c.Stream)
			token := &Token{SessionID: "s1", ID: "t1", Subject: "alice", ClientID: "web", IssuedAt: now.Add(-time.Minute)}
			got := "good"
			if _, doubted := s.revoked.mayRevoke(token); doubted {
				got = "doubted"
			}
			if s.revoked.revokes(token) {
				got = "revoked"
			}
			if got != c.Token {
				t.Errorf("the token is %s, want %s", got, c.Token)
			}
		})
	}
	if len(file.Cases) < 15 {
		t.Errorf("only %d cases", len(file.Cases))
	}
}

func TestVectorsOfStatusLists(t *testing.T) {
	var file struct {
		Cases []struct {
			Name, LST   string
			Bits, Index uint64
			Status      *byte
		}
	}
	readVectors(t, "status_lists", &file)
	for _, c := range file.Cases {
		t.Run(c.Name, func(t *testing.T) {
			list, err := inflate(c.Bits, c.LST)
			var status byte
			known := false
			if err == nil {
				status, known = list.at(c.Index)
			}
			if known != (c.Status != nil) || known && status != *c.Status {
				t.Errorf("status %d %v, %v", status, known, err)
			}
		})
	}
	if len(file.Cases) < 30 {
		t.Errorf("only %d cases", len(file.Cases))
	}
}

func TestVectorsOfRequirements(t *testing.T) {
	var file struct {
		Now   int64
		Cases []struct {
			Name, Want string
			Need       struct {
				Scopes, ACR []string
				MaxAge      *int64 `json:"max_age"`
			}
			Claims map[string]any
		}
	}
	readVectors(t, "requirements", &file)
	for _, c := range file.Cases {
		t.Run(c.Name, func(t *testing.T) {
			now := time.Unix(file.Now, 0)
			claims := map[string]any{"iss": "i", "sub": "s", "aud": "a", "client_id": "c", "jti": "j", "iat": file.Now, "exp": file.Now}
			maps.Copy(claims, c.Claims)
			text, err := json.Marshal(claims)
			if err != nil {
				t.Fatal(err)
			}
			token, err := parseToken(text)
			if err != nil {
				t.Fatal(err)
			}
			list := []Requirement{RequireScope(c.Need.Scopes...)}
			if c.Need.ACR != nil {
				list = append(list, RequireACR(c.Need.ACR...))
			}
			if c.Need.MaxAge != nil {
				list = append(list, MaxAge(time.Duration(*c.Need.MaxAge)*time.Second))
			}
			need, got := combine(list), "met"
			switch {
			case need.lacksScope(token):
				got = "insufficient_scope"
			case need.lacksAuthentication(token, now, defaultTolerance):
				got = "insufficient_user_authentication"
			}
			if got != c.Want {
				t.Errorf("%s, want %s", got, c.Want)
			}
		})
	}
	if len(file.Cases) < 15 {
		t.Errorf("only %d cases", len(file.Cases))
	}
}
