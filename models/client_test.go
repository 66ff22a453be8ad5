package models_test

import (
	"slices"
	"testing"
	"time"

	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

func TestAClientsPolicyIsItsPresetWithItsOwnFieldsOnTop(t *testing.T) {
	type client = settings.ClientSettings
	mobile := session.Presets["mobile"]
	for name, c := range map[string]struct {
		client client
		want   session.Policy
	}{
		"nothing is the default": {client{}, session.Presets[""]},
		"a preset is itself":     {client{Preset: "mobile"}, mobile},
		"one field over a preset": {client{Preset: "mobile", AccessTokenTTL: span(time.Minute)},
			session.Policy{AccessTTL: time.Minute, AbsoluteTimeout: mobile.AbsoluteTimeout, IdleTimeout: mobile.IdleTimeout, RefreshGrace: mobile.RefreshGrace, LateRetry: true}},
		"every field over a preset": {
			client{Preset: "mobile", AccessTokenTTL: span(1), AbsoluteLifetime: span(2), InactivityTimeout: span(3), RefreshGrace: span(4), LateRetry: settings.LateRetryNever},
			session.Policy{AccessTTL: 1, AbsoluteTimeout: 2, IdleTimeout: 3, RefreshGrace: 4}},
		"none and zero are values too": {
			client{Preset: "aal3", InactivityTimeout: span(session.NoIdleTimeout), RefreshGrace: span(0)},
			session.Policy{AccessTTL: 5 * time.Minute, AbsoluteTimeout: 12 * time.Hour, IdleTimeout: session.NoIdleTimeout}},
		"no window means no late retry": {client{RefreshGrace: span(0)}, with(session.Presets[""], 0, false)},
		"a late retry without a window can be asked for": {
			client{RefreshGrace: span(0), LateRetry: settings.LateRetryOnce}, with(session.Presets[""], 0, true)},
		"a late retry can be asked for over a preset": {
			client{Preset: "aal2", LateRetry: settings.LateRetryOnce}, with(session.Presets["aal2"], session.Presets["aal2"].RefreshGrace, true)},
		"a preset without late retries keeps none with another window": {
			client{Preset: "high_security", RefreshGrace: span(time.Minute)}, with(session.Presets["high_security"], time.Minute, false)},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.client.Policy(); got != c.want {
				t.Errorf("policy %+v, want %+v", got, c.want)
			}
		})
	}
	if session.Presets["mobile"] != mobile {
		t.Error("a client's field changed the preset")
	}
}

func with(p session.Policy, grace time.Duration, late bool) session.Policy {
	p.RefreshGrace, p.LateRetry = grace, late
	return p
}

func TestAClientGetsItsDefaultScopes(t *testing.T) {
	all := []string{"a", "b"}
	for name, c := range map[string]struct {
		settings settings.ClientSettings
		want     []string
	}{
		"all of them if it sets none":   {settings.ClientSettings{Scopes: all}, all},
		"those it names":                {settings.ClientSettings{Scopes: all, DefaultScopes: &[]string{"b"}}, []string{"b"}},
		"none if it sets an empty list": {settings.ClientSettings{Scopes: all, DefaultScopes: &[]string{}}, nil},
	} {
		if got := c.settings.Scope(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestAnEntryAssertsWhatItIsAllowedTo(t *testing.T) {
	for name, c := range map[string]struct {
		asserts *[]string
		want    []string
	}{
		"methods and their time by default": {nil, []string{"amr", "auth_time"}},
		"nothing if it sets an empty list":  {&[]string{}, nil},
		"what it names":                     {&[]string{"acr"}, []string{"acr"}},
	} {
		settings := settings.IssuerSettings{Asserts: c.asserts}
		var got []string
		for _, claim := range []string{"amr", "auth_time", "acr", "sub"} {
			if settings.MayAssert(claim) {
				got = append(got, claim)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestNoEntrySpeaksForAnothersUsers(t *testing.T) {
	named := func(prefix string) settings.IssuerSettings {
		return entry("https://auth.example.com", prefix).IssuerSettings
	}
	entries := []settings.IssuerSettings{named(""), named("a:"), named("b:"), named("b:")} // the last two share
	for name, c := range map[string]struct {
		prefix, subject string
		want            bool
	}{
		"its own user":                                  {"a:", "a:alice", true},
		"a user of both who share":                      {"b:", "b:alice", true},
		"a user without a prefix":                       {"", "alice", true},
		"another's user":                                {"", "a:alice", false},
		"another's shared user":                         {"", "b:alice", false},
		"another's prefix alone":                        {"", "a:", false},
		"a user whose name only begins like the prefix": {"", "a", true},
		"its own user who looks like another's":         {"a:", "a:b:alice", true},
	} {
		if got := named(c.prefix).SpeaksFor(c.subject, entries); got != c.want {
			t.Errorf("entry %q speaks for %s, %q: %v, want %v", c.prefix, name, c.subject, got, c.want)
		}
	}
}
