package oauth

import (
	"errors"
	"net/url"
	"testing"
)

func TestForLogKeepsOnlyPrintableCharacters(t *testing.T) {
	if got := forLog("a\u202eb\x00c\x1b[31m"); got != "a\ufffdb\ufffdc\ufffd[31m" {
		t.Errorf("logged as %q", got)
	}
}

func TestWithoutURLRemovesTheURL(t *testing.T) {
	err := &url.Error{Op: "Get", URL: "https://auth.example.com/keys?token=secret", Err: errors.New("connection refused")}
	if got := withoutURL(err).Error(); got != "connection refused" {
		t.Errorf("error %q", got)
	}
}
