package main

import (
	"fmt"
	"testing"

	"github.com/latchkey/latchkey/models"
)

func TestSessionSeriesAreBounded(t *testing.T) {
	tenants, clients := map[string]float64{}, map[models.ClientOf]float64{}
	total := 0.0
	for i := range 10_000 { // each tenant has two clients
		tenant := fmt.Sprintf("t%d", i)
		for j := range 2 {
			n := float64(i%50 + j)
			clients[models.ClientOf{Tenant: tenant, Client: fmt.Sprintf("c%d", j)}] = n
			tenants[tenant] += n
			total += n
		}
	}
	clients[models.ClientOf{Tenant: "t1", Client: "large"}] = 1e6
	tenants["t1"] += 1e6
	total += 1e6
	s := new(sessionSeries)
	first := s.samples(tenants, clients)
	if len(first) > 2*mostSeries+1 {
		t.Errorf("%d series", len(first))
	}
	sum, shown := 0.0, map[string]bool{}
	for _, sample := range first {
		sum += sample.Value
		shown[fmt.Sprint(sample.Labels)] = true
	}
	if len(shown) != len(first) {
		t.Error("two series have the same labels")
	}
	if sum != total {
		t.Errorf("they add up to %v, want %v", sum, total)
	}
	if !shown["[t1 large]"] {
		t.Error("the largest client has no series")
	}

	// Clients of about the same size do not take turns.
	for of := range clients {
		if !shown[fmt.Sprint([]string{of.Tenant, of.Client})] {
			clients[of]++
			tenants[of.Tenant]++
		}
	}
	for _, sample := range s.samples(tenants, clients) {
		if !shown[fmt.Sprint(sample.Labels)] {
			t.Fatalf("%v has taken the place of another", sample.Labels)
		}
	}
}

func TestSessionSeriesOfAFewClients(t *testing.T) {
	s := new(sessionSeries)
	got := map[string]float64{}
	for _, sample := range s.samples(map[string]float64{"acme": 10, "new": 2}, map[models.ClientOf]float64{{Tenant: "acme", Client: "web"}: 7, {Tenant: "acme", Client: "ios"}: 3, {Tenant: "gone", Client: "web"}: 1}) {
		got[fmt.Sprint(sample.Labels)] = sample.Value
	}
	if want := map[string]float64{"[acme web]": 7, "[acme ios]": 3, "[new (other)]": 2}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("series %v, want %v", got, want)
	}
}
