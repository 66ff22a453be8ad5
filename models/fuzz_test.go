package models_test

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

// FuzzParseObject checks that an accepted text is the object that encoding/json
// reads, and that it is read back from storage unchanged.
func FuzzParseObject(f *testing.F) {
	f.Fuzz(func(t *testing.T, text []byte) {
		object, err := models.ParseObject(text)
		if err != nil {
			if object != nil && !json.Valid(text) {
				t.Errorf("%q yields %v, %v", text, object, err)
			}
			return
		}
		if first := bytes.TrimLeft(text, " \t\r\n"); !json.Valid(text) || len(first) == 0 || first[0] != '{' {
			t.Fatalf("%q is taken for an object", text)
		}
		matchesText(t, object, numbers(t, text))
		stored, err := json.Marshal(object)
		if err != nil {
			t.Fatalf("%q cannot be stored: %v", text, err)
		}
		back, err := models.ParseObject(stored)
		if err != nil {
			t.Fatalf("%q is stored as %s, which cannot be read: %v", text, stored, err)
		}
		matchesText(t, back, numbers(t, stored))
		again, err := json.Marshal(back)
		if err != nil {
			t.Fatalf("%s cannot be stored again: %v", stored, err)
		}
		if third, err := models.ParseObject(again); err != nil || !reflect.DeepEqual(third, back) {
			t.Errorf("%s is stored as %s the second time, %v", stored, again, err)
		}
	})
}

// numbers reads text with its numbers as they are written.
func numbers(t *testing.T, text []byte) (object map[string]any) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&object); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return object
}

// matchesText compares what was parsed with the text of it.
func matchesText(t *testing.T, got, want any) {
	switch want := want.(type) {
	case json.Number:
		whole, notWhole := strconv.ParseInt(want.String(), 10, 64)
		float, _ := strconv.ParseFloat(want.String(), 64)
		if notWhole == nil && got != whole || notWhole != nil && got != float {
			t.Errorf("%s is %T %v", want, got, got)
		}
	case []any:
		list, _ := got.([]any)
		if len(list) != len(want) {
			t.Fatalf("%v is %v", want, got)
		}
		for i := range want {
			matchesText(t, list[i], want[i])
		}
	case map[string]any:
		object, _ := got.(map[string]any)
		if len(object) != len(want) {
			t.Fatalf("%v is %v", want, got)
		}
		for name := range want {
			matchesText(t, object[name], want[name])
		}
	default:
		if got != want {
			t.Errorf("%v is %v", want, got)
		}
	}
}

// FuzzParseOrigin checks that an accepted text is exactly scheme://host[:port].
func FuzzParseOrigin(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		u, err := settings.ParseOrigin(text)
		if err != nil {
			if u != nil || len(text) > 8 && strings.Contains(err.Error(), text) && !strings.Contains("https://host:port", text) {
				t.Errorf("%q is rejected with %v, %v", text, u, err)
			}
			return
		}
		if u.Scheme != "https" && u.Scheme != "http" || text != u.Scheme+"://"+u.Host {
			t.Fatalf("%q is taken for the origin %s of %s", text, u.Scheme, u.Host)
		}
		if strings.ContainsFunc(u.Host, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("/?#@\\%*,", r) }) || text != strings.ToLower(text) {
			t.Errorf("the host of %q is %q", text, u.Host)
		}
		host, port := u.Host, ""
		if i := strings.LastIndexByte(host, ':'); i > strings.IndexByte(host, ']') {
			host, port = host[:i], host[i+1:]
			number, err := strconv.ParseUint(port, 10, 16)
			if err != nil || number == 0 || strconv.FormatUint(number, 10) != port || u.Scheme == "https" && number == 443 || u.Scheme == "http" && number == 80 {
				t.Errorf("the port of %q is %q", text, port)
			}
		}
		if inner, bracketed := strings.CutPrefix(host, "["); bracketed {
			if address, err := netip.ParseAddr(strings.TrimSuffix(inner, "]")); err != nil || !address.Is6() || address.Zone() != "" {
				t.Errorf("%q holds the address %v, %v", text, address, err)
			}
		} else if host == "" || strings.HasPrefix(host, ".") || strings.HasSuffix(host, ".") || strings.Contains(host, "..") || strings.ContainsAny(host, ":[]") {
			t.Errorf("the host of %q is %q", text, host)
		}
		if u.Hostname() != strings.Trim(host, "[]") || u.Port() != port {
			t.Errorf("%q is %q at %q, and the URL has %q at %q", text, host, port, u.Hostname(), u.Port())
		}
	})
}

// FuzzParseDuration checks that an accepted duration is not negative, and that it
// can be parsed back from its text.
func FuzzParseDuration(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		d, err := settings.ParseDuration(text)
		switch {
		case err != nil:
			if d != 0 {
				t.Errorf("%q is rejected, and yields %d", text, d)
			}
			return
		case (text == "none") != (d.Std() == session.NoIdleTimeout), d < 0 && text != "none":
			t.Errorf("%q is %d", text, d)
		}
		if back, err := settings.ParseDuration(d.String()); err != nil || back != d {
			t.Errorf("%q prints as %q, which reads back as %d, %v", text, d, back, err)
		}
		if plain, err := time.ParseDuration(text); err == nil && plain != d.Std() {
			t.Errorf("%q is %v, and to Go %v", text, d.Std(), plain)
		}
	})
}

// FuzzValidTenantID checks that an accepted id is one segment of a path.
func FuzzValidTenantID(f *testing.F) {
	f.Fuzz(func(t *testing.T, id string) {
		fits := len(id) >= 1 && len(id) <= 63 && id[0] != '-'
		for _, b := range []byte(id) {
			fits = fits && (b >= 'a' && b <= 'z' || b >= '0' && b <= '9' || b == '-')
		}
		if settings.ValidTenantID(id) != fits {
			t.Errorf("%q is valid: %t", id, !fits)
		}
		faults := settings.ValidateTenants([]settings.TenantSpec{{ID: id}}, "")
		if (len(faults) == 0) != fits {
			t.Errorf("%q has the faults %v", id, faults)
		}
	})
}

// FuzzParseSessionCursor checks that an accepted cursor prints as the same text.
func FuzzParseSessionCursor(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		c, err := models.ParseSessionCursor(text)
		switch {
		case err == nil && c.String() != text:
			t.Errorf("%q is taken for %q", text, c)
		case err != nil && c != models.SessionCursor{}:
			t.Errorf("%q is rejected, and yields %v", text, c)
		}
	})
}
