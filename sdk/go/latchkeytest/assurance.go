package latchkeytest

import (
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// factor is an authentication method that the user has proved, as in the
// session API.
type factor struct {
	AMR      string `json:"amr"`
	Issuer   string `json:"issuer"`
	AuthTime int64  `json:"auth_time"`
}

// classes are the server's default classes, in rising order.
var classes = []string{"urn:latchkey:acr:1", "urn:latchkey:acr:2", "phr", "phrh"}

// kinds maps authentication methods (RFC 8176) to the kind of factor. Two
// factors are two methods of different kinds.
var kinds = map[string]string{
	"kba": "knowledge", "pin": "knowledge", "pwd": "knowledge",
	"hwk": "possession", "otp": "possession", "pop": "possession", "sc": "possession",
	"sms": "possession", "swk": "possession", "tel": "possession",
	"face": "inherence", "fpt": "inherence", "iris": "inherence", "retina": "inherence", "vbm": "inherence",
}

// satisfies reports whether factors are enough for a class.
func satisfies(class string, factors []factor) bool {
	proved, methods := map[string]bool{}, map[string]bool{}
	for _, f := range factors {
		if kind := kinds[f.AMR]; kind != "" {
			proved[kind], methods[f.AMR] = true, true
		}
	}
	switch class {
	case "phrh":
		return methods["hwk"] && (proved["knowledge"] || proved["inherence"])
	case "phr":
		return methods["hwk"] || methods["swk"]
	case "urn:latchkey:acr:2":
		return len(proved) >= 2
	default:
		return len(proved) >= 1
	}
}

// acrTimes returns the classes that factors are enough for, each with the
// latest time such that the factors since then suffice.
func acrTimes(factors []factor) map[string]int64 {
	times := map[string]int64{}
	for _, class := range classes {
		for _, at := range factors {
			since := slices.DeleteFunc(slices.Clone(factors), func(f factor) bool { return f.AuthTime < at.AuthTime })
			if satisfies(class, since) {
				times[class] = max(times[class], at.AuthTime)
			}
		}
	}
	return times
}

// selectClass returns the strongest class that meets the demand of a request
// (RFC 9470 §5), with its time, or an error code. Without a demand, having no
// class is no error.
func selectClass(form url.Values, factors []factor, now time.Time) (acr string, authTime int64, code string) {
	age, wanted := form.Get("max_age"), strings.Fields(form.Get("acr_values"))
	seconds, err := strconv.ParseUint(age, 10, 31)
	if age != "" && err != nil {
		return "", 0, "invalid_request"
	}
	times := acrTimes(factors)
	for _, class := range slices.Backward(classes) {
		at, reached := times[class]
		if reached && (age == "" || now.Unix()-at <= int64(seconds)) &&
			(len(wanted) == 0 || slices.ContainsFunc(wanted, func(w string) bool { return reaches(class, w) })) {
			return class, at, ""
		}
	}
	if age != "" || len(wanted) > 0 {
		return "", 0, "unmet_authentication_requirements"
	}
	return "", 0, ""
}

// reaches reports whether a class is the wanted one or a stronger one. An
// unknown class is reached by itself only.
func reaches(acr, wanted string) bool {
	level := slices.Index(classes, wanted)
	return acr == wanted || level >= 0 && slices.Index(classes, acr) > level
}

// proved returns the factors that a client token's claims prove.
func proved(claims Claims) (factors []factor) {
	var read struct {
		ISS      string   `json:"iss"`
		AMR      []string `json:"amr"`
		AuthTime int64    `json:"auth_time"`
	}
	text, _ := json.Marshal(claims) // it was encoded before
	_ = json.Unmarshal(text, &read)
	for _, amr := range read.AMR {
		factors = append(factors, factor{amr, read.ISS, read.AuthTime})
	}
	return factors
}

// addFactors adds factors to earlier ones. Of each method the latest proof
// stays.
func addFactors(before, more []factor) []factor {
	all := slices.Clone(before)
	for _, f := range more {
		same := func(old factor) bool { return old.AMR == f.AMR }
		if at := slices.IndexFunc(all, same); at < 0 || all[at].AuthTime <= f.AuthTime {
			all = append(slices.DeleteFunc(all, same), f)
		}
	}
	return all
}

// assuranceClaims returns the claims about how the user authenticated: one
// class, and the time of every class.
func (s *appSession) assuranceClaims(form url.Values, now time.Time) Claims {
	acr, authTime, _ := selectClass(form, s.factors, now)
	if acr == "" {
		authTime = s.created.Unix()
	}
	return Claims{"acr": orNil(acr), "auth_time": authTime, "acr_times": acrTimes(s.factors), "amr": methods(s.factors)}
}

func methods(factors []factor) []string {
	amr := []string{}
	for _, f := range factors {
		amr = append(amr, f.AMR)
	}
	return amr
}

// orNil returns nil for an empty text, which leaves a claim out.
func orNil(text string) any {
	if text == "" {
		return nil
	}
	return text
}
