package models

import (
	"testing"
)

func TestGenerationsAreReadBackAsTheyWereStored(t *testing.T) {
	var set Generations
	want := map[uint32]bool{}
	for _, generation := range []uint32{0, 1, 4, 9, 10, 11, 4294967294} {
		set = set.Add(generation)
		want[generation] = true
		last, earlier := set.split()
		text := ""
		if earlier != nil {
			text = *earlier
		}
		kept, err := joinGenerations(last, text)
		if err != nil {
			t.Fatal(err)
		}
		for g := range uint32(20) {
			if kept.Has(g) != want[g] {
				t.Errorf("after adding %d: has %d is %v, want %v", generation, g, kept.Has(g), want[g])
			}
		}
	}
	if _, err := joinGenerations(generationRange{}, "1-2,x"); err == nil {
		t.Error("a damaged column was read without an error")
	}
}

func TestASetOfGenerationsDropsItsOldestRange(t *testing.T) {
	var set Generations
	for i := range uint32(100) {
		set = set.Add(2 * i)
	}
	if len(set) != maxGenerationRanges || set.Has(2*(100-maxGenerationRanges-1)) || !set.Has(2*(100-maxGenerationRanges)) || !set.Has(198) {
		t.Errorf("holds %v", set)
	}
}
