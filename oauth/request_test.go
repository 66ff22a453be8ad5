package oauth

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

const formType = "application/x-www-form-urlencoded"

// refusal returns the status and the code that an error is mapped to.
func refusal(err error) string {
	if err == nil {
		return ""
	}
	e := asError(err)
	return fmt.Sprintf("%d %s", e.Status, e.Code)
}

func TestParseFormChecksTheRequestBeforeTheForm(t *testing.T) {
	const bad = "400 invalid_request"
	for _, row := range []struct {
		name, contentType, target, body, want string
	}{
		{"accepts a form", formType, "/token", "a=1", ""},
		{"accepts a charset beside the type", formType + "; charset=UTF-8", "/token", "a=1", ""},
		{"accepts the type in another case", "Application/X-WWW-Form-URLencoded", "/token", "a=1", ""},
		{"accepts an empty form", formType, "/token", "", ""},
		{"accepts parameters in the URL that are not secret", formType, "/token?ui=1&scope=a", "a=1", ""},
		{"rejects JSON", "application/json", "/token", `{"a":1}`, bad},
		{"rejects multipart", "multipart/form-data; boundary=x", "/token", "--x--", bad},
		{"rejects text", "text/plain", "/token", "a=1", bad},
		{"rejects a body without a type", "", "/token", "a=1", bad},
		{"rejects a malformed type", formType + "; charset", "/token", "a=1", bad},
		{"rejects two types", formType + ", application/json", "/token", "a=1", bad},
		{"rejects a client_id in the URL", formType, "/token?client_id=web", "a=1", bad},
		{"rejects a secret in the URL", formType, "/token?client_secret=s", "a=1", bad},
		{"rejects a secret in the URL without a value", formType, "/token?client_secret", "a=1", bad},
		{"rejects a secret in the URL whose name is encoded", formType, "/token?client%5Fsecret=s", "a=1", bad},
		{"rejects a client token in the URL", formType, "/token?subject_token=t", "a=1", bad},
		{"rejects a refresh token in the URL", formType, "/token?refresh_token=t", "a=1", bad},
		{"rejects a token in the URL", formType, "/revoke?token=t", "a=1", bad},
		{"rejects an access token in the URL", formType, "/token?access_token=t", "a=1", bad},
		{"rejects an assertion in the URL", formType, "/token?client_assertion=t", "a=1", bad},
		{"rejects a malformed query", formType, "/token?a=%ZZ", "a=1", bad},
		{"rejects a query with semicolons", formType, "/token?a=1;client_secret=s", "a=1", bad},
		{"accepts a body of 64 KiB", formType, "/token", "a=" + strings.Repeat("x", MaxBody-2), ""},
		{"rejects a body of one byte more", formType, "/token", "a=" + strings.Repeat("x", MaxBody-1), "413 invalid_request"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, row.target, strings.NewReader(row.body))
			r.Header.Set("Content-Type", row.contentType)
			form, err := parseForm(r)
			if got := refusal(err); got != row.want {
				t.Errorf("%s, want %s", got, row.want)
			}
			if err == nil && (!reflect.DeepEqual(r.PostForm, form) || !reflect.DeepEqual(r.Form, form) || r.Form.Has("ui")) {
				t.Errorf("the form for fosite is %v and %v", r.PostForm, r.Form)
			}
		})
	}
}

func TestParseFormStopsAtTheLimit(t *testing.T) {
	endless := &counting{Reader: iotest.OneByteReader(strings.NewReader(strings.Repeat("a", 10*MaxBody)))}
	r := httptest.NewRequest(http.MethodPost, "/token", endless)
	r.Header.Set("Content-Type", formType)
	if _, err := parseForm(r); refusal(err) != "413 invalid_request" || endless.n > MaxBody+1 {
		t.Errorf("%v after %d bytes", err, endless.n)
	}
	r = httptest.NewRequest(http.MethodPost, "/token", iotest.ErrReader(errors.New("connection lost")))
	r.Header.Set("Content-Type", formType)
	if _, err := parseForm(r); refusal(err) != "400 invalid_request" {
		t.Errorf("a body that is interrupted: %v", err)
	}
}

type counting struct {
	io.Reader
	n int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += n
	return n, err
}

func TestParseValues(t *testing.T) {
	many := func(n int) string { return strings.TrimSuffix(strings.Repeat("p=&", n), "&") }
	distinct := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "p%d=1&", i)
		}
		return strings.TrimSuffix(b.String(), "&")
	}
	for _, row := range []struct {
		name, body string
		want       map[string][]string // nil: rejected
	}{
		{"decodes names and values", "grant%5Ftype=a+b%2Bc%C3%A9", map[string][]string{"grant_type": {"a b+cé"}}},
		{"treats a parameter without a value as absent", "a=&b=1&c", map[string][]string{"b": {"1"}}},
		{"accepts resource and audience more than once", "resource=x&audience=y&resource=z&audience=y&audience=", map[string][]string{"resource": {"x", "z"}, "audience": {"y", "y"}}},
		{"distinguishes names by case", "a=1&A=2", map[string][]string{"a": {"1"}, "A": {"2"}}},
		{"accepts a hundred parameters", distinct(99) + "&q=1", map[string][]string{}},
		{"accepts a token of 16 KiB", "subject_token=" + strings.Repeat("t", maxToken), map[string][]string{}},

		{"rejects a parameter that occurs twice", "a=1&a=2", nil},
		{"rejects a parameter that occurs twice with the same value", "a=1&a=1", nil},
		{"rejects a parameter that occurs twice, once without a value", "a=1&a=", nil},
		{"rejects a parameter that occurs twice, once encoded", "grant_type=a&grant%5ftype=b", nil},
		{"rejects a repeated name that differs from resource by case", "Resource=a&Resource=b", nil},
		{"rejects bad percent-encoding of a value", "a=%ZZ", nil},
		{"rejects bad percent-encoding of a name", "%Z=1", nil},
		{"rejects truncated percent-encoding", "a=%4", nil},
		{"rejects a semicolon", "a=1;b=2", nil},
		{"rejects invalid UTF-8 in a value", "a=%FF", nil},
		{"rejects invalid UTF-8 in a name", "%C3=1", nil},
		{"rejects an overlong encoding", "a=%C0%AF", nil},
		{"rejects a surrogate", "a=%ED%A0%80", nil},
		{"rejects NUL in a value", "a=b%00c", nil},
		{"rejects NUL in a name", "a%00=b", nil},
		{"rejects a hundred and one parameters", distinct(101), nil},
		{"rejects a hundred and one empty parameters", many(101), nil},
		{"rejects a token over 16 KiB", "subject_token=" + strings.Repeat("t", maxToken+1), nil},
		{"rejects a refresh token over 16 KiB", "refresh_token=" + strings.Repeat("t", maxToken+1), nil},
		{"rejects a secret over 16 KiB", "client_secret=" + strings.Repeat("t", maxToken+1), nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			form, err := parseValues(row.body)
			switch {
			case row.want == nil && refusal(err) != "400 invalid_request":
				t.Errorf("%v, %v", form, err)
			case row.want != nil && err != nil:
				t.Error(err)
			case len(row.want) > 0 && !reflect.DeepEqual(map[string][]string(form), row.want):
				t.Errorf("%v, want %v", form, row.want)
			}
		})
	}
}
