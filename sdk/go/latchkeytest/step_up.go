package latchkeytest

import (
	"crypto/rand"
	"slices"
	"strings"
)

// isHandle reports whether a token is a refresh token or a session token.
func isHandle(token string) bool {
	return strings.HasPrefix(token, "lk_rt_") || strings.HasPrefix(token, "lk_st_")
}

// repeated reports whether a request repeats the last step-up: it has the same
// refresh or session token and the same client token, and the new refresh token
// is unused.
func (s *appSession) repeated(named, clientToken string) bool {
	if s.stepUp.generation == 0 || s.stepUp.generation != len(s.used) || !slices.Contains(s.stepUp.clientTokens, clientToken) {
		return false
	}
	return named == s.stepUp.shown || !isHandle(named) && s.stepUp.shown == ""
}

// replaceHandles replaces the refresh token and the session token for a
// step-up. A second step-up with the same token within the retry window
// replaces nothing. The caller holds i.mu.
func (i *Issuer) replaceHandles(s *appSession, named, clientToken string) (code string) {
	if !isHandle(named) {
		named = ""
	}
	up := &s.stepUp
	if named != "" && up.shown == named && up.generation == len(s.used) && i.clock().Sub(s.rotated) <= RetryWindow {
		up.clientTokens = append(up.clientTokens, clientToken)
		return ""
	}
	before, old := s.factors, s.refresh
	if strings.HasPrefix(named, "lk_rt_") {
		if _, code := i.rotate(named); code != "" {
			return code
		}
		if named != old { // its successor was already issued and may have been copied
			i.rotate(old)
		}
	} else {
		if slices.Contains(s.superseded, named) {
			return "invalid_grant" + sessionTokenSuperseded
		}
		s.superseded = append(s.superseded, old)
		s.used, s.refresh, s.rotated = append(s.used, old), "lk_rt_"+rand.Text(), i.clock()
	}
	if s.sessionToken != "" {
		s.superseded = append(s.superseded, s.sessionToken)
		s.sessionToken = "lk_st_" + rand.Text()
	}
	*up = stepUp{generation: len(s.used), shown: named, clientTokens: []string{clientToken}, before: before}
	return ""
}
