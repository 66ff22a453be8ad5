package session_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/session"
)

// timed parses "pwd@1 otp@2? hwk@3<phr": methods and when they were proved; with
// a question mark the issuer did not state the time; after < the maximum of the
// entry.
func timed(words string) []session.Factor {
	list := factors(words)
	for i, f := range list {
		method, at, _ := strings.Cut(f.AMR, "@")
		number, unstated := strings.CutSuffix(at, "?")
		seconds, _ := strconv.Atoi(number)
		list[i].AMR, list[i].AuthTime, list[i].Dated = method, time.Unix(int64(seconds), 0), !unstated
	}
	return list
}

// format writes proofs as "1@2 phr@3". A time that the issuer did not state is
// followed by a slash and the stated time, if there is one.
func format(proofs session.Proofs) string {
	var words []string
	for _, p := range proofs {
		word := fmt.Sprintf("%s@%d", p.ACR[strings.LastIndex(p.ACR, ":")+1:], p.At.Unix())
		switch {
		case p.Dated.IsZero():
			word += "/"
		case !p.Dated.Equal(p.At):
			word += fmt.Sprintf("/%d", p.Dated.Unix())
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func TestAClassIsProvedWhenTheFactorsSinceThenSuffice(t *testing.T) {
	for name, c := range map[string]struct{ factors, want string }{
		"nothing":                                       {"", ""},
		"a password":                                    {"pwd@5", "1@5"},
		"the newest of two of a kind":                   {"pwd@5 pin@7", "1@7"},
		"both of two kinds":                             {"pwd@5 otp@7", "1@7 2@5"},
		"an old key and a recent password":              {"hwk@1 pwd@9", "1@9 2@1 phr@1 phrh@1"},
		"an old password and a recent key":              {"pwd@1 hwk@9", "1@9 2@1 phr@9 phrh@1"},
		"a recent key and a recent PIN":                 {"hwk@9 pin@9 pwd@1", "1@9 2@9 phr@9 phrh@9"},
		"the newest two of three kinds":                 {"pwd@1 otp@5 face@9", "1@9 2@5"},
		"the newer of two keys":                         {"hwk@1 swk@9", "1@9 phr@9"},
		"a hardware key beside a newer software key":    {"hwk@1 pin@2 swk@9", "1@9 2@2 phr@9 phrh@1"},
		"a recent factor that proves nothing":           {"hwk@1 mfa@9", "1@1 phr@1"},
		"two factors that suffice beside others":        {"hwk@1 pwd@3 otp@3 mfa@9", "1@3 2@3 phr@1 phrh@1"},
		"a recent key of an entry with a lower maximum": {"hwk@1 hwk@9<" + two + " pwd@9", "1@9 2@9 phr@1 phrh@1"},

		"a time that the issuer did not state": {"hwk@5?", "1@5/ phr@5/"},
		"a stated time before it":              {"pwd@1 pin@5?", "1@5/1"},
		"a stated time after it":               {"pwd@1? pin@5", "1@5"},
		"a stated time of another kind":        {"pwd@1 otp@5?", "1@5/1 2@1/"},
		"a stated pair before an unstated one": {"pwd@1 otp@2 otp@5? pwd@5?", "1@5/2 2@5/1"},
	} {
		t.Run(name, func(t *testing.T) {
			proofs, failed := session.DefaultClasses.Proofs(time.Unix(10, 0), timed(c.factors))
			if got := format(proofs); got != c.want || failed != nil {
				t.Errorf("%s, want %s; failed: %v", got, c.want, failed)
			}
		})
	}
}

func TestARuleOfATenantIsProvedWhenTheFactorsSinceThenSuffice(t *testing.T) {
	has := func(factors []session.Factor, amr string) bool {
		return slices.ContainsFunc(factors, func(f session.Factor) bool { return f.AMR == amr })
	}
	classes := session.Classes{
		{"any", func(_ time.Time, fs []session.Factor) (bool, error) { return true, nil }},
		{"second", func(_ time.Time, fs []session.Factor) (bool, error) { // as factors[1] in an expression
			if len(fs) < 2 {
				return false, errors.New("index out of range")
			}
			return true, nil
		}},
		{"no-sms", func(_ time.Time, fs []session.Factor) (bool, error) { return !has(fs, "sms"), nil }},
		{"young-key", func(now time.Time, fs []session.Factor) (bool, error) {
			return slices.ContainsFunc(fs, func(f session.Factor) bool { return f.AMR == "hwk" && now.Sub(f.AuthTime) < 5*time.Second }), nil
		}},
	}
	for name, c := range map[string]struct{ factors, want string }{
		"one factor":              {"pwd@7", "any@7 no-sms@7"},
		"the newest two of three": {"pwd@1 otp@5 pin@7", "any@7 second@5 no-sms@7"},
		"a rule that forbids a method gets all factors": {"sms@1 pwd@7", "any@7 second@1"},
		"a recent key was proved at its own time":       {"hwk@6 pwd@8", "any@8 second@6 no-sms@8 young-key@6"},
		"a key that is too old":                         {"hwk@1 pwd@8", "any@8 second@1 no-sms@8"},
	} {
		t.Run(name, func(t *testing.T) {
			proofs, failed := classes.Proofs(time.Unix(10, 0), timed(c.factors))
			if got := format(proofs); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if len(failed) != 0 {
				t.Errorf("failed below the strongest class: %v", failed)
			}
		})
	}
}

func TestAnAssertedClassIsProvedWhenItWasAsserted(t *testing.T) {
	list := timed("pwd@1 pwd@5 otp@9")
	list[1].ACR = phr
	proofs, _ := session.DefaultClasses.Proofs(time.Unix(10, 0), list)
	if got := format(proofs); got != "1@9 2@5 phr@5" {
		t.Errorf("proved %s", got)
	}
}

func TestLimitedToKeepsOnlyWhatCanStillBeProved(t *testing.T) {
	all := func(words string) session.Proofs {
		proofs, _ := session.DefaultClasses.Proofs(time.Unix(10, 0), timed(words))
		return proofs
	}
	kept := all("pwd@1 hwk@5")
	for name, c := range map[string]struct {
		most session.Proofs
		want string
	}{
		"the same factors":                     {kept, "1@5 2@1 phr@5 phrh@1"},
		"nothing":                              {nil, ""},
		"fewer factors":                        {all("pwd@1"), "1@1"},
		"later times are ignored":              {all("pwd@9 hwk@9"), "1@5 2@1 phr@5 phrh@1"},
		"other classes are ignored":            {append(all("pwd@1"), session.Proof{ACR: "gold"}), "1@1"},
		"a time that the issuer did not state": {all("hwk@5?"), "1@5/ phr@5/"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := format(kept.LimitedTo(c.most)); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestLower(t *testing.T) {
	for _, c := range []struct{ a, b, want string }{
		{"", "", ""}, {"", phr, phr}, {phr, "", phr}, {phr, two, two}, {two, phr, two}, {"gone", phr, "gone"}, {phr, "gone", "gone"},
	} {
		if got := session.DefaultClasses.Lower(c.a, c.b); got != c.want {
			t.Errorf("of %q and %q: %q, want %q", c.a, c.b, got, c.want)
		}
	}
}
