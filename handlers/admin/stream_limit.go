package admin

import (
	"net/http"
	"sync"
)

const (
	// mostStreamsPerKey bounds the streams of events that a node has open for one admin
	// key: each reads the database every second.
	mostStreamsPerKey = 16
	// mostStreams bounds those of all keys.
	mostStreams = 256
)

// openStreams counts the streams of events that are open.
type openStreams struct {
	mu    sync.Mutex
	byKey map[string]int
	all   int
}

// open admits a stream of a key, and returns the function that ends it. Calls of that
// function after the first do nothing.
func (o *openStreams) open(key string) (end func(), err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all >= mostStreams || o.byKey[key] >= mostStreamsPerKey {
		p := problem(http.StatusTooManyRequests, "too_many_streams", "The admin key or the server has as many open streams as it may; close one, or try again later")
		p.header = http.Header{"Retry-After": {"10"}}
		return nil, p
	}
	if o.byKey == nil {
		o.byKey = map[string]int{}
	}
	o.byKey[key]++
	o.all++
	return sync.OnceFunc(func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.all--
		if o.byKey[key]--; o.byKey[key] == 0 {
			delete(o.byKey, key)
		}
	}), nil
}
