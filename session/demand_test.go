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
		{"nothing is demanded, nothing proved", Demand{}, nil, "", true},
		{"nothing is demanded", Demand{}, both, "phr", true},
		{"the acr", Demand{ACR: []string{ACROneFactor}}, weak, ACROneFactor, true},
		{"the strongest, although a weaker one was demanded", Demand{ACR: []string{ACROneFactor}}, both, "phr", true},
		{"one of several", Demand{ACR: []string{"silver", "phr"}}, both, "phr", true},
		{"a stronger acr", Demand{ACR: []string{ACRTwoFactors}}, both, "phr", true},
		{"a weaker acr", Demand{ACR: []string{ACRTwoFactors}}, weak, "", false},
		{"no acr", Demand{ACR: []string{ACROneFactor}}, nil, "", false},
		{"an unknown acr is met by itself", Demand{ACR: []string{"gold"}}, Proofs{p("gold", 0)}, "gold", true},
		{"an unknown acr is met by no other", Demand{ACR: []string{"gold"}}, both, "", false},
		{"an acr that we do not know", Demand{ACR: []string{ACROneFactor}}, Proofs{p("gold", 0)}, "", false},
		{"young enough", Demand{HasMaxAge: true, MaxAge: time.Minute}, Proofs{p("phr", time.Minute)}, "phr", true},
		{"too old", Demand{HasMaxAge: true, MaxAge: time.Minute}, Proofs{p("phr", time.Minute+time.Second)}, "", false},
		{"of this very moment", Demand{HasMaxAge: true}, weak, ACROneFactor, true},
		{"a moment ago", Demand{HasMaxAge: true}, Proofs{p("phr", time.Second)}, "", false},
		{"proved in the future, by another clock", Demand{HasMaxAge: true}, Proofs{p("phr", -time.Second)}, "phr", true},
		{"the weaker one that is young enough", Demand{HasMaxAge: true, MaxAge: time.Minute}, both, ACROneFactor, true},
		{"a stale strong one and a fresh weak one", Demand{HasMaxAge: true, MaxAge: time.Minute, ACR: []string{"phr"}}, both, "", false},
		{"strong enough and young enough", Demand{HasMaxAge: true, MaxAge: time.Hour, ACR: []string{"phr"}}, both, "phr", true},
		{"an age, of a session that proved nothing", Demand{HasMaxAge: true, MaxAge: time.Hour}, nil, "", false},
		{"a time that nobody stated", Demand{HasMaxAge: true, MaxAge: time.Hour}, Proofs{unstated(p("phr", 0))}, "", false},
		{"a time that nobody stated, where none is demanded", Demand{ACR: []string{"phr"}}, Proofs{unstated(p("phr", 0))}, "phr", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got, met := row.demand.Choose(DefaultClasses, now, row.proofs); met != row.met || got != row.proofs.Of(row.acr) {
				t.Errorf("met: %t, by %v", met, got)
			}
		})
	}
}
