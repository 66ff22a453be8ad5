package main

import (
	"encoding/hex"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/sdk/go/admin"
)

func targetOf(ref models.Ref) admin.Target {
	return admin.Target{Kind: admin.Kind(ref.Kind), Tenant: ref.Tenant, ID: ref.ID}
}

// suspendRemotely suspends over the admin API.
func (s *sharedFlags) suspendRemotely(cmd *cobra.Command, client *admin.Client, ref models.Ref, o admin.SuspendOptions) error {
	done, err := client.Suspend(cmd.Context(), targetOf(ref), o)
	if err != nil {
		return s.absent(err, "there is no tenant %q", ref.Tenant)
	}
	out, n := cmd.OutOrStdout(), 0
	if done.Sessions != nil {
		n = *done.Sessions
	}
	printEnding(out, ref, n, done.Sessions != nil)
	if o.DryRun {
		fmt.Fprintln(out, "This was a dry run: nothing was changed.")
		return nil
	}
	printSuspended(cmd, ref, &models.Suspended{
		Suspension: suspension(timeOf(done.SuspendedAt), done.SuspendedBy, done.Reason), Already: done.Already, Exists: done.Exists,
	})
	return nil
}

// listSuspensionsRemotely lists the suspensions over the admin API.
func listSuspensionsRemotely(cmd *cobra.Command, client *admin.Client, tenant string) error {
	var list []models.Suspension
	for one, err := range client.Suspensions(cmd.Context(), tenant) {
		if err != nil {
			return err
		}
		digest, err := hex.DecodeString(one.Digest)
		if err != nil {
			return fmt.Errorf("the server sent a digest that is not hexadecimal: %w", err)
		}
		s := suspension(timeOf(one.SuspendedAt), one.SuspendedBy, one.Reason)
		s.TenantID, s.Kind, s.ID, s.IDDigest, s.Exists, s.FollowsURL = one.Tenant, string(one.Kind), one.ID, digest, one.Exists, one.SuspendedAs
		list = append(list, s)
	}
	return printSuspensions(cmd.OutOrStdout(), list)
}

// resumeRemotely resumes over the admin API.
func (s *sharedFlags) resumeRemotely(cmd *cobra.Command, client *admin.Client, ref models.Ref) error {
	done, err := client.Resume(cmd.Context(), targetOf(ref))
	switch {
	case hasCode(err, "not_suspended"):
		return fmt.Errorf("%s is not suspended; run latchkey suspend --list to see the suspensions", describe(ref))
	case err != nil:
		return s.absent(err, "there is no tenant %q", ref.Tenant)
	case done.Lifted == nil:
		done.Lifted = &admin.Lifted{}
	}
	lifted := &models.Suspended{Exists: done.Exists, Suspension: suspension(done.Lifted.SuspendedAt, done.Lifted.SuspendedBy, done.Lifted.Reason)}
	if done.Suspended {
		stays := suspension(timeOf(done.SuspendedAt), done.SuspendedBy, done.Reason)
		stays.ID, lifted.StaysOff = done.OtherID, &stays
	}
	if done.Followed != "" {
		lifted.Followed = &models.Suspension{Name: done.Followed}
	}
	printResumed(cmd, ref, lifted)
	return nil
}

func suspension(at time.Time, by, reason string) models.Suspension {
	return models.Suspension{SuspendedAt: models.At(at), SuspendedBy: by, Reason: reason}
}

// timeOf returns the zero time for nil.
func timeOf(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}
