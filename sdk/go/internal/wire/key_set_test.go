package wire

import (
	"fmt"
	"testing"
)

// A key that is fetched again is the same key, so that tokens that it has
// verified need not be verified again. Another key with its kid is not.
func TestAnUnchangedKeyKeepsItsIdentity(t *testing.T) {
	const set = `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","alg":"EdDSA","x":%q}]}`
	var known [3]KeySet
	for i, x := range []string{"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "hSDwCYkwp1R0i33ctD73Wg2_Og0mOBr066SpjqqbTmo"} {
		var err error
		if known[i], err = ParseKeySet(fmt.Appendf(nil, set, x)); err != nil {
			t.Fatal(err)
		}
		known[i].ReuseFrom(known[max(i-1, 0)])
	}
	if known[1]["a"] != known[0]["a"] {
		t.Error("an unchanged key has a new identity")
	}
	if known[2]["a"] == known[1]["a"] {
		t.Error("a changed key keeps its identity")
	}
}
