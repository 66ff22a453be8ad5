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

// satisfies reports whether factors amount to a class.
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

// acrTimes are the classes that factors amount to, each with the newest moment
// such that the factors since then suffice.
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

// selectClass is the strongest class that meets what a request demands (RFC 9470 §5),
// with its time; a code says why there is none. Without a demand none is needed.
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

// addFactors adds factors to those before; of each method the latest proof stays.
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

// assuranceClaims are the members by which tokens and answers state how the user of a
// session proved who they are: one class, and when every class was proved.
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

// orNil leaves out what is empty.
func orNil(text string) any {
	if text == "" {
		return nil
	}
	return text
}
