package oauth

import (
	"net/url"
	"slices"
	"strings"
)

// maxTargets bounds how many targets one token is for (CONFORMANCE C-11).
const maxTargets = 5

// askedTargets reads `resource` and `audience` (RFC 8693 §2.1, RFC 8707 §2),
// which may repeat and be mixed.
func requestedTargets(form url.Values) ([]string, error) {
	var targets []string
	for _, resource := range form["resource"] {
		u, err := url.Parse(resource)
		// An empty fragment is one too, and leaves nothing in u.
		if err != nil || !u.IsAbs() || strings.Contains(resource, "#") || u.Host == "" && u.Opaque == "" {
			return nil, invalidTarget(ReasonTargetMalformed, "resource must be an absolute URI without a fragment")
		}
		targets = append(targets, resource)
	}
	targets = append(targets, form["audience"]...)
	slices.Sort(targets)
	if targets = slices.Compact(targets); len(targets) > maxTargets {
		return nil, invalidTarget(ReasonTargetMalformed, "audience and resource together name more than 5 targets")
	}
	return targets, nil
}

// grantTargets is the audience of a new session: exactly what is asked for if
// the client may have it, otherwise the client itself. Targets are compared as
// strings, never by prefix.
func grantTargets(c *Client, form url.Values) ([]string, error) {
	asked, err := requestedTargets(form)
	if err != nil {
		return nil, err
	}
	if len(asked) == 0 {
		return []string{c.ID}, nil
	}
	for _, target := range asked {
		if target != c.ID && !slices.Contains(c.Settings.Audiences, target) {
			return nil, invalidTarget(ReasonTargetNotAllowed, "audience or resource names a target that is not in audiences of the client").compare(strings.Join(append([]string{c.ID}, c.Settings.Audiences...), " "), target)
		}
	}
	return asked, nil
}

// narrowTargets is the audience of a refresh: a part of what the session was
// granted, less what has been taken from the client since (RFC 8707 §2.2). If
// nothing is left, no other audience takes its place.
func narrowTargets(c *Client, granted []string, form url.Values) ([]string, error) {
	asked, err := requestedTargets(form)
	if err != nil {
		return nil, err
	}
	if len(asked) == 0 {
		asked = granted
	} else if !subset(asked, granted) {
		return nil, invalidTarget(ReasonTargetNotAllowed, "audience or resource names a target that the session was not granted").compare(strings.Join(granted, " "), strings.Join(asked, " "))
	}
	left := intersect(asked, append([]string{c.ID}, c.Settings.Audiences...))
	if len(left) == 0 {
		return nil, invalidTarget(ReasonTargetNotAllowed, "audiences of the client no longer include any of the requested targets").compare(strings.Join(append([]string{c.ID}, c.Settings.Audiences...), " "), strings.Join(asked, " "))
	}
	return left, nil
}
