package oauth

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of a request (R-TE-18).
const (
	MaxBody       = 64 << 10
	maxParameters = 100
	maxToken      = 16 << 10

	// maxShownName is the maximum length of a parameter's name in a response.
	maxShownName = 40
)

// repeatable parameters may occur more than once (RFC 8693 §2.1, RFC 8707 §2).
var repeatable = []string{"resource", "audience"}

// confidential parameters must never be in a URL (RFC 6749 §2.3.1).
var confidential = []string{
	"client_id", "client_secret", "client_assertion", "client_assertion_type", "assertion", "password", "code", "id_token_hint", "token", "access_token", "refresh_token",
	"subject_token", "actor_token", "latchkey_session_token", "logout_token",
}

// parseForm parses a form body strictly, before fosite reads the request:
// fosite would accept multipart bodies, the first of two values, and a body of
// any size. It stores the form where fosite looks for it.
func parseForm(r *http.Request) (url.Values, error) {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || len(r.Header.Values("Content-Type")) > 1 || mediaType != "application/x-www-form-urlencoded" {
		return nil, invalidRequest(ReasonRequestMalformed, "The body must be application/x-www-form-urlencoded, named by one Content-Type header")
	}
	if _, err := parseQuery(r); err != nil {
		return nil, err
	}
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	form, err := parseValues(string(body))
	if err != nil {
		return nil, err
	}
	r.PostForm, r.Form = form, form
	return form, nil
}

// readBody reads a body of at most MaxBody.
func readBody(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, MaxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		e := invalidRequest(ReasonRequestTooLarge, "The body is larger than 64 KiB")
		e.Status = http.StatusRequestEntityTooLarge
		return nil, e
	case err != nil:
		return nil, invalidRequest(ReasonRequestMalformed, "The body could not be read").withCause(err)
	}
	return body, nil
}

// parseQuery parses the query of the URL, which must not contain a secret.
func parseQuery(r *http.Request) (url.Values, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, invalidRequest(ReasonRequestMalformed, "The query string is malformed")
	}
	for _, name := range confidential {
		if query.Has(name) {
			return nil, invalidRequest(ReasonCredentialsInURL, name+" must be sent in the body, not in the URL")
		}
	}
	return query, nil
}

// parseValues decodes a form or the query of a URL. A parameter without a value
// counts as absent (RFC 6749 §3.2).
func parseValues(text string) (url.Values, error) {
	if strings.Count(text, "&") >= maxParameters {
		return nil, invalidRequest(ReasonRequestTooLarge, "The request has more than 100 parameters")
	}
	all, err := url.ParseQuery(text)
	if err != nil {
		return nil, invalidRequest(ReasonRequestMalformed, "The parameters are not valid application/x-www-form-urlencoded data")
	}
	form := url.Values{}
	for name, values := range all {
		if malformed(name) || slices.ContainsFunc(values, malformed) {
			return nil, invalidRequest(ReasonRequestMalformed, "The parameters must be valid UTF-8 without NUL characters")
		}
		if len(values) > 1 && !slices.Contains(repeatable, name) {
			return nil, repeated(name)
		}
		if values = slices.DeleteFunc(values, func(v string) bool { return v == "" }); len(values) > 0 {
			form[name] = values
		}
	}
	for _, name := range confidential {
		if len(form.Get(name)) > maxToken {
			return nil, invalidRequest(ReasonRequestTooLarge, name+" is longer than 16 KiB")
		}
	}
	return form, nil
}

// repeated returns the refusal of a parameter that occurs more than once (RFC
// 6749 §3.2). The caller chose the parameter's name, so a long one is cut.
func repeated(name string) *Error {
	if name = plainText(name); len(name) > maxShownName {
		name = name[:maxShownName] + "..."
	}
	return invalidRequest(ReasonParameterRepeated, "The parameter "+name+" occurs more than once; send it once")
}

// malformed reports whether s is not UTF-8 or contains a NUL character.
func malformed(s string) bool { return !utf8.ValidString(s) || strings.ContainsRune(s, 0) }
