package settings_test

import (
	"testing"

	"github.com/latchkey/latchkey/settings"
)

func TestAWildcardMatchesOneLabel(t *testing.T) {
	var set settings.OriginSet
	if set.Has("https://a.example.com") {
		t.Error("an empty list has an origin")
	}
	set.Add("https://*.preview.example.com", "https://*.example.org:8443", "https://app.example.com")
	for origin, has := range map[string]bool{
		"https://app.example.com":              true,
		"https://pr-7.preview.example.com":     true,
		"https://a_b.preview.example.com":      true,
		"https://x.example.org:8443":           true,
		"https://preview.example.com":          false,
		"https://a.b.preview.example.com":      false,
		"https://.preview.example.com":         false,
		"https://*.preview.example.com":        false,
		"https://A.preview.example.com":        false,
		"https://a.preview.example.com:8443":   false,
		"https://a.preview.example.com/":       false,
		"https://a.preview.example.com.evil":   false,
		"https://evil/.preview.example.com":    false,
		"https://evil@a.preview.example.com":   false,
		"https://evil#.preview.example.com":    false,
		"http://a.preview.example.com":         false,
		"https://x.example.org":                false,
		"https://apreview.example.com":         false,
		"null":                                 false,
		"":                                     false,
		"https://app.example.com https://evil": false,
	} {
		if set.Has(origin) != has {
			t.Errorf("%q: listed %t", origin, !has)
		}
	}
}
