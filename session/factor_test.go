package session

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func proof(amr, entry string, at int64) Factor {
	return Factor{AMR: amr, Issuer: "https://auth.example.com", Entry: entry, AuthTime: time.Unix(at, 0), Dated: true}
}

func undated(f Factor) Factor { f.Dated = false; return f }

func asserting(f Factor, acr string) Factor { f.ACR = acr; return f }

func TestAddFactorsKeepsTheLatestProofOfEachMethod(t *testing.T) {
	before := []Factor{proof("pwd", "a", 1), proof("otp", "a", 1)}
	for _, row := range []struct {
		name   string
		proved []Factor
		want   string
	}{
		{"another method", []Factor{proof("hwk", "a", 2)}, "pwd/a@1 otp/a@1 hwk/a@2"},
		{"the same method again", []Factor{proof("pwd", "a", 2)}, "otp/a@1 pwd/a@2"},
		{"the same method by another entry", []Factor{proof("pwd", "b", 2)}, "pwd/a@1 otp/a@1 pwd/b@2"},
		{"nothing", nil, "pwd/a@1 otp/a@1"},
		{"the same proof again", []Factor{proof("pwd", "a", 1)}, "otp/a@1 pwd/a@1"},
		{"an older proof", []Factor{proof("pwd", "a", 0)}, "pwd/a@1 otp/a@1"},
		{"a later proof whose time was not stated", []Factor{undated(proof("pwd", "a", 2))}, "pwd/a@1 otp/a@1 pwd/a@2"},
		{"a later proof with an asserted acr", []Factor{asserting(proof("pwd", "a", 2), "phr")}, "pwd/a@1 otp/a@1 pwd/a@2"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := ""
			for _, f := range AddFactors(before, row.proved) {
				got += fmt.Sprintf(" %s/%s@%d", f.AMR, f.Entry, f.AuthTime.Unix())
			}
			if got[1:] != row.want {
				t.Errorf("%s, want %s", got[1:], row.want)
			}
			if fmt.Sprint(before) != fmt.Sprint([]Factor{proof("pwd", "a", 1), proof("otp", "a", 1)}) {
				t.Error("AddFactors changed its argument")
			}
		})
	}
}

// A session may lose a class because a factor has become too old. A new, weaker
// factor alone then does not restart its limits.
func TestAWeakFactorBesideAnAgedOneIsNotAFullReauthentication(t *testing.T) {
	has := func(amr string, within time.Duration) func(time.Time, []Factor) (bool, error) {
		return func(now time.Time, factors []Factor) (bool, error) {
			return slices.ContainsFunc(factors, func(f Factor) bool {
				return (amr == "" || f.AMR == amr) && now.Sub(f.AuthTime) < within
			}), nil
		}
	}
	classes := Classes{{"low", has("", 1<<62)}, {"fresh", has("hwk", time.Hour)}}
	first, now := []Factor{proof("hwk", "a", 1)}, time.Unix(1, 0).Add(2*time.Hour)
	before, _ := classes.Proofs(time.Unix(1, 0), first)
	for amr, want := range map[string]bool{"pwd": false, "hwk": true} {
		proved := []Factor{proof(amr, "a", now.Unix())}
		after, _ := classes.Proofs(now, AddFactors(first, proved))
		if got := classes.IsFullReauthentication(now, before, after, proved); got != want {
			t.Errorf("%s, after which the session reaches %q: full re-authentication %t", amr, after.Best().ACR, got)
		}
	}
	low := []Factor{proof("pwd", "a", now.Unix())}
	if after, _ := classes.Proofs(now, low); !classes.IsFullReauthentication(now, nil, after, low) {
		t.Error("not a full re-authentication although the session reached no class before")
	}
}

func TestFullReauthentication(t *testing.T) {
	for _, row := range []struct {
		name   string
		before []Factor
		proved []Factor
		full   bool
	}{
		{"the same factor again", []Factor{proof("pwd", "a", 1)}, []Factor{proof("pwd", "a", 2)}, true},
		{"the same proof again", []Factor{proof("pwd", "a", 2)}, []Factor{proof("pwd", "a", 2)}, false},
		{"an older proof", []Factor{proof("pwd", "a", 2)}, []Factor{proof("pwd", "a", 1)}, false},
		{"an older proof by another entry", []Factor{proof("pwd", "a", 2)}, []Factor{proof("pwd", "b", 1)}, false},
		{"stronger factors alone", []Factor{proof("pwd", "a", 1)}, []Factor{proof("hwk", "a", 2), proof("pin", "a", 2)}, true},
		{"one of two factors", []Factor{proof("pwd", "a", 1), proof("otp", "a", 1)}, []Factor{proof("otp", "a", 2)}, false},
		{"a second factor", []Factor{proof("pwd", "a", 1)}, []Factor{proof("otp", "a", 2)}, false},
		{"both of two factors", []Factor{proof("pwd", "a", 1), proof("otp", "a", 1)}, []Factor{proof("pwd", "a", 2), proof("otp", "a", 2)}, true},
		{"a factor that proves nothing", nil, []Factor{proof("mfa", "a", 2)}, false},
		{"nothing", []Factor{proof("pwd", "a", 1)}, nil, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			now := time.Unix(3, 0)
			before, _ := DefaultClasses.Proofs(now, row.before)
			after, _ := DefaultClasses.Proofs(now, AddFactors(row.before, row.proved))
			if got := DefaultClasses.IsFullReauthentication(now, before, after, row.proved); got != row.full {
				t.Errorf("full re-authentication: %t", got)
			}
		})
	}
}
