package main

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"github.com/latchkey/latchkey/handlers"
	"github.com/latchkey/latchkey/models"
)

// mostSeries bounds the clients, and the tenants with further clients, of the metric
// latchkey_sessions: it has at most twice as many series, and one more.
const mostSeries = 1000

// otherSeries is the value of a label for everything that has no value of its own. No
// tenant and no client may have this id.
const otherSeries = "(other)"

// sessionSeries chooses the clients that the metric names: those with the most
// sessions. It remembers its choice, so that clients of about the same size do not
// take turns, of which each would leave a series behind.
type sessionSeries struct {
	mu      sync.Mutex
	clients map[models.ClientOf]bool
	tenants map[string]bool
}

// samples returns the values of the metric. They add up to the sessions of the
// tenants.
func (s *sessionSeries) samples(tenants map[string]float64, clients map[models.ClientOf]float64) []handlers.Sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := maps.Clone(clients)
	maps.DeleteFunc(known, func(of models.ClientOf, _ float64) bool { _, is := tenants[of.Tenant]; return !is })
	s.clients = largest(known, s.clients, func(a, b models.ClientOf) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Client, b.Client))
	})
	var list []handlers.Sample
	rest := maps.Clone(tenants)
	for of := range s.clients {
		list = append(list, handlers.Sample{Labels: []string{of.Tenant, of.Client}, Value: known[of]})
		rest[of.Tenant] -= known[of]
	}
	maps.DeleteFunc(rest, func(_ string, n float64) bool { return n <= 0 })
	s.tenants = largest(rest, s.tenants, cmp.Compare[string])
	var others float64
	for tenant, n := range rest {
		if s.tenants[tenant] {
			list = append(list, handlers.Sample{Labels: []string{tenant, otherSeries}, Value: n})
		} else {
			others += n
		}
	}
	if others > 0 {
		list = append(list, handlers.Sample{Labels: []string{otherSeries, otherSeries}, Value: others})
	}
	return list
}

// largest returns the keys of the mostSeries largest values. One that was chosen
// before gives way only to one that is twice as large.
func largest[K comparable](values map[K]float64, before map[K]bool, compare func(a, b K) int) map[K]bool {
	weight := func(k K) float64 {
		if before[k] {
			return 2 * values[k]
		}
		return values[k]
	}
	keys := slices.SortedFunc(maps.Keys(values), func(a, b K) int { return cmp.Or(cmp.Compare(weight(b), weight(a)), compare(a, b)) })
	chosen := map[K]bool{}
	for _, k := range keys[:min(len(keys), mostSeries)] {
		chosen[k] = true
	}
	return chosen
}
