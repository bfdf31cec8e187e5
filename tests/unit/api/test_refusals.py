"""A refusal has what the contract says of its reason, and the details that refusal.proto documents."""

from dataclasses import fields, is_dataclass
from datetime import UTC, datetime

import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, PreconditionFailure, QuotaFailure, RetryInfo
from google.rpc.status_pb2 import Status

from holdfast_chassis.contract import REASONS
from holdfast_inventory.api.refusals import refusal_of
from holdfast_inventory.domain import errors
from holdfast_inventory.domain.errors import DomainError, FieldViolation, Shortage

MOMENT = datetime(2026, 5, 4, 3, 2, 1, 500_000, UTC)

ERRORS = [
    errors.InvalidRequest((FieldViolation("lines[2].quantity", "must be 1 to 5"),)),
    errors.NotFound("sales/x"),
    errors.AlreadyExists("sales/x"),
    errors.InsufficientStock((Shortage("cap", 3, 1), Shortage("hat", 2, 0))),
    errors.InsufficientStock((Shortage("cap", 3, 1),), 7.0),
    errors.CustomerLimitReached(4, 3, "cap"),
    errors.SaleNotOpen(MOMENT, 12.3),
    errors.SaleClosed(),
    errors.SalePaused(),
    errors.ReservationExpired(MOMENT),
    errors.ReservationReleased(),
    errors.ReservationConfirmed("order-1"),
    errors.ReservationHeld(),
    errors.NotReturnable("cap", 3, 1),
    errors.WebhookLimitReached(100),
    errors.ExtensionLimitReached(MOMENT),
    errors.BelowHeld(7, 5),
    errors.StockChanged(9),
    errors.SaleChanged("0a"),
    errors.SaleInUse(),
    errors.RequestIdReused(),
    errors.RateLimited(100, 60.0, 0.5),
    errors.Overloaded(0.5),
    errors.DatabaseUnavailable(),
    errors.Draining(),
    errors.DeadlineInQueue(),
    errors.OutcomeUnknown(),
    errors.ReaderTooSlow(),
    errors.WatchExpired("AQEx"),
    errors.HeadersTooLarge(),
    errors.Internal(),
    errors.Unauthenticated("the key is unknown", "invalid_token"),
    errors.PermissionDenied("the caller needs more", "stock.read"),
    errors.IssuerUnavailable(1.0),
    errors.AdmissionRequired("the admission token is missing"),
]


# What the comments of refusal.proto name: its metadata keys and further details.
TOLD = {
    "INVALID_REQUEST": (set(), BadRequest),
    "NOT_FOUND": ({"resource"}, None),
    "ALREADY_EXISTS": ({"resource"}, None),
    "INSUFFICIENT_STOCK": ({"asked.cap", "available.cap", "asked.hat", "available.hat"}, PreconditionFailure),
    "CUSTOMER_LIMIT_REACHED": ({"limit", "used", "item"}, QuotaFailure),
    "SALE_NOT_OPEN": ({"open_time"}, None),
    "RESERVATION_EXPIRED": ({"expire_time"}, None),
    "RESERVATION_CONFIRMED": ({"order"}, None),
    "WEBHOOK_LIMIT_REACHED": ({"limit"}, None),
    "NOT_RETURNABLE": ({"item", "asked", "left"}, None),
    "EXTENSION_LIMIT_REACHED": ({"latest_expire_time"}, None),
    "BELOW_HELD": ({"on_hand", "held"}, None),
    "STOCK_CHANGED": ({"version"}, None),
    "SALE_CHANGED": ({"etag"}, None),
    "WATCH_EXPIRED": ({"resume_token"}, None),
    "UNAUTHENTICATED": ({"error"}, None),
    "PERMISSION_DENIED": ({"scope"}, None),
}


def details_of(error):
    status = Status.FromString(dict(refusal_of(error).trailers)["grpc-status-details-bin"])
    found = {}
    for packed in status.details:
        for kind in (ErrorInfo, BadRequest, PreconditionFailure, QuotaFailure, RetryInfo):
            if packed.Is(kind.DESCRIPTOR):
                found[kind] = kind()
                packed.Unpack(found[kind])
    return found


def test_every_error_is_a_reason_of_the_contract():
    assert {error.reason for error in ERRORS} <= REASONS.keys()


def test_every_error_class_is_tried_here():
    classes = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, DomainError)}
    assert {type(error) for error in ERRORS} == classes - {DomainError}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.reason)
def test_metadata_and_details_are_as_documented(error):
    keys, further = TOLD.get(error.reason, (set(), None))
    details = details_of(error)
    assert details[ErrorInfo].metadata.keys() <= keys | {"retryable"}
    assert details.keys() - {RetryInfo} == {ErrorInfo, further} - {None}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.reason)
def test_only_retryable_refusals_have_a_retry_delay(error):
    details = details_of(error)
    assert (details[ErrorInfo].metadata["retryable"] == "true") == (RetryInfo in details)
    assert REASONS[error.reason].retryable or RetryInfo not in details


def test_those_who_are_refused_together_do_not_come_back_together():
    for error in (errors.InsufficientStock((Shortage("cap", 3, 1),), 7.0), errors.SalePaused()):
        delays = {details_of(error)[RetryInfo].retry_delay.ToTimedelta().total_seconds() for _ in range(1000)}
        assert len(delays) > 10
        assert error.retry_after_seconds <= min(delays) <= max(delays) <= error.retry_after_seconds + 1.1


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.reason)
def test_what_is_true_of_a_reason_is_what_the_contract_says(error):
    info = details_of(error)[ErrorInfo]
    reason = REASONS[error.reason]
    told = (refusal_of(error).code, info.reason, info.domain)
    assert told == (reason.code, reason.name, "inventory.holdfast.dev")


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.reason)
def test_the_outcome_of_a_command_has_the_details_of_the_status(error):
    refusal = refusal_of(error)
    assert Status.FromString(dict(refusal.trailers)["grpc-status-details-bin"]) == refusal.status
    assert refusal.status.code == refusal.code


def test_each_short_line_is_reported():
    details = details_of(errors.InsufficientStock((Shortage("cap", 3, 1), Shortage("hat", 2, 0))))
    assert dict(details[ErrorInfo].metadata) == {
        "asked.cap": "3",
        "available.cap": "1",
        "asked.hat": "2",
        "available.hat": "0",
        "retryable": "false",
    }
    assert [violation.subject for violation in details[PreconditionFailure].violations] == ["cap", "hat"]


def test_no_short_line_is_left_out_while_there_is_room():
    details = details_of(errors.InsufficientStock(tuple(Shortage(f"item-{i}", 3, 1) for i in range(30))))
    assert len(details[PreconditionFailure].violations) == 30
    assert "left_out" not in details[ErrorInfo].metadata


def test_short_lines_that_do_not_fit_are_counted():
    details = details_of(errors.InsufficientStock(tuple(Shortage("x" * 60 + str(i), 3, 1) for i in range(100))))
    told = len(details[PreconditionFailure].violations)
    assert 10 < told < 100
    assert details[ErrorInfo].metadata["left_out"] == str(100 - told)


def test_the_limit_of_a_sale_names_no_item():
    assert "item" not in details_of(errors.CustomerLimitReached(4, 3))[ErrorInfo].metadata


def test_a_retry_delay_is_never_too_short():
    delay = details_of(errors.SaleNotOpen(MOMENT, 12.301))[RetryInfo].retry_delay
    assert 12.301 <= delay.ToTimedelta().total_seconds() < 12.4


def test_times_are_rfc_3339_in_utc():
    metadata = details_of(errors.ReservationExpired(MOMENT))[ErrorInfo].metadata
    assert metadata["expire_time"] == "2026-05-04T03:02:01.500000Z"


def test_refusals_that_look_alike_are_made_once():
    shortage = (Shortage("cap", 3, 1),)
    assert refusal_of(errors.InsufficientStock(shortage)) is refusal_of(errors.InsufficientStock(shortage))


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidRequest(tuple(FieldViolation(f"sale.items[{i}].on_hand", "x" * 500) for i in range(3000))),
        errors.InsufficientStock(tuple(Shortage("x" * 60 + str(i), 10**6, 0) for i in range(100))),
        errors.ReservationConfirmed("\N{SNOWMAN}" * 128),
        errors.NotFound(f"sales/{'x' * 63}/items/{'y' * 63}"),
    ],
    ids=lambda error: error.reason,
)
def test_the_largest_refusal_fits_the_trailers_that_a_client_takes(error):
    refusal = refusal_of(error)
    [(_, details)] = refusal.trailers
    assert len(details) * 4 / 3 + len(refusal.message.encode()) * 3 < 8192 - 512


def test_errors_are_dataclasses_whose_fields_say_all():
    """What refusals are cached by."""
    assert all(list(vars(error)) == [field.name for field in fields(error)] for error in ERRORS if is_dataclass(error))
