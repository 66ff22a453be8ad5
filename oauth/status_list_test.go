package oauth

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"io"
	"testing"

	"github.com/latchkey/latchkey/models"
)

// The bytes of the first example in the draft (§4.1). Compressors differ, so the test decompresses them.
func TestTheFirstStatusIsTheLowestBit(t *testing.T) {
	lst, err := compressStatus(&models.StatusList{Size: 16, Over: []uint32{15, 0, 3, 4, 5, 7, 8, 9, 13}})
	if err != nil {
		t.Fatal(err)
	}
	compressed, err := base64.RawURLEncoding.Strict().DecodeString(lst)
	if err != nil {
		t.Fatal(err)
	}
	if level := compressed[1] >> 6; level != 3 {
		t.Errorf("compressed at level %d of 3", level) // RFC 1950 §2.2
	}
	r, err := zlib.NewReader(bytes.NewReader(compressed))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(r); err != nil || !bytes.Equal(text, []byte{0xb9, 0xa3}) {
		t.Errorf("it contains %x, %v", text, err)
	}
}

func TestQualityUsesTheMostSpecificName(t *testing.T) {
	for field, want := range map[string]float64{
		"": 0, "a/b": 1, "a/*": 1, "*/*": 1, "a/b;q=0.5": 0.5, "A/B; Q=0.5": 0.5, "*/*, a/b;q=0": 0, "a/*;q=0.2, */*": 0.2,
		"a/b;q=0.1, a/b;q=0.3": 0.3, "c/d": 0, "a/b;q=x": 0, "a/b;v=1": 1, ";;": 0, "a/c, c/*": 0,
	} {
		if got := quality([]string{field}, "a/b", "a/*", "*/*"); got != want {
			t.Errorf("%q: %v, want %v", field, got, want)
		}
	}
}
