package resource

import (
	"encoding/json"
	"testing"
	"time"
)

func TestARequiredClassIsAsOldAsItsOwnTime(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	ago := func(seconds int) time.Time { return now.Add(-time.Duration(seconds) * time.Second) }
	stale := &Token{ACR: "phr", AuthTime: ago(21600), ACRTimes: map[string]time.Time{"phr": ago(21600), "one": ago(10)}}
	selected := &Token{ACR: "one", AuthTime: ago(10), ACRTimes: stale.ACRTimes}
	withoutTimes := &Token{ACR: "phr", AuthTime: ago(10)}
	minute := MaxAge(time.Minute)
	for name, c := range map[string]struct {
		token *Token
		need  []Requirement
		met   bool
	}{
		"a class, however old":                  {stale, []Requirement{RequireACR("phr")}, true},
		"a stale class beside a fresh one":      {stale, []Requirement{RequireACR("phr", "phrh"), minute}, false},
		"the fresh one":                         {stale, []Requirement{RequireACR("one"), minute}, true},
		"one of two":                            {stale, []Requirement{RequireACR("phr", "one"), minute}, true},
		"an age alone, by any class":            {stale, []Requirement{minute}, true},
		"an age alone, too short":               {stale, []Requirement{MaxAge(5 * time.Second)}, false},
		"a class that the token does not state": {selected, []Requirement{RequireACR("phr")}, true},
		"the same, but stale":                   {selected, []Requirement{RequireACR("phr"), minute}, false},
		"a class that was never reached":        {selected, []Requirement{RequireACR("phrh")}, false},
		"a token without acr_times":             {withoutTimes, []Requirement{RequireACR("phr"), minute}, false},
		"an empty token":                        {&Token{}, []Requirement{minute}, false},
		"a time ahead, within the tolerance":    {&Token{ACRTimes: map[string]time.Time{"phr": ago(-1)}}, []Requirement{RequireACR("phr"), minute}, true},
		"a time further ahead":                  {&Token{ACRTimes: map[string]time.Time{"phr": ago(-60)}}, []Requirement{RequireACR("phr"), minute}, false},
		"nothing":                               {&Token{}, nil, true},
	} {
		if got := combine(c.need).lacksAuthentication(c.token, now, 2*time.Second); got == c.met {
			t.Errorf("%s: met %t", name, !got)
		}
	}
}

func TestIntrospectionMustConfirmEveryClass(t *testing.T) {
	token := &Token{ACRTimes: map[string]time.Time{"one": time.Unix(20, 0), "phr": time.Unix(10, 0)}}
	for answer, vouched := range map[string]bool{
		`{"one":20,"phr":10}`:          true,
		`{"one":30,"phr":10,"phrh":5}`: true,
		`{"one":20}`:                   false,
		`{"one":20,"phr":9}`:           false,
		`null`:                         false,
		``:                             false,
	} {
		members := map[string]json.RawMessage{}
		if answer != "" {
			members["acr_times"] = json.RawMessage(answer)
		}
		if got := confirmsACRTimes(members, token); got != vouched {
			t.Errorf("%q: %t", answer, got)
		}
	}
	if !confirmsACRTimes(nil, &Token{}) {
		t.Error("a token without classes is not confirmed")
	}
}
