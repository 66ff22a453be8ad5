package resource

import (
	"encoding/json"
	"net/http"
	"strings"
)

// param is a parameter of a challenge.
type param struct{ name, value string }

// refusal is the response to a request that is not let through.
type refusal struct {
	status      int
	code        string // error of RFC 6750 §3.1 or RFC 9470 §3; empty: the request has no credentials
	description string // for developers; never contains data from the token
	params      []param
}

// write sends the response with its challenge: scheme Bearer, each parameter
// once, as a quoted string (RFC 6750 §3).
func (f refusal) write(w http.ResponseWriter, common []param) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	if f.status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	} else {
		h.Set("WWW-Authenticate", challenge(append(f.errorParams(), common...)))
	}
	if f.code == "" {
		w.WriteHeader(f.status)
		return
	}
	h.Set("Content-Type", "application/json")
	w.WriteHeader(f.status)
	json.NewEncoder(w).Encode(map[string]string{"error": f.code, "error_description": f.description})
}

func (f refusal) errorParams() []param {
	if f.code == "" {
		return nil
	}
	return append([]param{{"error", f.code}, {"error_description", f.description}}, f.params...)
}

func challenge(params []param) string {
	var b strings.Builder
	b.WriteString("Bearer")
	for i, p := range params {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(" " + p.name + `="` + p.value + `"`)
	}
	return b.String()
}

// isQuotable reports whether a text needs no escaping in a quoted parameter: it
// has only characters that RFC 6750 §3 allows in every parameter.
func isQuotable(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// isScopeToken reports whether a text can be an element of a space-separated
// list, such as a scope (RFC 6749 §3.3).
func isScopeToken(text string) bool {
	return text != "" && isQuotable(text) && !strings.Contains(text, " ")
}
