package latchkey

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Demand is the authentication that a resource server requires (RFC 9470 §4).
// The zero value requires nothing.
type Demand struct {
	ACRValues []string       // acceptable authentication context classes; a stronger class is accepted too
	MaxAge    *time.Duration // maximum age of every factor of the class, in whole seconds; nil: any age
}

func (d Demand) addTo(form url.Values) {
	if len(d.ACRValues) > 0 {
		form.Set("acr_values", strings.Join(d.ACRValues, " "))
	}
	if d.MaxAge != nil {
		form.Set("max_age", formatSeconds(*d.MaxAge))
	}
}

func formatSeconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }

// ParseChallenge returns the authentication that a resource server requires,
// from the header of its 401 response (RFC 9470 §3). If ok is false, the
// response does not ask for a step-up.
func ParseChallenge(h http.Header) (d Demand, ok bool) {
	params, ok := findChallenge(h, "insufficient_user_authentication")
	d.ACRValues = strings.Fields(params["acr_values"])
	if n, err := strconv.ParseUint(params["max_age"], 10, 31); err == nil {
		age := time.Duration(n) * time.Second
		d.MaxAge = &age
	}
	return d, ok
}

// IsInvalidTokenChallenge reports whether the header of a resource server's 401
// response rejects the access token as expired, revoked or otherwise invalid
// (RFC 6750 §3.1). Call [Client.ReplaceToken] then.
func IsInvalidTokenChallenge(h http.Header) bool {
	_, ok := findChallenge(h, "invalid_token")
	return ok
}

// findChallenge returns the parameters of the first challenge with an error
// code.
func findChallenge(h http.Header, code string) (params map[string]string, ok bool) {
	for _, line := range h.Values("WWW-Authenticate") {
		for _, c := range readChallenges(line) {
			if c.params["error"] == code {
				return c.params, true
			}
		}
	}
	return nil, false
}

// httpChallenge is a challenge of a WWW-Authenticate header (RFC 9110 §11.6.1).
type httpChallenge struct {
	scheme string
	params map[string]string // by lower-case name; of duplicates the first
}

// readChallenges parses a header, in which commas separate both challenges and
// their parameters. It skips what it does not understand, such as token68.
func readChallenges(line string) (list []httpChallenge) {
	for line != "" {
		line = strings.TrimLeft(line, ", \t")
		after := strings.TrimLeft(line, tokenChars)
		word, after := line[:len(line)-len(after)], strings.TrimLeft(after, " \t")
		value, isParam := strings.CutPrefix(after, "=")
		if word != "" && !isParam {
			list = append(list, httpChallenge{word, map[string]string{}})
			line = after
			continue
		}
		text, after := paramValue(strings.TrimLeft(value, " \t"))
		if word != "" && len(list) > 0 {
			params, name := list[len(list)-1].params, strings.ToLower(word)
			if _, twice := params[name]; !twice {
				params[name] = text
			}
		}
		_, line, _ = strings.Cut(after, ",")
	}
	return list
}

const tokenChars = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// paramValue splits a token or a quoted string off the front.
func paramValue(s string) (value, after string) {
	if !strings.HasPrefix(s, `"`) {
		after = strings.TrimLeft(s, tokenChars)
		return s[:len(s)-len(after)], after
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:]
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return "", ""
}
