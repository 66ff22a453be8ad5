package session

import (
	"testing"
	"time"
)

// proved is a class proved so long ago, at a time that its issuer stated.
func proved(now time.Time, acr string, ago time.Duration) Proof {
	return Proof{ACR: acr, At: now.Add(-ago), Dated: now.Add(-ago)}
}

func TestDemandChoosesTheStrongestProofThatMeetsIt(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	p := func(acr string, ago time.Duration) Proof { return proved(now, acr, ago) }
	unstated := func(p Proof) Proof { p.Dated = time.Time{}; return p }
	weak, both := Proofs{p(ACROneFactor, 0)}, Proofs{p(ACROneFactor, time.Second), p(ACRPhishingResistant, time.Hour)}
	for _, row := range []struct {
		name   string
		demand Demand
		proofs Proofs
		acr    string
		met    bool
	}{
		{"nothing demanded and nothing proved", Demand{}, nil, "", true},
		{"nothing demanded", Demand{}, both, "phr", true},
		{"the acr", Demand{ACR: []string{ACROneFactor}}, weak, ACROneFactor, true},
		{"the strongest class although a weaker one is demanded", Demand{ACR: []string{ACROneFactor}}, both, "phr", true},
		{"one of several", Demand{ACR: []string{"silver", "phr"}}, both, "phr", true},
		{"a stronger acr", Demand{ACR: []string{ACRTwoFactors}}, both, "phr", true},
		{"a weaker acr", Demand{ACR: []string{ACRTwoFactors}}, weak, "", false},
		{"no acr", Demand{ACR: []string{ACROneFactor}}, nil, "", false},
		{"an unlisted acr is met by itself", Demand{ACR: []string{"gold"}}, Proofs{p("gold", 0)}, "gold", true},
		{"an unlisted acr is met by no other", Demand{ACR: []string{"gold"}}, both, "", false},
		{"only an unlisted acr was proved", Demand{ACR: []string{ACROneFactor}}, Proofs{p("gold", 0)}, "", false},
		{"recent enough", Demand{HasMaxAge: true, MaxAge: time.Minute}, Proofs{p("phr", time.Minute)}, "phr", true},
		{"too old", Demand{HasMaxAge: true, MaxAge: time.Minute}, Proofs{p("phr", time.Minute+time.Second)}, "", false},
		{"max_age 0 with a proof at this moment", Demand{HasMaxAge: true}, weak, ACROneFactor, true},
		{"max_age 0 with a proof a second ago", Demand{HasMaxAge: true}, Proofs{p("phr", time.Second)}, "", false},
		{"proved in the future by another clock", Demand{HasMaxAge: true}, Proofs{p("phr", -time.Second)}, "phr", true},
		{"the weaker class is recent enough", Demand{HasMaxAge: true, MaxAge: time.Minute}, both, ACROneFactor, true},
		{"the strong class is too old and the recent one too weak", Demand{HasMaxAge: true, MaxAge: time.Minute, ACR: []string{"phr"}}, both, "", false},
		{"strong enough and recent enough", Demand{HasMaxAge: true, MaxAge: time.Hour, ACR: []string{"phr"}}, both, "phr", true},
		{"max_age with nothing proved", Demand{HasMaxAge: true, MaxAge: time.Hour}, nil, "", false},
		{"max_age with a time that the issuer did not state", Demand{HasMaxAge: true, MaxAge: time.Hour}, Proofs{unstated(p("phr", 0))}, "", false},
		{"a time that the issuer did not state, without max_age", Demand{ACR: []string{"phr"}}, Proofs{unstated(p("phr", 0))}, "phr", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got, met := row.demand.Choose(DefaultClasses, now, row.proofs); met != row.met || got != row.proofs.Of(row.acr) {
				t.Errorf("met: %t, by %v", met, got)
			}
		})
	}
}
