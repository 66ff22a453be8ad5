package session_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/session"
)

func TestPresets(t *testing.T) {
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
		"accepts the shortest access token lifetime":                 {func(p *policy) { p.AccessTTL = 30 * time.Second }, nil},
		"rejects a shorter access token lifetime":                    {func(p *policy) { p.AccessTTL = 30*time.Second - 1 }, []string{access}},
		"accepts the longest access token lifetime":                  {func(p *policy) { p.AccessTTL = 24 * time.Hour }, nil},
		"rejects a longer access token lifetime":                     {func(p *policy) { p.AccessTTL = 24*time.Hour + 1 }, []string{access}},
		"accepts a session as long as one access token":              {func(p *policy) { p.AbsoluteTimeout = p.AccessTTL }, nil},
		"rejects a session shorter than one access token":            {func(p *policy) { p.AbsoluteTimeout = p.AccessTTL - 1 }, []string{absolute}},
		"accepts an idle timeout of twice the access token lifetime": {func(p *policy) { p.IdleTimeout = 2 * p.AccessTTL }, nil},
		"rejects a shorter idle timeout":                             {func(p *policy) { p.IdleTimeout = 2*p.AccessTTL - 1 }, []string{idle}},
		"accepts no idle timeout":                                    {func(p *policy) { p.IdleTimeout = session.NoIdleTimeout }, nil},
		"accepts an idle timeout above the absolute one":             {func(p *policy) { p.IdleTimeout = p.AbsoluteTimeout + time.Hour }, nil},
		"rejects an idle timeout of zero":                            {func(p *policy) { p.IdleTimeout = 0 }, []string{idle}},
		"rejects a negative idle timeout":                            {func(p *policy) { p.IdleTimeout = -2 }, []string{idle}},
		"accepts no retry window":                                    {func(p *policy) { p.RefreshGrace = 0 }, nil},
		"accepts a retry window of a minute":                         {func(p *policy) { p.RefreshGrace = time.Minute }, nil},
		"rejects a longer retry window":                              {func(p *policy) { p.RefreshGrace = time.Minute + 1 }, []string{grace}},
		"rejects a negative retry window":                            {func(p *policy) { p.RefreshGrace = -1 }, []string{grace}},
		"rejects an empty policy":                                    {func(p *policy) { *p = policy{} }, []string{access}},
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
		"is one access token lifetime from now":       {in(time.Hour), in(5 * time.Minute)},
		"is the end of the session if both coincide":  {in(5 * time.Minute), in(5 * time.Minute)},
		"is not after the end of the session":         {in(time.Minute), in(time.Minute)},
		"is in the past after the end of the session": {ago(time.Minute), ago(time.Minute)},
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
		t.Errorf("ends idle at %v", got)
	}
	if got := (session.Policy{IdleTimeout: session.NoIdleTimeout}).IdleExpiry(noon); !got.IsZero() {
		t.Errorf("without a limit it ends idle at %v", got)
	}
}
