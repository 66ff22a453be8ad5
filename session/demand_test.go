package session

import (
	"testing"
	"time"
)

func TestDemandIsMet(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for _, row := range []struct {
		name   string
		demand Demand
		acr    string
		age    time.Duration
		met    bool
	}{
		{"nothing is demanded", Demand{}, "", time.Hour, true},
		{"the acr", Demand{ACR: []string{ACRTwoFactors}}, ACRTwoFactors, 0, true},
		{"one of several", Demand{ACR: []string{"silver", ACRTwoFactors}}, ACRTwoFactors, 0, true},
		{"a stronger acr", Demand{ACR: []string{ACRTwoFactors}}, ACRHardware, 0, true},
		{"a weaker acr", Demand{ACR: []string{ACRTwoFactors}}, ACROneFactor, 0, false},
		{"no acr", Demand{ACR: []string{ACROneFactor}}, "", 0, false},
		{"an unknown acr is met by itself", Demand{ACR: []string{"gold"}}, "gold", 0, true},
		{"an unknown acr is met by no other", Demand{ACR: []string{"gold"}}, ACRHardware, 0, false},
		{"an acr that we do not know", Demand{ACR: []string{ACROneFactor}}, "gold", 0, false},
		{"young enough", Demand{Fresh: true, MaxAge: time.Minute}, "", time.Minute, true},
		{"too old", Demand{Fresh: true, MaxAge: time.Minute}, "", time.Minute + time.Second, false},
		{"of this very moment", Demand{Fresh: true}, "", 0, true},
		{"a moment ago", Demand{Fresh: true}, "", time.Second, false},
		{"proved in the future, by another clock", Demand{Fresh: true}, "", -time.Second, true},
		{"young enough, but too weak", Demand{Fresh: true, MaxAge: time.Minute, ACR: []string{"phr"}}, ACROneFactor, 0, false},
		{"strong enough, but too old", Demand{Fresh: true, MaxAge: time.Minute, ACR: []string{"phr"}}, "phr", time.Hour, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := row.demand.Met(DefaultClasses, now, row.acr, now.Add(-row.age)); got != row.met {
				t.Errorf("met: %t", got)
			}
		})
	}
}
