package holdfast

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "holdfast.dev/api/inventory/v1"
)

const domain = "inventory.holdfast.dev"

// Refusal is why Holdfast has refused a request.
type Refusal struct {
	// Reason is REASON_UNSPECIFIED if it is newer than this client.
	Reason     pb.Refusal_Reason
	ReasonName string
	Message    string
	Code       codes.Code
	// Retryable: the same request may succeed later, after RetryAfter if Holdfast knows it.
	Retryable  bool
	RetryAfter time.Duration
	Metadata   map[string]string
	Violations map[string]string
	status     *status.Status
}

func (r *Refusal) Error() string { return fmt.Sprintf("%s: %s", r.ReasonName, r.Message) }

// GRPCStatus makes it work with status.FromError.
func (r *Refusal) GRPCStatus() *status.Status { return r.status }

// Unanswered is a status that gRPC or a proxy has made: the request may have been applied. Repeat it with the same
// request id.
type Unanswered struct{ status *status.Status }

func (u *Unanswered) Error() string {
	return fmt.Sprintf("%s: %s", u.status.Code(), u.status.Message())
}

// GRPCStatus makes it work with status.FromError.
func (u *Unanswered) GRPCStatus() *status.Status { return u.status }

// ReasonOf returns the reason of a refusal, and REASON_UNSPECIFIED for any other error.
func ReasonOf(err error) pb.Refusal_Reason {
	var refusal *Refusal
	if errors.As(err, &refusal) {
		return refusal.Reason
	}
	return pb.Refusal_REASON_UNSPECIFIED
}

func errorOf(err error) error {
	var refusal *Refusal
	var unanswered *Unanswered
	if err == nil || errors.As(err, &refusal) || errors.As(err, &unanswered) {
		return err
	}
	told := status.Convert(err)
	found := Refusal{Message: told.Message(), Code: told.Code(), status: told}
	for _, detail := range told.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			if detail.GetDomain() == domain {
				found.ReasonName, found.Metadata = detail.GetReason(), detail.GetMetadata()
			}
		case *errdetails.RetryInfo:
			found.RetryAfter = detail.GetRetryDelay().AsDuration()
		case *errdetails.BadRequest:
			found.Violations = map[string]string{}
			for _, violation := range detail.GetFieldViolations() {
				found.Violations[violation.GetField()] = violation.GetDescription()
			}
		}
	}
	if found.ReasonName == "" {
		return &Unanswered{told}
	}
	found.Reason = pb.Refusal_Reason(pb.Refusal_Reason_value[found.ReasonName])
	found.Retryable = found.Metadata["retryable"] == "true"
	return &found
}

// undecided says whether Holdfast was not able to decide, so that another attempt may have another result.
func undecided(err error) bool {
	var refusal *Refusal
	if errors.As(err, &refusal) {
		switch refusal.Code {
		case codes.ResourceExhausted, codes.Unavailable, codes.DeadlineExceeded:
			return refusal.Retryable
		}
		return false
	}
	return broken(err)
}

func mayResume(err error) bool {
	var refusal *Refusal
	if errors.As(err, &refusal) {
		return refusal.Retryable
	}
	return broken(err)
}

// broken says whether an error is how a lost connection, or a stopped server, shows itself.
func broken(err error) bool {
	var unanswered *Unanswered
	if !errors.As(err, &unanswered) {
		return false
	}
	switch unanswered.status.Code() {
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded, codes.Unknown, codes.Internal:
		return true
	}
	return false
}

func mayBeApplied(err error) bool {
	switch ReasonOf(err) {
	case pb.Refusal_REASON_UNSPECIFIED, pb.Refusal_OUTCOME_UNKNOWN, pb.Refusal_INVENTORY_UNAVAILABLE:
		return true
	}
	return false
}

func wantedDelay(err error) time.Duration {
	var refusal *Refusal
	if errors.As(err, &refusal) {
		return refusal.RetryAfter
	}
	return 0
}
