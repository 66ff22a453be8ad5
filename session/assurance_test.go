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

func TestDefaultClassesAreThoseOfTheDesign(t *testing.T) {
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
		"is no hardware for two keys":                       {"hwk swk", phr},
		"is no hardware for a key and a code":               {"hwk otp", phr},
		"is no hardware for a software key and a PIN":       {"swk pin", phr},

		"does not count mfa":                      {"mfa", ""},
		"does not count mfa as a second factor":   {"pwd mfa", one},
		"does not count mca, user, geo, rba, wia": {"mca user geo rba wia", ""},
		"does not count an unknown method":        {"magic", ""},
		"does not count an unknown second one":    {"pwd magic", one},
		"minds the case of a method":              {"PWD", ""},
		"does not count a method without a name":  {" <phr", ""},

		"counts a factor to the most its entry may vouch for": {"hwk<" + one, one},
		"counts two factors to the most both may vouch for":   {"pwd<" + one + " otp", one},
		"counts a capped factor beside a free one":            {"pwd<" + two + " otp", two},
		"counts a second factor to the class it may support":  {"hwk pin<" + phr, phr},
		"counts a second factor that may support the highest": {"hwk pin<" + hardware, hardware},
		"counts nothing of an entry with an unknown maximum":  {"hwk<gold", ""},
		"counts the other entry's factor alone":               {"hwk<" + two + " swk<" + one + " pwd", two},
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
		"is taken from an entry that may assert it": {session.Factor{AMR: "pwd", ACR: phr}, phr},
		"is taken although the method is unknown":   {session.Factor{AMR: "magic", ACR: two}, two},
		"is taken up to the maximum":                {session.Factor{AMR: "pwd", ACR: two, MaxACR: two}, two},
		"is not taken above the maximum":            {session.Factor{AMR: "pwd", ACR: hardware, MaxACR: two}, one},
		"never lowers what the method proves":       {session.Factor{AMR: "hwk", ACR: one}, phr},
		"is ignored if it is unknown":               {session.Factor{AMR: "pwd", ACR: "gold"}, one},
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
		"is empty without factors":           {"", nil},
		"names each method once":             {"otp pwd otp", []string{"otp", "pwd"}},
		"keeps those that are never counted": {"pwd mfa magic", []string{"pwd", "mfa", "magic"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := session.AMR(factors(c.factors)); !slices.Equal(got, c.want) {
				t.Errorf("amr %q, want %q", got, c.want)
			}
		})
	}
}
