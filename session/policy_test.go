package session_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/session"
)

func TestPresetsAreThoseOfTheDesign(t *testing.T) {
	const day = 24 * time.Hour
	want := map[string]session.Policy{
		"":              {AccessTTL: 5 * time.Minute, AbsoluteTimeout: 30 * day, IdleTimeout: 5 * day, RefreshGrace: 10 * time.Second, LateRetry: true},
		"consumer":      {AccessTTL: time.Hour, AbsoluteTimeout: 30 * day, IdleTimeout: 5 * day, RefreshGrace: 10 * time.Second, LateRetry: true},
		"high_security": {AccessTTL: 5 * time.Minute, AbsoluteTimeout: day, IdleTimeout: 30 * time.Minute, RefreshGrace: 10 * time.Second},
		"mobile":        {AccessTTL: time.Hour, AbsoluteTimeout: 180 * day, IdleTimeout: session.NoIdleTimeout, RefreshGrace: time.Minute, LateRetry: true},
		"aal2":          {AccessTTL: 5 * time.Minute, AbsoluteTimeout: day, IdleTimeout: time.Hour, RefreshGrace: 10 * time.Second},
		"aal3":          {AccessTTL: 5 * time.Minute, AbsoluteTimeout: 12 * time.Hour, IdleTimeout: 15 * time.Minute, RefreshGrace: 10 * time.Second},
	}
	if !maps.Equal(session.Presets, want) {
		t.Errorf("presets: %v\nwant: %v", session.Presets, want)
	}
	for _, name := range slices.Sorted(maps.Keys(session.Presets)) {
		if err := session.Presets[name].Validate(); err != nil {
			t.Errorf("preset %q: %v", name, err)
		}
	}
}

func TestValidatePolicy(t *testing.T) {
	const (
		access   = "access_token_ttl: must be 30s to 24h"
		absolute = "absolute_lifetime: must be at least access_token_ttl"
		idle     = "inactivity_timeout: must be at least twice access_token_ttl, or none"
		grace    = "refresh_grace: must be 0s to 1m0s"
	)
	type policy = session.Policy
	for name, c := range map[string]struct {
		change func(*policy)
		want   []string
	}{
		"takes the shortest access life":               {func(p *policy) { p.AccessTTL = 30 * time.Second }, nil},
		"refuses a shorter one":                        {func(p *policy) { p.AccessTTL = 30*time.Second - 1 }, []string{access}},
		"takes the longest access life":                {func(p *policy) { p.AccessTTL = 24 * time.Hour }, nil},
		"refuses a longer one":                         {func(p *policy) { p.AccessTTL = 24*time.Hour + 1 }, []string{access}},
		"takes a session of one access token":          {func(p *policy) { p.AbsoluteTimeout = p.AccessTTL }, nil},
		"refuses a session shorter than that":          {func(p *policy) { p.AbsoluteTimeout = p.AccessTTL - 1 }, []string{absolute}},
		"takes an idle limit of twice the access life": {func(p *policy) { p.IdleTimeout = 2 * p.AccessTTL }, nil},
		"refuses a shorter idle limit":                 {func(p *policy) { p.IdleTimeout = 2*p.AccessTTL - 1 }, []string{idle}},
		"takes no idle limit":                          {func(p *policy) { p.IdleTimeout = session.NoIdleTimeout }, nil},
		"takes an idle limit above the absolute":       {func(p *policy) { p.IdleTimeout = p.AbsoluteTimeout + time.Hour }, nil},
		"refuses an idle limit of zero":                {func(p *policy) { p.IdleTimeout = 0 }, []string{idle}},
		"refuses a negative idle limit":                {func(p *policy) { p.IdleTimeout = -2 }, []string{idle}},
		"takes no retry window":                        {func(p *policy) { p.RefreshGrace = 0 }, nil},
		"takes a retry window of a minute":             {func(p *policy) { p.RefreshGrace = time.Minute }, nil},
		"refuses a longer one still":                   {func(p *policy) { p.RefreshGrace = time.Minute + 1 }, []string{grace}},
		"refuses a negative retry window":              {func(p *policy) { p.RefreshGrace = -1 }, []string{grace}},
		"refuses an empty policy":                      {func(p *policy) { *p = policy{} }, []string{access}},
		"names every fault": {func(p *policy) { *p = policy{AccessTTL: 25 * time.Hour, RefreshGrace: time.Hour} },
			[]string{access, absolute, idle, grace}},
	} {
		t.Run(name, func(t *testing.T) {
			p := policy{AccessTTL: 5 * time.Minute, AbsoluteTimeout: 30 * 24 * time.Hour, IdleTimeout: 120 * time.Hour, RefreshGrace: 10 * time.Second}
			c.change(&p)
			var got []string
			if err := p.Validate(); err != nil {
				got = strings.Split(err.Error(), "\n")
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("faults %q, want %q", got, c.want)
			}
		})
	}
}

func TestAccessExpiry(t *testing.T) {
	p := session.Policy{AccessTTL: 5 * time.Minute}
	for name, c := range map[string]struct{ absolute, want time.Time }{
		"is the access life from now":           {in(time.Hour), in(5 * time.Minute)},
		"is both where they meet":               {in(5 * time.Minute), in(5 * time.Minute)},
		"never passes the end of the session":   {in(time.Minute), in(time.Minute)},
		"lies in the past once that is reached": {ago(time.Minute), ago(time.Minute)},
	} {
		t.Run(name, func(t *testing.T) {
			if got := p.AccessExpiry(noon, c.absolute); !got.Equal(c.want) {
				t.Errorf("expires at %v, want %v", got, c.want)
			}
		})
	}
}

func TestIdleExpiry(t *testing.T) {
	if got := (session.Policy{IdleTimeout: time.Hour}).IdleExpiry(noon); !got.Equal(in(time.Hour)) {
		t.Errorf("idles at %v", got)
	}
	if got := (session.Policy{IdleTimeout: session.NoIdleTimeout}).IdleExpiry(noon); !got.IsZero() {
		t.Errorf("without a limit it idles at %v", got)
	}
}
