package oauth

import (
	"slices"
	"strings"
)

// MaxScopes bounds how many scopes one request may name.
const MaxScopes = 100

// parseScope reads a `scope` parameter (RFC 6749 §3.3): tokens split by spaces,
// duplicates counted once. Extra spaces grant nothing and are ignored.
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

// scopeToken is 1*( %x21 / %x23-5B / %x5D-7E ).
func scopeToken(s string) bool {
	for _, b := range []byte(s) {
		if b < 0x21 || b > 0x7e || b == '"' || b == '\\' {
			return false
		}
	}
	return s != ""
}

// grantScope is what a client gets for what it asks: all of it, its default if
// it asks for nothing, or a refusal; never silently less.
func grantScope(c *Client, text string) ([]string, error) {
	asked, err := parseScope(text)
	if err != nil {
		return nil, err
	}
	if asked == nil {
		return c.Settings.Scope(), nil
	}
	if !subset(asked, c.Settings.Scopes) {
		return nil, invalidScope(ReasonScopeNotAllowed, "scope has a name that is not in scopes of the client").compare(strings.Join(c.Settings.Scopes, " "), text)
	}
	return asked, nil
}

// narrowScope is what a refresh gets (RFC 6749 §6): a part of what the session
// was granted. What has been taken from the client since is left out silently.
func narrowScope(c *Client, granted []string, text string) ([]string, error) {
	asked, err := parseScope(text)
	if err != nil {
		return nil, err
	}
	if asked == nil {
		asked = granted
	} else if !subset(asked, granted) {
		return nil, invalidScope(ReasonScopeNotAllowed, "scope has a name that the session was not granted").compare(strings.Join(granted, " "), text)
	}
	return intersect(asked, c.Settings.Scopes), nil
}

func subset(part, whole []string) bool {
	for _, s := range part {
		if !slices.Contains(whole, s) {
			return false
		}
	}
	return true
}

func intersect(a, b []string) []string {
	var both []string
	for _, s := range a {
		if slices.Contains(b, s) {
			both = append(both, s)
		}
	}
	return both
}
