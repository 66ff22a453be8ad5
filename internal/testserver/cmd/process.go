package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
)

// process replaces the testing.TB of the harness outside a test: a failure ends the
// process. It lacks the methods that the harness does not call.
type process struct {
	testing.TB
	cleanups []func()
}

// Helper implements testing.TB.
func (p *process) Helper() {}

// Cleanup implements testing.TB.
func (p *process) Cleanup(fn func()) { p.cleanups = append(p.cleanups, fn) }

// Context implements testing.TB.
func (p *process) Context() context.Context { return context.Background() }

// Error implements testing.TB.
func (p *process) Error(args ...any) { fatal(fmt.Sprint(args...)) }

// Errorf implements testing.TB.
func (p *process) Errorf(format string, args ...any) { fatal(fmt.Sprintf(format, args...)) }

// Fatal implements testing.TB.
func (p *process) Fatal(args ...any) { fatal(fmt.Sprint(args...)) }

// Fatalf implements testing.TB.
func (p *process) Fatalf(format string, args ...any) { fatal(fmt.Sprintf(format, args...)) }

// TempDir implements testing.TB.
func (p *process) TempDir() string {
	folder, err := os.MkdirTemp("", "latchkey-testserver-")
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { _ = os.RemoveAll(folder) }) // a leftover temporary folder is not a failure
	return folder
}

// end runs the cleanups in reverse order.
func (p *process) end() {
	for _, fn := range slices.Backward(p.cleanups) {
		fn()
	}
}
