package latchkeytest

import (
	"net/url"
	"slices"
	"strings"
)

// granted returns the audiences that a session's access tokens may have.
func (s *appSession) granted() []string {
	if len(s.target) == 0 {
		return []string{s.client}
	}
	return s.target
}

// narrowed returns the audience and scope that a request asks for: a part of
// what was granted, or all of it (RFC 8707 §2.2, RFC 6749 §6).
func (s *appSession) narrowed(form url.Values) (audience []string, scope, code string) {
	audience, scope = slices.Concat(form["audience"], form["resource"]), form.Get("scope")
	switch {
	case !subset(audience, s.granted()):
		return nil, "", "invalid_target"
	case !subset(strings.Fields(scope), strings.Fields(s.scope)):
		return nil, "", "invalid_scope"
	}
	if len(audience) == 0 {
		audience = s.granted()
	}
	if scope == "" {
		scope = s.scope
	}
	return audience, scope, ""
}

func subset(part, whole []string) bool {
	return !slices.ContainsFunc(part, func(v string) bool { return !slices.Contains(whole, v) })
}

// oneOrMany returns the value of a claim `aud`.
func oneOrMany(audience []string) any {
	if len(audience) == 1 {
		return audience[0]
	}
	return audience
}
