package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/latchkey/latchkey/models"
)

const (
	// firstReport is when a node reports first. By then it usually follows the event log.
	firstReport = time.Second
	// reportInterval is how often a node stores its statistics and its report.
	reportInterval = 10 * time.Second
	// lastReport bounds what a stopping node writes.
	lastReport = 2 * time.Second
	// maxReason bounds the reason in a report, in bytes.
	maxReason = 300
)

// report stores the statistics of this node and what the node reports about itself, until
// ctx ends. Then it stores the statistics once more and removes the report. fault returns
// why the node is not ready.
func (n *node) report(ctx context.Context, fault func() error) {
	self := models.Node{ID: rand.Text(), Name: n.name(), Version: thisBuild().short(), StartedAt: models.At(n.store.Now())}
	timer := time.NewTimer(firstReport)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			timer.Reset(reportInterval)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastReport)
			defer cancel()
			n.syncSessionCounts(last, self.ID)
			if err := n.store.RemoveNode(last, self.ID); err != nil {
				n.log.Warn("could not remove the report of this node", "error", err)
			}
			return
		}
		n.syncSessionCounts(ctx, self.ID)
		if age := n.oauth.LogAge(); age < models.NodeKept { // it is very long before the first time
			self.LogReadAt = models.At(n.store.Now().Add(-age))
		}
		self.Reason = reasonOf(fault())
		if err := n.store.ReportNode(ctx, self); err != nil && ctx.Err() == nil {
			n.log.Warn("could not store the report of this node", "error", err)
		}
	}
}

// name returns the name of this node for operators.
func (n *node) name() string {
	if n.config.NodeName != "" {
		return n.config.NodeName
	}
	host, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return strings.ToValidUTF8(host, "?")
}

// reasonOf returns the beginning of the text of an error, as every database can store it.
func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	text := strings.ToValidUTF8(strings.ReplaceAll(err.Error(), "\x00", ""), "?")
	if len(text) <= maxReason {
		return text
	}
	return strings.ToValidUTF8(text[:maxReason], "") + "…"
}

// localFault returns why this node cannot serve, as far as it knows that without the
// database.
func (n *node) localFault() error {
	if n.stopping.Load() {
		return errStopping
	}
	if offset := n.store.ClockOffset().Abs(); offset > maxClockOffset {
		return fmt.Errorf("the clocks of this node and the database differ by %s", offset)
	}
	return n.oauth.Following()
}
