package main

import "testing"

// tests/bench/load/src/keys.rs has the same numbers in its test.
func TestDrawsAreTheSameInEveryLanguage(t *testing.T) {
	for draw, checksum := range map[string]string{"uniform": "bd40b8a5f72dff4a", "zipf": "e3bd408dc9f8dc21"} {
		k := newKeys(task{Draw: draw, Keys: 10_000, Seed: 7, ValueBytes: 16, Callers: 1})
		if k.checksum() != checksum {
			t.Errorf("%s: %s", draw, k.checksum())
		}
	}
}
