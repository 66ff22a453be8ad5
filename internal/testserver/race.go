package testserver

import (
	"sync"
)

// InParallel makes n concurrent calls and returns their responses.
func InParallel(n int, do func(i int) *Answer) []*Answer {
	answers := make([]*Answer, n)
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			<-start
			answers[i] = do(i)
		})
	}
	close(start)
	all.Wait()
	return answers
}
