package session_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/latchkey/latchkey/session"
)

// ranks are three classes of a tenant: a number of methods, the third of them
// within a minute. The fourth cannot be decided.
var ranks = session.Classes{
	{"bronze", atLeast(1, time.Hour)},
	{"silver", atLeast(2, time.Hour)},
	{"gold", atLeast(1, time.Minute)},
	{"platinum", func(time.Time, []session.Factor) (bool, error) { return true, errors.New("cannot be decided") }},
}

func atLeast(n int, age time.Duration) func(time.Time, []session.Factor) (bool, error) {
	return func(now time.Time, factors []session.Factor) (bool, error) {
		young := 0
		for _, f := range factors {
			if now.Sub(f.AuthTime) < age {
				young++
			}
		}
		return young >= n, nil
	}
}

func TestTheStrongestClassThatHoldsIsReached(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	proved := func(most string, ago time.Duration) session.Factor {
		return session.Factor{AMR: "pwd", AuthTime: now.Add(-ago), MaxACR: most}
	}
	for name, c := range map[string]struct {
		factors []session.Factor
		want    string
	}{
		"the weakest": {[]session.Factor{proved("", 10*time.Minute)}, "bronze"},
		"two methods": {[]session.Factor{proved("", 10*time.Minute), proved("", 10*time.Minute)}, "silver"},
		"a recent method is stronger than two old ones": {[]session.Factor{proved("", 10*time.Minute), proved("", time.Second)}, "gold"},
		"no rule holds":                                               {[]session.Factor{proved("", 2*time.Hour)}, ""},
		"no factors":                                                  {nil, ""},
		"limited by the maximum of the entry":                         {[]session.Factor{proved("silver", time.Second)}, "bronze"},
		"two entries with different maximums":                         {[]session.Factor{proved("bronze", time.Second), proved("", 10*time.Minute)}, "bronze"},
		"both entries may vouch for the class":                        {[]session.Factor{proved("silver", time.Second), proved("gold", 10*time.Minute)}, "silver"},
		"a maximum that is not listed":                                {[]session.Factor{proved("phrh", time.Second)}, ""},
		"an asserted class needs no rule":                             {[]session.Factor{{AMR: "x", ACR: "platinum", AuthTime: now}}, "platinum"},
		"an asserted class that is not listed is ignored":             {[]session.Factor{{AMR: "x", ACR: "phrh", AuthTime: now.Add(-time.Minute)}}, "bronze"},
		"an asserted class above the maximum of the entry is ignored": {[]session.Factor{{AMR: "x", ACR: "platinum", MaxACR: "gold", AuthTime: now}}, "gold"},
	} {
		t.Run(name, func(t *testing.T) {
			if acr, _ := ranks.Assurance(now, c.factors); acr != c.want {
				t.Errorf("%q, want %q", acr, c.want)
			}
		})
	}
}

func TestAClassWhoseRuleFailsIsNotReachedAndIsReported(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	acr, failed := ranks.Assurance(now, []session.Factor{{AMR: "pwd", AuthTime: now}})
	if acr != "gold" || fmt.Sprint(failed) != "map[platinum:cannot be decided]" {
		t.Errorf("%q, %v", acr, failed)
	}
	if _, failed := ranks.Assurance(now, []session.Factor{{AMR: "pwd", AuthTime: now, MaxACR: "gold"}}); failed != nil {
		t.Errorf("the rule ran although no factor counts towards the class: %v", failed)
	}
}

func TestDemandFollowsTheTenantsOrder(t *testing.T) {
	for _, c := range []struct {
		acr, wanted string
		met         bool
	}{
		{"silver", "silver", true}, {"gold", "silver", true}, {"bronze", "silver", false}, {"", "bronze", false},
		{"phrh", "bronze", false}, {"gold", "phr", false}, {"phr", "phr", true},
	} {
		var proofs session.Proofs
		if c.acr != "" {
			proofs = session.Proofs{{ACR: c.acr}}
		}
		if _, got := (session.Demand{ACR: []string{c.wanted}}).Choose(ranks, time.Time{}, proofs); got != c.met {
			t.Errorf("%q meets %q: %t", c.acr, c.wanted, got)
		}
	}
}
