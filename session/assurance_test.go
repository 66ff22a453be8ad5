package session_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/session"
)

// factors reads "pwd otp<phr": methods, and after < the most that the entry of
// one may vouch for.
func factors(words string) []session.Factor {
	var list []session.Factor
	for word := range strings.FieldsSeq(words) {
		method, most, _ := strings.Cut(word, "<")
		list = append(list, session.Factor{AMR: method, MaxACR: most})
	}
	return list
}

const (
	one      = session.ACROneFactor
	two      = session.ACRTwoFactors
	phr      = session.ACRPhishingResistant
	hardware = session.ACRHardware
)

func TestDefaultClasses(t *testing.T) {
	if want := []string{"urn:latchkey:acr:1", "urn:latchkey:acr:2", "phr", "phrh"}; !slices.Equal(session.ACRValues, want) {
		t.Errorf("classes %q, want %q", session.ACRValues, want)
	}
}

func TestAssurance(t *testing.T) {
	for name, c := range map[string]struct{ factors, want string }{
		"is none without factors":                           {"", ""},
		"is one factor for a password":                      {"pwd", one},
		"is one factor for a face":                          {"face", one},
		"is two factors for a password and a code":          {"pwd otp", two},
		"is two factors for a PIN and a fingerprint":        {"pin fpt", two},
		"is two factors for a smart card and its PIN":       {"sc pin", two},
		"is one factor for two things known":                {"pwd pin kba", one},
		"is one factor for two things owned":                {"otp sms tel", one},
		"is one factor for two traits":                      {"face iris retina fpt vbm", one},
		"is one factor for the same method twice":           {"otp otp", one},
		"is phishing-resistant for a key in hardware":       {"hwk", phr},
		"is phishing-resistant for a key in software":       {"swk", phr},
		"is phishing-resistant for a key beside a password": {"pwd swk", phr},
		"is hardware for a key and a PIN":                   {"hwk pin", hardware},
		"is hardware for a key and a face":                  {"face hwk", hardware},
		"is not hardware for two keys":                      {"hwk swk", phr},
		"is not hardware for a key and a code":              {"hwk otp", phr},
		"is not hardware for a software key and a PIN":      {"swk pin", phr},

		"does not count mfa":                      {"mfa", ""},
		"does not count mfa as a second factor":   {"pwd mfa", one},
		"does not count mca, user, geo, rba, wia": {"mca user geo rba wia", ""},
		"does not count an unknown method":        {"magic", ""},
		"does not count an unknown second method": {"pwd magic", one},
		"distinguishes upper and lower case":      {"PWD", ""},
		"does not count a method without a name":  {" <phr", ""},

		"limits a factor to the maximum of its entry":               {"hwk<" + one, one},
		"limits two factors to the lower maximum":                   {"pwd<" + one + " otp", one},
		"counts a limited factor beside an unlimited one":           {"pwd<" + two + " otp", two},
		"limits a second factor to its own maximum":                 {"hwk pin<" + phr, phr},
		"counts a second factor whose maximum is the highest class": {"hwk pin<" + hardware, hardware},
		"does not count a factor whose maximum is not listed":       {"hwk<gold", ""},
		"counts each factor up to its own maximum":                  {"hwk<" + two + " swk<" + one + " pwd", two},
	} {
		t.Run(name, func(t *testing.T) {
			if got := session.Assurance(factors(c.factors)); got != c.want {
				t.Errorf("acr %q, want %q", got, c.want)
			}
		})
	}
}

func TestAssertedAssurance(t *testing.T) {
	for name, c := range map[string]struct {
		factor session.Factor
		want   string
	}{
		"is accepted from an entry that may assert it": {session.Factor{AMR: "pwd", ACR: phr}, phr},
		"is accepted even if the method is unknown":    {session.Factor{AMR: "magic", ACR: two}, two},
		"is accepted up to the maximum":                {session.Factor{AMR: "pwd", ACR: two, MaxACR: two}, two},
		"is not accepted above the maximum":            {session.Factor{AMR: "pwd", ACR: hardware, MaxACR: two}, one},
		"never lowers what the method proves":          {session.Factor{AMR: "hwk", ACR: one}, phr},
		"is ignored if it is unknown":                  {session.Factor{AMR: "pwd", ACR: "gold"}, one},
	} {
		t.Run(name, func(t *testing.T) {
			if got := session.Assurance([]session.Factor{c.factor}); got != c.want {
				t.Errorf("acr %q, want %q", got, c.want)
			}
		})
	}
}

func TestAMR(t *testing.T) {
	for name, c := range map[string]struct {
		factors string
		want    []string
	}{
		"is empty without factors":          {"", nil},
		"names each method once":            {"otp pwd otp", []string{"otp", "pwd"}},
		"includes methods that never count": {"pwd mfa magic", []string{"pwd", "mfa", "magic"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := session.AMR(factors(c.factors)); !slices.Equal(got, c.want) {
				t.Errorf("amr %q, want %q", got, c.want)
			}
		})
	}
}
