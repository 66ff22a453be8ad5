module github.com/ory/x

go 1.26

require go.opentelemetry.io/otel/trace v1.44.0

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	go.opentelemetry.io/otel v1.44.0 // indirect
)
