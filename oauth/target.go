package oauth

import (
	"net/url"
	"slices"
	"strings"
)

// maxTargets is the largest number of targets of one token.
const maxTargets = 5

// requestedTargets parses resource and audience (RFC 8693 §2.1, RFC 8707 §2),
// which may be repeated and combined.
func requestedTargets(form url.Values) ([]string, error) {
	var targets []string
	for _, resource := range form["resource"] {
		u, err := url.Parse(resource)
		// url.Parse does not report an empty fragment.
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

// grantTargets returns the audience of a new session: exactly the requested
// targets if the client may have them, or the client itself if none are
// requested. Targets are compared as strings, never by prefix.
func grantTargets(c *Client, form url.Values) ([]string, error) {
	requested, err := requestedTargets(form)
	if err != nil {
		return nil, err
	}
	if len(requested) == 0 {
		return []string{c.ID}, nil
	}
	for _, target := range requested {
		if target != c.ID && !slices.Contains(c.Settings.Audiences, target) {
			return nil, invalidTarget(ReasonTargetNotAllowed, "audience or resource names a target that is not in audiences of the client").compare(strings.Join(append([]string{c.ID}, c.Settings.Audiences...), " "), target)
		}
	}
	return requested, nil
}

// narrowTargets returns the audience of a refresh: the requested part of what
// the session was granted, without targets that the client has lost since (RFC
// 8707 §2.2). If nothing is left, no other audience replaces it.
func narrowTargets(c *Client, granted []string, form url.Values) ([]string, error) {
	requested, err := requestedTargets(form)
	if err != nil {
		return nil, err
	}
	if len(requested) == 0 {
		requested = granted
	} else if !subset(requested, granted) {
		return nil, invalidTarget(ReasonTargetNotAllowed, "audience or resource names a target that the session was not granted").compare(strings.Join(granted, " "), strings.Join(requested, " "))
	}
	left := intersect(requested, append([]string{c.ID}, c.Settings.Audiences...))
	if len(left) == 0 {
		return nil, invalidTarget(ReasonTargetNotAllowed, "audiences of the client no longer include any of the requested targets").compare(strings.Join(append([]string{c.ID}, c.Settings.Audiences...), " "), strings.Join(requested, " "))
	}
	return left, nil
}
