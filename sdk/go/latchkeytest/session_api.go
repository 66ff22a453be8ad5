package latchkeytest

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// serveSessions serves the session API. Every client with a secret counts as a
// back end.
func (i *Issuer) serveSessions() {
	for pattern, serve := range map[string]func(w http.ResponseWriter, r *http.Request, own *appSession){
		"GET /session":                i.session,
		"DELETE /session":             i.session,
		"GET /sessions":               i.list,
		"DELETE /sessions":            i.endMany,
		"GET /sessions/{sid}":         i.session,
		"DELETE /sessions/{sid}":      i.session,
		"POST /sessions/{sid}/extend": i.extend,
	} {
		i.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { i.serveCaller(w, r, serve) })
	}
}

// serveCaller authenticates the caller and calls serve with the bearer's
// session, or with nil for a back end. serve runs with i.mu held.
func (i *Issuer) serveCaller(w http.ResponseWriter, r *http.Request, serve func(w http.ResponseWriter, r *http.Request, own *appSession)) {
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	_, secret, basic := r.BasicAuth()
	claims := i.read(token)
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case bearer && r.Method != http.MethodPost:
		own := i.bearer(token, claims)
		if own == nil {
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+i.URL+`", error="invalid_token"`)
			refuseFor(w, http.StatusUnauthorized, "invalid_token", i.whyRefused(token))
			return
		}
		serve(w, r, own)
	case basic && secret != "" && r.URL.Path != "/session":
		serve(w, r, nil)
	case basic || r.Method == http.MethodPost:
		w.Header().Set("WWW-Authenticate", `Basic realm="`+i.URL+`"`)
		refuse(w, http.StatusUnauthorized, "invalid_client")
	default:
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+i.URL+`"`)
		writeJSON(w, http.StatusUnauthorized, map[string]any{})
	}
}

// bearer returns the live session of a session token or of an access token for
// the client itself. Access tokens for resource servers are rejected. The
// caller holds i.mu.
func (i *Issuer) bearer(token string, claims Claims) *appSession {
	s := i.sessionOf(token)
	if s == nil || i.hasEnded(s) || strings.HasPrefix(token, "lk_rt_") {
		return nil
	}
	if token == s.sessionToken {
		return s
	}
	audience, _ := claims["aud"].([]any)
	if one, ok := claims["aud"].(string); ok {
		audience = []any{one}
	}
	exp, _ := claims["exp"].(float64)
	if int64(exp) <= i.clock().Unix() || !slices.Contains(audience, any(s.client)) && !slices.Contains(audience, any(i.URL)) {
		return nil
	}
	return s
}

// whyRefused returns the reason for rejecting a session token that a step-up
// replaced. The caller holds i.mu.
func (i *Issuer) whyRefused(token string) string {
	if s := i.sessionOf(token); s != nil && !i.hasEnded(s) && strings.HasPrefix(token, "lk_st_") {
		return strings.TrimPrefix(sessionTokenSuperseded, ":")
	}
	return ""
}

// visibleTo returns the sessions that a caller may see, newest first.
func (i *Issuer) visibleTo(own *appSession, sub string) (list []*appSession) {
	for _, s := range slices.Backward(i.sessions) {
		if own == nil && (sub == "" || s.sub == sub) || own != nil && s.sub == own.sub {
			list = append(list, s)
		}
	}
	return list
}

// session returns or ends a session: that of the path, or the bearer's own.
func (i *Issuer) session(w http.ResponseWriter, r *http.Request, own *appSession) {
	s := own
	if sid := r.PathValue("sid"); sid != "" {
		if s = i.find(own, sid); s == nil {
			refuse(w, http.StatusNotFound, "not_found")
			return
		}
	}
	if r.Method == http.MethodGet {
		writeJSON(w, http.StatusOK, i.describe(s, own))
		return
	}
	i.endAll([]*appSession{s}, own)
	w.WriteHeader(http.StatusNoContent)
}

// find returns a session by its id, or nil if the caller may not see it.
func (i *Issuer) find(own *appSession, sid string) *appSession {
	for _, s := range i.visibleTo(own, "") {
		if s.id == sid {
			return s
		}
	}
	return nil
}

// subjectOf returns the user in the query of a request. If ok is false, the
// request was refused.
func subjectOf(w http.ResponseWriter, r *http.Request, own *appSession) (sub string, ok bool) {
	sub = r.URL.Query().Get("sub")
	if (own == nil) != (sub != "") {
		refuse(w, http.StatusBadRequest, "invalid_request")
		return "", false
	}
	return sub, true
}

// list returns all sessions on one page.
func (i *Issuer) list(w http.ResponseWriter, r *http.Request, own *appSession) {
	sub, ok := subjectOf(w, r, own)
	if !ok {
		return
	}
	items := []map[string]any{}
	for _, s := range i.visibleTo(own, sub) {
		if !i.hasEnded(s) {
			items = append(items, i.describe(s, own))
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{"items": items, "next_cursor": nil})
}

func (i *Issuer) endMany(w http.ResponseWriter, r *http.Request, own *appSession) {
	sub, ok := subjectOf(w, r, own)
	if !ok {
		return
	}
	scope := r.URL.Query().Get("scope")
	if own == nil && scope != "" || own != nil && scope != "others" && scope != "all" {
		refuse(w, http.StatusBadRequest, "invalid_request")
		return
	}
	i.endAll(slices.DeleteFunc(i.visibleTo(own, sub), func(s *appSession) bool { return scope == "others" && s == own }), own)
	w.WriteHeader(http.StatusNoContent)
}

// endAll ends the sessions that have not ended.
func (i *Issuer) endAll(list []*appSession, own *appSession) {
	reason := "signed_out"
	if own == nil {
		reason = "revoked"
	}
	for _, s := range list {
		if !i.hasEnded(s) {
			i.end(s, reason)
		}
	}
}

// extend moves the end of a session, up to MaxLifetime.
func (i *Issuer) extend(w http.ResponseWriter, r *http.Request, own *appSession) {
	seconds, err := strconv.ParseUint(r.PostFormValue("expires_in"), 10, 31)
	s := i.find(own, r.PathValue("sid"))
	switch {
	case err != nil || seconds == 0:
		refuse(w, http.StatusBadRequest, "invalid_request")
	case s == nil:
		refuse(w, http.StatusNotFound, "not_found")
	case i.hasEnded(s):
		refuse(w, http.StatusBadRequest, "invalid_request")
	default:
		s.ends = i.clock().Add(time.Duration(seconds) * time.Second)
		if most := s.created.Add(MaxLifetime); s.ends.After(most) {
			s.ends = most
		}
		writeJSON(w, http.StatusOK, i.describe(s, own))
	}
}

// describe returns a session as the API shows it. The caller holds i.mu.
func (i *Issuer) describe(s, own *appSession) map[string]any {
	o := map[string]any{
		"id": s.id, "sub": s.sub, "client_id": s.client, "status": "active", "current": s == own, "created_at": s.created.Unix(),
		"last_active_at": s.active.Truncate(time.Minute).Unix(), "expires_at": s.ends.Unix(), "idle_expires_at": nil,
		"ended_at": nil, "end_reason": nil, "factors": s.factors,
		"device": s.device, "scope": s.scope, "attributes": map[string]any{}, "claims": map[string]any{},
	}
	maps.Copy(o, s.assuranceClaims(nil, i.clock()))
	if !i.hasEnded(s) {
		return o
	}
	o["status"], o["end_reason"] = "ended", "revoked"
	switch {
	case s.endReason != "":
		o["ended_at"], o["end_reason"] = s.ended.Unix(), s.endReason
	case !i.clock().Before(s.ends):
		o["ended_at"], o["end_reason"] = s.ends.Unix(), "absolute"
	}
	return o
}
