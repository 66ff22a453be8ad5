package latchkey

import (
	"strconv"
	"testing"
	"time"
)

func TestASessionKeepsTokensForAFewTargets(t *testing.T) {
	s := &Session{}
	for i := range maxTargets + 3 {
		s.keepTargetToken(strconv.Itoa(i), Tokens{AccessToken: "t", Expiry: time.Unix(int64(i), 0)})
	}
	if len(s.targetTokens) != maxTargets || s.tokenFor("2").AccessToken != "" || s.tokenFor("3").AccessToken == "" {
		t.Errorf("it has %d", len(s.targetTokens))
	}
}
