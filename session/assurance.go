package session

import (
	"slices"
	"time"
)

// Factor is one proof of who the user is: an authentication method, when it
// was proved and to which trusted issuer.
type Factor struct {
	AMR      string    `json:"amr"`               // authentication method reference, RFC 8176 §2
	Issuer   string    `json:"issuer"`            // iss of the client token that brought it
	Entry    string    `json:"entry,omitempty"`   // trusted issuer entry that vouched for it
	AuthTime time.Time `json:"auth_time"`         // when the user proved it
	MaxACR   string    `json:"max_acr,omitempty"` // highest acr that its entry may vouch for; empty: any
	ACR      string    `json:"acr,omitempty"`     // acr its entry asserted, where it may
}

// The default authentication context classes, rising (CONFORMANCE C-22). The
// last two are of OpenID EAP ACR Values 1.0.
const (
	ACROneFactor         = "urn:latchkey:acr:1"
	ACRTwoFactors        = "urn:latchkey:acr:2"
	ACRPhishingResistant = "phr"
	ACRHardware          = "phrh"
)

// ACRValues lists the default classes from the weakest to the strongest.
var ACRValues = []string{ACROneFactor, ACRTwoFactors, ACRPhishingResistant, ACRHardware}

// kind groups authentication methods by what they prove; two factors are two
// methods of different kinds.
type kind int

const (
	knowledge kind = iota + 1
	possession
	inherence
)

// kinds leaves out every registered value that proves nothing by itself
// ("mfa", "mca", "user", "geo", "rba", "wia"), and all unknown ones.
var kinds = map[string]kind{
	"kba": knowledge, "pin": knowledge, "pwd": knowledge,
	"hwk": possession, "otp": possession, "pop": possession, "sc": possession,
	"sms": possession, "swk": possession, "tel": possession,
	"face": inherence, "fpt": inherence, "iris": inherence, "retina": inherence, "vbm": inherence,
}

// Assurance is the strongest default acr that the factors support, empty when
// they prove nothing. A factor counts towards a class only if its issuer entry
// may vouch for that class.
func Assurance(factors []Factor) string {
	for level := len(ACRValues) - 1; level >= 0; level-- {
		acr := ACRValues[level]
		var counted []Factor
		for _, f := range factors {
			if f.MaxACR == "" || slices.Index(ACRValues, f.MaxACR) >= level {
				counted = append(counted, f)
			}
		}
		if supports(counted, acr) {
			return acr
		}
	}
	return ""
}

// supports says whether the factors amount to acr.
func supports(factors []Factor, acr string) bool {
	methods := map[string]bool{}
	proved := map[kind]bool{}
	for _, f := range factors {
		if f.ACR == acr {
			return true
		}
		if k := kinds[f.AMR]; k != 0 {
			methods[f.AMR], proved[k] = true, true
		}
	}
	switch acr {
	case ACRHardware:
		return methods["hwk"] && (proved[knowledge] || proved[inherence])
	case ACRPhishingResistant:
		return methods["hwk"] || methods["swk"]
	case ACRTwoFactors:
		return len(proved) >= 2
	default:
		return len(proved) >= 1
	}
}

// AMR is the union of the factors' methods, in the order they were proved.
func AMR(factors []Factor) []string {
	var amr []string
	for _, f := range factors {
		if !slices.Contains(amr, f.AMR) {
			amr = append(amr, f.AMR)
		}
	}
	return amr
}
