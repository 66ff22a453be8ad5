package oauth

import (
	"slices"
	"strings"
)

// MaxScopes is the largest number of scopes that one request may name.
const MaxScopes = 100

// parseScope parses a scope parameter (RFC 6749 §3.3): names separated by
// spaces. It counts a duplicate once and ignores extra spaces.
func parseScope(text string) ([]string, error) {
	var scopes []string
	for token := range strings.SplitSeq(text, " ") {
		if token == "" {
			continue
		}
		if !scopeToken(token) {
			return nil, invalidScope(ReasonScopeMalformed, "scope is malformed: expected names of printable ASCII without quotes or backslashes, separated by spaces")
		}
		if !slices.Contains(scopes, token) {
			scopes = append(scopes, token)
		}
		if len(scopes) > MaxScopes {
			return nil, invalidScope(ReasonScopeMalformed, "scope has more than 100 names")
		}
	}
	return scopes, nil
}

// scopeToken reports whether s matches 1*( %x21 / %x23-5B / %x5D-7E ).
func scopeToken(s string) bool {
	for _, b := range []byte(s) {
		if b < 0x21 || b > 0x7e || b == '"' || b == '\\' {
			return false
		}
	}
	return s != ""
}

// grantScope returns the scope that a client is granted: everything that it
// requests, or its default scope if it requests none. It returns an error
// rather than silently granting less.
func grantScope(c *Client, text string) ([]string, error) {
	requested, err := parseScope(text)
	if err != nil {
		return nil, err
	}
	if requested == nil {
		return c.Settings.Scope(), nil
	}
	if !subset(requested, c.Settings.Scopes) {
		return nil, invalidScope(ReasonScopeNotAllowed, "scope has a name that is not in scopes of the client").compare(strings.Join(c.Settings.Scopes, " "), text)
	}
	return requested, nil
}

// narrowScope returns the scope of a refresh (RFC 6749 §6): the requested part
// of what the session was granted. Scopes that the client has lost since are
// silently left out.
func narrowScope(c *Client, granted []string, text string) ([]string, error) {
	requested, err := parseScope(text)
	if err != nil {
		return nil, err
	}
	if requested == nil {
		requested = granted
	} else if !subset(requested, granted) {
		return nil, invalidScope(ReasonScopeNotAllowed, "scope has a name that the session was not granted").compare(strings.Join(granted, " "), text)
	}
	return intersect(requested, c.Settings.Scopes), nil
}

// subset reports whether whole contains every element of part.
func subset(part, whole []string) bool {
	for _, s := range part {
		if !slices.Contains(whole, s) {
			return false
		}
	}
	return true
}

// intersect returns the elements of a that are in b.
func intersect(a, b []string) []string {
	var both []string
	for _, s := range a {
		if slices.Contains(b, s) {
			both = append(both, s)
		}
	}
	return both
}
