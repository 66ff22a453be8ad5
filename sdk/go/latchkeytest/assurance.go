package latchkeytest

import (
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// factor is one proof of who the user is, as the session API shows it.
type factor struct {
	AMR      string `json:"amr"`
	Issuer   string `json:"issuer"`
	AuthTime int64  `json:"auth_time"`
}

// The default classes of the server, rising.
var classes = []string{"urn:latchkey:acr:1", "urn:latchkey:acr:2", "phr", "phrh"}

// kinds are what authentication methods prove (RFC 8176). Two factors are two
// methods of different kinds.
var kinds = map[string]string{
	"kba": "knowledge", "pin": "knowledge", "pwd": "knowledge",
	"hwk": "possession", "otp": "possession", "pop": "possession", "sc": "possession",
	"sms": "possession", "swk": "possession", "tel": "possession",
	"face": "inherence", "fpt": "inherence", "iris": "inherence", "retina": "inherence", "vbm": "inherence",
}

// acrOf is the strongest class that methods amount to; empty: none.
func acrOf(amr []string) string {
	proved, methods := map[string]bool{}, map[string]bool{}
	for _, m := range amr {
		if kind := kinds[m]; kind != "" {
			proved[kind], methods[m] = true, true
		}
	}
	switch {
	case methods["hwk"] && (proved["knowledge"] || proved["inherence"]):
		return "phrh"
	case methods["hwk"] || methods["swk"]:
		return "phr"
	case len(proved) >= 2:
		return "urn:latchkey:acr:2"
	case len(proved) == 1:
		return "urn:latchkey:acr:1"
	}
	return ""
}

// unmet is why proofs are not what a request demands (RFC 9470 §5); empty: they
// are.
func unmet(form url.Values, factors []factor, now time.Time) (code string) {
	if text := form.Get("max_age"); text != "" {
		seconds, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return "invalid_request"
		}
		if now.Unix()-authTime(factors) > int64(seconds) {
			return "unmet_authentication_requirements"
		}
	}
	acr, wanted := acrOf(methods(factors)), strings.Fields(form.Get("acr_values"))
	if len(wanted) > 0 && !slices.ContainsFunc(wanted, func(w string) bool { return reaches(acr, w) }) {
		return "unmet_authentication_requirements"
	}
	return ""
}

// reaches says whether a class is wanted, or stronger. One that is not known is
// reached by itself alone.
func reaches(acr, wanted string) bool {
	level := slices.Index(classes, wanted)
	return acr == wanted || level >= 0 && slices.Index(classes, acr) > level
}

// proved are the factors of a client token, by its claims.
func proved(claims Claims) (factors []factor) {
	var read struct {
		ISS      string   `json:"iss"`
		AMR      []string `json:"amr"`
		AuthTime int64    `json:"auth_time"`
	}
	text, _ := json.Marshal(claims) // it was signed, so it can be
	_ = json.Unmarshal(text, &read)
	for _, amr := range read.AMR {
		factors = append(factors, factor{amr, read.ISS, read.AuthTime})
	}
	return factors
}

// raised adds factors to those before, or in the place of the same method's.
func raised(before, more []factor) []factor {
	all := slices.Clone(before)
	for _, f := range more {
		all = append(slices.DeleteFunc(all, func(old factor) bool { return old.AMR == f.AMR }), f)
	}
	return all
}

// authTime is that of the newest factor.
func authTime(factors []factor) (newest int64) {
	for _, f := range factors {
		newest = max(newest, f.AuthTime)
	}
	return newest
}

func methods(factors []factor) []string {
	amr := []string{}
	for _, f := range factors {
		amr = append(amr, f.AMR)
	}
	return amr
}

// orNil leaves out what is empty.
func orNil(text string) any {
	if text == "" {
		return nil
	}
	return text
}
