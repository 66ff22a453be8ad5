package main

import "fmt"

// plural returns a count with a regular noun, such as 1 session or 2 sessions.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
