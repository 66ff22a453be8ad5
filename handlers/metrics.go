package handlers

import (
	"cmp"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/latchkey/latchkey/oauth"
)

// Metrics are the Prometheus metrics of a node. No label has a value that a
// caller can choose.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
	tokens   *prometheus.CounterVec
	refusals *prometheus.CounterVec
	refresh  *prometheus.CounterVec
}

// Gauge is a value that is read when the metrics are collected.
type Gauge struct {
	Name, Help string
	Value      func() float64
	Rises      bool // whether it is a counter, which never decreases while the process runs
}

// NewMetrics returns the metrics of a node, including gauges of other packages.
func NewMetrics(gauges ...Gauge) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "latchkey_http_request_duration_seconds", Help: "Duration of HTTP requests.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}, []string{"route", "method", "status"}),
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "latchkey_token_requests_total", Help: "Token requests by grant and outcome.",
		}, []string{"grant", "outcome"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "latchkey_exchange_refusals_total", Help: "Rejected token exchanges by latchkey_reason.",
		}, []string{"reason"}),
		refresh: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "latchkey_refreshes_total", Help: "Refreshes by outcome: rotated, retried, retried_late, or the latchkey_reason of the rejection.",
		}, []string{"outcome"}),
	}
	m.registry.MustRegister(m.requests, m.tokens, m.refusals, m.refresh, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, g := range gauges {
		opts := prometheus.Opts{Name: g.Name, Help: g.Help}
		if g.Rises {
			m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts(opts), g.Value))
		} else {
			m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts), g.Value))
		}
	}
	return m
}

// Family is a group of values that differ in one label, or in several if it has
// Samples. They are read when the metrics are collected.
type Family struct {
	Name, Help, Label string
	Values            func() map[string]float64
	Rises             bool // whether they are counters, which never decrease while the process runs

	Labels  []string // instead of Label
	Samples func() []Sample
}

// Sample is a value of a family, with the values of its Labels.
type Sample struct {
	Labels []string
	Value  float64
}

// Add adds families of other packages.
func (m *Metrics) Add(families ...Family) {
	for _, f := range families {
		labels := f.Labels
		if f.Samples == nil {
			labels = []string{f.Label}
		}
		m.registry.MustRegister(&familyCollector{f, prometheus.NewDesc(f.Name, f.Help, labels, nil)})
	}
}

// familyCollector implements prometheus.Collector.
type familyCollector struct {
	Family
	desc *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *familyCollector) Describe(descs chan<- *prometheus.Desc) { descs <- c.desc }

// Collect implements prometheus.Collector.
func (c *familyCollector) Collect(metrics chan<- prometheus.Metric) {
	kind := prometheus.GaugeValue
	if c.Rises {
		kind = prometheus.CounterValue
	}
	if c.Samples != nil {
		for _, s := range c.Samples() {
			metrics <- prometheus.MustNewConstMetric(c.desc, kind, s.Value, s.Labels...)
		}
		return
	}
	for label, value := range c.Values() {
		metrics <- prometheus.MustNewConstMetric(c.desc, kind, value, label)
	}
}

// Handler serves /metrics.
func (m *Metrics) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	return mux
}

// request records one HTTP request.
func (m *Metrics) request(route, method string, status int, took time.Duration) {
	if m == nil {
		return
	}
	m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Observe(took.Seconds())
}

// grantNames maps a grant type to the value of its label. All others share one.
var grantNames = map[string]string{
	"urn:ietf:params:oauth:grant-type:token-exchange": "token-exchange",
	"refresh_token":      "refresh",
	"client_credentials": "client-credentials",
}

var methods = map[string]bool{"GET": true, "HEAD": true, "POST": true, "OPTIONS": true, "PUT": true, "DELETE": true, "PATCH": true}

// methodName returns a method for logs and metrics. Callers can invent methods,
// so others than those of HTTP share one name.
func methodName(method string) string {
	if !methods[method] {
		return "other"
	}
	return method
}

// call records the outcome of an exchange or a refresh, and returns its name for the
// statistics of the tenant; empty: it is neither.
func (m *Metrics) call(call *oauth.Call) string {
	outcome := string(call.Reason)
	switch grantNames[call.Grant] {
	case "token-exchange":
		if outcome == "" {
			return "exchange.ok"
		}
		if m != nil {
			m.refusals.WithLabelValues(outcome).Inc()
		}
		return "exchange.refused." + outcome
	case "refresh":
		if outcome == "" {
			outcome = cmp.Or(call.Retry, "rotated")
		}
		if m != nil {
			m.refresh.WithLabelValues(outcome).Inc()
		}
		if call.Reason != "" {
			return "refresh.refused." + outcome
		}
		return "refresh." + outcome
	}
	return ""
}

// token records one token request.
func (m *Metrics) token(grant, outcome string) {
	if m == nil || grant == "" {
		return
	}
	name, known := grantNames[grant]
	if !known {
		name = "other"
	}
	if outcome == "" {
		outcome = "ok"
	}
	m.tokens.WithLabelValues(name, outcome).Inc()
}
