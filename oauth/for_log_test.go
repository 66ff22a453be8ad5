package oauth

import (
	"testing"
)

func TestForLogKeepsOnlyPrintableCharacters(t *testing.T) {
	if got := forLog("a\u202eb\x00c\x1b[31m"); got != "a\ufffdb\ufffdc\ufffd[31m" {
		t.Errorf("logged as %q", got)
	}
}
