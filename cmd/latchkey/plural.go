package main

import "fmt"

// plural is n of what a regular noun names, such as 1 session or 2 sessions.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
