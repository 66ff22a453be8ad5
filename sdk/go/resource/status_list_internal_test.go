package resource

import (
	"slices"
	"testing"
)

func TestTheTestVectorsOfTheStatusListDraft(t *testing.T) {
	for name, c := range map[string]struct {
		bits   uint64
		list   string
		values []byte
	}{
		"one bit":  {1, "eNrbuRgAAhcBXQ", []byte{1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1}},
		"two bits": {2, "eNo76fITAAPfAgc", []byte{1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := inflate(c.bits, c.list)
			if err != nil {
				t.Fatal(err)
			}
			var values []byte
			for index := uint64(0); ; index++ {
				value, known := list.at(index)
				if !known {
					break
				}
				values = append(values, value)
			}
			if !slices.Equal(values, c.values) {
				t.Errorf("the entries are %v", values)
			}
		})
	}
}
