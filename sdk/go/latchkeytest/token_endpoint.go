package latchkeytest

import (
	"crypto/rand"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Lifetimes of sessions, and wire values of the exchange.
const (
	SessionLifetime = 24 * time.Hour
	MaxLifetime     = 7 * SessionLifetime // limit for extensions
	RetryWindow     = 10 * time.Second    // in which a used refresh token is answered again

	grantExchange    = "urn:ietf:params:oauth:grant-type:token-exchange"
	tokenTypeJWT     = "urn:ietf:params:oauth:token-type:jwt"
	tokenTypeIDToken = "urn:ietf:params:oauth:token-type:id_token"
	tokenTypeAccess  = "urn:ietf:params:oauth:token-type:access_token"
	tokenTypeSession = "urn:latchkey:params:oauth:token-type:session"
)

// ClientToken returns a proof that a user has just signed in. It can be
// exchanged once, within a minute. `amr` in the claims, a []string, is recorded
// in the session.
func (i *Issuer) ClientToken(sub string, claims ...Claims) string {
	i.t.Helper()
	now := i.Now()
	all := append([]Claims{{
		"iss": i.URL + "/client-tokens", "aud": i.URL, "sub": sub, "client_id": nil, "sid": nil, "exp": now.Add(time.Minute).Unix(), "amr": []string{"pwd"},
	}}, claims...)
	made := i.AccessClaims(all...)
	token := i.Sign("JWT", made)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.clientTokens[token] = made
	return token
}

// serveApps serves the endpoints for apps: tokens, revocation and the session
// API.
func (i *Issuer) serveApps() {
	i.mux.HandleFunc("POST /token", i.token)
	i.mux.HandleFunc("POST /revoke", i.revokeToken)
	i.serveSessions()
}

func refuse(w http.ResponseWriter, status int, code string) {
	writeJSON(w, status, map[string]any{"error": code})
}

// refuseFor adds a reason unless it is empty.
func refuseFor(w http.ResponseWriter, status int, code, reason string) {
	body := map[string]any{"error": code}
	if reason != "" {
		body["latchkey_reason"] = reason
	}
	writeJSON(w, status, body)
}

// The refusals of refresh and session tokens that a step-up replaced, and of a
// used client token.
const (
	refreshSuperseded      = "invalid_grant:refresh_superseded"
	sessionTokenSuperseded = ":session_token_superseded"
	clientTokenSpent       = "invalid_request:subject_token_spent"
)

// token serves the token endpoint like the server: exchange, step-up, exchange
// of a session token, refresh.
func (i *Issuer) token(w http.ResponseWriter, r *http.Request) {
	client, secret, _ := r.BasicAuth()
	if r.ParseForm() != nil || client == "" && r.PostForm.Get("client_id") == "" {
		refuse(w, http.StatusUnauthorized, "invalid_client")
		return
	}
	if client == "" {
		client = r.PostForm.Get("client_id")
	}
	i.mu.Lock()
	s, code := i.grant(r.PostForm)
	if code == "" && s.client == "" {
		s.client = client
		if secret != "" {
			s.sessionToken = "lk_st_" + rand.Text()
		}
	}
	if code == "" && s.client != client {
		code = "invalid_grant"
	}
	if code == "" {
		s.active, s.device.UserAgent, s.device.IP = i.clock(), r.UserAgent(), "127.0.0.1"
	}
	i.mu.Unlock()
	if code != "" {
		code, reason, _ := strings.Cut(code, ":")
		refuseFor(w, http.StatusBadRequest, code, reason)
		return
	}
	i.answer(w, s, r.PostForm)
}

// grant returns or creates the session of a request. The error code may be
// followed by a colon and a reason. The caller holds i.mu.
func (i *Issuer) grant(form url.Values) (s *appSession, code string) {
	kind, named := form.Get("subject_token_type"), form.Get("latchkey_session_token")
	switch grant := form.Get("grant_type"); {
	case grant == "refresh_token":
		return i.refresh(form)
	case grant != grantExchange:
		return nil, "unsupported_grant_type"
	case kind == tokenTypeSession:
		if s = i.sessionOf(form.Get("subject_token")); s == nil || i.hasEnded(s) {
			return nil, "invalid_request"
		}
		if slices.Contains(s.superseded, form.Get("subject_token")) {
			return nil, "invalid_request" + sessionTokenSuperseded
		}
		if _, _, code = s.narrowed(form); code == "" {
			_, _, code = selectClass(form, s.factors, i.clock())
		}
		return s, code
	case kind != tokenTypeJWT && kind != tokenTypeIDToken:
		return nil, "invalid_request"
	}
	if s = i.sessionOf(named); named != "" && s != nil && !i.hasEnded(s) && s.repeated(named, form.Get("subject_token")) {
		return s, ""
	}
	claims := i.clientTokens[form.Get("subject_token")]
	if claims == nil && i.usedTokens[form.Get("subject_token")] {
		return nil, clientTokenSpent
	}
	if exp, _ := claims["exp"].(int64); exp <= i.clock().Unix() {
		return nil, "invalid_request" // unknown or expired
	}
	s = &appSession{id: rand.Text(), sub: claims["sub"].(string), scope: form.Get("scope"), created: i.clock(), ends: i.clock().Add(SessionLifetime), target: append(form["audience"], form["resource"]...)}
	if named != "" {
		if before := i.sessionOf(named); before == nil || i.hasEnded(before) {
			return nil, "invalid_grant"
		} else if before.sub != s.sub {
			return nil, "invalid_request"
		} else {
			s = before
		}
	}
	factors := addFactors(s.factors, proved(claims))
	if _, _, code := selectClass(form, factors, i.clock()); code != "" {
		return nil, code
	}
	if named != "" {
		if code := i.replaceHandles(s, named, form.Get("subject_token")); code != "" {
			return nil, code
		}
	}
	delete(i.clientTokens, form.Get("subject_token"))
	i.usedTokens[form.Get("subject_token")] = true
	s.factors = factors
	if named == "" {
		s.refresh, s.device.Name = "lk_rt_"+rand.Text(), form.Get("latchkey_device_name")
		i.sessions = append(i.sessions, s)
	}
	return s, ""
}

// refresh checks the target and the demand before it uses the refresh token.
// The caller holds i.mu.
func (i *Issuer) refresh(form url.Values) (*appSession, string) {
	presented := form.Get("refresh_token")
	if s := i.sessionOf(presented); s != nil && s.refresh == presented && !i.hasEnded(s) {
		if _, _, code := s.narrowed(form); code != "" {
			return nil, code
		}
		if _, _, code := selectClass(form, s.factors, i.clock()); code != "" {
			return nil, code
		}
	}
	s, code := i.rotate(presented)
	if code == "" {
		_, _, code = s.narrowed(form) // for a repetition
	}
	if code == "" {
		_, _, code = selectClass(form, s.factors, i.clock())
	}
	return s, code
}

// rotate uses a refresh token. The last used token yields the same successor
// again: always within the retry window, and after it once in nine refreshes.
// That makes a lost response harmless.
//
// If a step-up used it, it yields the session as it was before, without a
// refresh token, and only within the window. Every other used token ends the
// session. The caller holds i.mu.
func (i *Issuer) rotate(presented string) (*appSession, string) {
	s, now := i.sessionOf(presented), i.clock()
	switch {
	case s == nil || i.hasEnded(s) || !strings.HasPrefix(presented, "lk_rt_"):
		return nil, "invalid_grant"
	case slices.Contains(s.superseded, presented):
		return nil, refreshSuperseded
	case presented == s.refresh:
		s.used, s.refresh, s.rotated = append(s.used, s.refresh), "lk_rt_"+rand.Text(), now
	case presented == s.used[len(s.used)-1] && len(s.used) == s.stepUp.generation && now.Sub(s.rotated) <= RetryWindow:
		before := *s
		before.refresh, before.factors, before.used = "", s.stepUp.before, s.used[:len(s.used)-1]
		return &before, ""
	case presented == s.used[len(s.used)-1] && (now.Sub(s.rotated) <= RetryWindow || s.retryLate()):
	default:
		i.end(s, "reuse_detected")
		return nil, "invalid_grant"
	}
	return s, ""
}

// retryLate reports whether the last used token may be answered after the retry
// window, and records it. The server also limits how often one late retry is
// repeated, which apps do not notice.
func (s *appSession) retryLate() bool {
	generation := len(s.used)
	if generation == s.stepUp.generation || s.late != 0 && s.late != generation && generation-s.late <= 8 {
		return false
	}
	s.late = generation
	return true
}

// answer writes the tokens of a session.
func (i *Issuer) answer(w http.ResponseWriter, s *appSession, form url.Values) {
	i.mu.Lock()
	now := i.clock()
	audience, scope, _ := s.narrowed(form) // cannot fail: the grant has checked it
	claims := Claims{"sub": s.sub, "client_id": s.client, "sid": s.id, "aud": oneOrMany(audience), "scope": scope}
	maps.Copy(claims, s.assuranceClaims(form, now))
	life := min(AccessTokenLifetime, s.ends.Sub(now))
	body := map[string]any{
		"token_type": "Bearer", "issued_token_type": tokenTypeAccess, "expires_in": int(life / time.Second), "scope": scope,
		"session_id": s.id, "session_expires_at": s.ends.Unix(), "latchkey_generation": len(s.used), "refresh_grace": int(RetryWindow / time.Second),
	}
	if form.Get("subject_token_type") != tokenTypeSession {
		if s.refresh != "" {
			body["refresh_token"] = s.refresh
		}
		if s.sessionToken != "" && form.Get("grant_type") == grantExchange {
			body["session_token"] = s.sessionToken
		}
	}
	i.mu.Unlock()
	claims["exp"] = now.Add(life).Unix()
	body["access_token"] = i.Token(claims)
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, body)
}
