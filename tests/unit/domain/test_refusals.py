"""The content of refusals."""

import pytest

from holdfast_inventory.domain import errors
from tests.unit.domain.stage import NOON

TOLD = [
    (
        errors.InvalidRequest(
            (errors.FieldViolation("customer", "is empty"), errors.FieldViolation("lines", "is empty"))
        ),
        "customer: is empty; lines: is empty",
    ),
    (errors.NotFound("sales/drop"), "sales/drop does not exist"),
    (errors.AlreadyExists("sales/drop"), "sales/drop exists already"),
    (
        errors.InsufficientStock((errors.Shortage("shoe", 2, 1), errors.Shortage("sock", 1, 0))),
        "shoe: 2 asked, 1 available; sock: 1 asked, 0 available",
    ),
    (errors.CustomerLimitReached(4, 3), "the limit is 4 for each customer, and 3 are held or bought already"),
    (
        errors.CustomerLimitReached(4, 3, "shoe"),
        "the limit is 4 of shoe for each customer, and 3 are held or bought already",
    ),
    (errors.SaleNotOpen(NOON, 30.0), "the sale opens at 2026-06-01T12:00:00+00:00"),
    (errors.SaleClosed(), "the sale is over"),
    (errors.SalePaused(), "the sale is paused"),
    (errors.ReservationExpired(NOON), "the reservation expired at 2026-06-01T12:00:00+00:00"),
    (errors.ReservationReleased(), "the reservation was released"),
    (errors.ReservationConfirmed("o-1"), "the reservation was confirmed with order 'o-1'"),
    (errors.ExtensionLimitReached(NOON), "the reservation cannot be held beyond 2026-06-01T12:00:00+00:00"),
    (errors.ReservationHeld(), "the reservation is not confirmed; release it instead"),
    (errors.NotReturnable("cap", 3, 1), "cap: 3 asked, 1 left to return"),
    (errors.WebhookLimitReached(100), "there are 100 webhooks already, as many as there may be"),
    (errors.BelowHeld(5, 2), "5 are on hand and 2 of them are held"),
    (errors.StockChanged(8), "the item has changed: its version is 8"),
    (errors.SaleChanged("0a"), "the sale has changed: its etag is 0a"),
    (errors.SaleInUse(), "units of the sale were held, sold or transferred; cancel it instead"),
    (errors.RequestIdReused(), "the request id was used for a different request"),
    (errors.RateLimited(100, 60.0, 0.5), "at most 100 requests in 60 s"),
    (errors.Overloaded(0.5), "too many requests are waiting"),
    (errors.DatabaseUnavailable(), "the database cannot be reached; nothing was done"),
    (errors.Draining(), "this replica is shutting down; use another"),
    (errors.DeadlineInQueue(), "the deadline passed in the queue; nothing was done"),
    (errors.OutcomeUnknown(), "it is not known whether this was done; send it again with the same request id"),
    (errors.ReaderTooSlow(), "the reader is too slow; resume from the last resume token"),
    (errors.WatchExpired(), "the lifetime of this watch is over; resume at once from the last resume token"),
    (errors.HeadersTooLarge(), "the metadata of a call must be at most 12 KiB"),
    (errors.Internal(), "internal error"),
    (errors.Unauthenticated("the key is unknown", "invalid_token"), "the key is unknown"),
    (errors.PermissionDenied("the token is for another customer", ""), "the token is for another customer"),
    (errors.AdmissionRequired("the admission token is missing"), "the admission token is missing"),
    (errors.IssuerUnavailable(1.0), "the keys of the tokens' issuer cannot be fetched; nothing was done"),
]


@pytest.mark.parametrize(("refusal", "text"), TOLD, ids=lambda value: getattr(value, "reason", None) and value.reason)
def test_a_refusal_says_what_is_wrong(refusal, text):
    assert text == str(refusal)


def test_every_reason_has_a_refusal_of_its_own():
    reasons = [kind.reason for kind in errors.DomainError.__subclasses__()]

    assert len(reasons) == len(set(reasons))
    assert set(reasons) == {refusal.reason for refusal, _ in TOLD}
