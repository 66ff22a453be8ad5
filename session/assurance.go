package session

import (
	"slices"
	"time"
)

// Factor is one proof of who the user is: an authentication method, when it
// was proved and to which trusted issuer.
type Factor struct {
	AMR      string    `json:"amr"`               // authentication method reference, RFC 8176 §2
	Issuer   string    `json:"issuer"`            // iss of the client token that proved it
	Entry    string    `json:"entry,omitempty"`   // trusted issuer entry that vouched for it
	AuthTime time.Time `json:"auth_time"`         // when the user proved it
	Dated    bool      `json:"dated,omitempty"`   // the issuer stated auth_time; otherwise AuthTime is the token's iat
	AddedAt  time.Time `json:"added_at,omitzero"` // when the session received it; zero: an earlier release did not record it
	MaxACR   string    `json:"max_acr,omitempty"` // highest acr that its entry may vouch for; empty: any
	ACR      string    `json:"acr,omitempty"`     // acr that its entry asserted, if it may
}

// The default authentication context classes, from the weakest to the
// strongest. The last two are defined by OpenID EAP ACR Values 1.0.
const (
	ACROneFactor         = "urn:latchkey:acr:1"
	ACRTwoFactors        = "urn:latchkey:acr:2"
	ACRPhishingResistant = "phr"
	ACRHardware          = "phrh"
)

// ACRValues lists the default classes, from the weakest to the strongest.
var ACRValues = []string{ACROneFactor, ACRTwoFactors, ACRPhishingResistant, ACRHardware}

// Kind groups authentication methods by what they prove. Two factors are two
// methods of different kinds.
type Kind string

// The kinds of factors.
const (
	Knowledge  Kind = "knowledge"
	Possession Kind = "possession"
	Inherence  Kind = "inherence"
)

// kinds leaves out every registered value that proves nothing by itself ("mfa",
// "mca", "user", "geo", "rba", "wia"), and all unknown ones.
var kinds = map[string]Kind{
	"kba": Knowledge, "pin": Knowledge, "pwd": Knowledge,
	"hwk": Possession, "otp": Possession, "pop": Possession, "sc": Possession,
	"sms": Possession, "swk": Possession, "tel": Possession,
	"face": Inherence, "fpt": Inherence, "iris": Inherence, "retina": Inherence, "vbm": Inherence,
}

// Kind returns what the factor proves. It is empty if the factor proves nothing
// by itself.
func (f Factor) Kind() Kind { return kinds[f.AMR] }

// Kinds returns the kinds of the factors, each once, in the order in which they
// were proved.
func Kinds(factors []Factor) []Kind {
	var proved []Kind
	for _, f := range factors {
		if k := f.Kind(); k != "" && !slices.Contains(proved, k) {
			proved = append(proved, k)
		}
	}
	return proved
}

// Assurance returns the acr of the strongest default class that the factors
// reach. It does not depend on their age.
func Assurance(factors []Factor) string {
	acr, _ := DefaultClasses.Assurance(time.Time{}, factors)
	return acr
}

// reachesDefault reports whether the factors reach a default class.
func reachesDefault(factors []Factor, acr string) bool {
	var hardware, key, knowledge, possession, inherence bool
	for _, f := range factors {
		hardware = hardware || f.AMR == "hwk"
		key = key || f.AMR == "hwk" || f.AMR == "swk"
		switch f.Kind() {
		case Knowledge:
			knowledge = true
		case Possession:
			possession = true
		case Inherence:
			inherence = true
		}
	}
	switch acr {
	case ACRHardware:
		return hardware && (knowledge || inherence)
	case ACRPhishingResistant:
		return key
	case ACRTwoFactors:
		return knowledge && possession || knowledge && inherence || possession && inherence
	default:
		return knowledge || possession || inherence
	}
}

// AMR returns the methods of the factors, each once, in the order in which they
// were proved.
func AMR(factors []Factor) []string {
	var amr []string
	for _, f := range factors {
		if !slices.Contains(amr, f.AMR) {
			amr = append(amr, f.AMR)
		}
	}
	return amr
}
