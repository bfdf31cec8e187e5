"""Each reason has one gRPC code and the details that error_reason.proto documents."""

import re
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, PreconditionFailure, QuotaFailure, RetryInfo
from google.rpc.status_pb2 import Status

from holdfast.inventory.v1.error_reason_pb2 import ErrorReason
from holdfast_inventory.api.status import TABLE, refusal_of
from holdfast_inventory.domain import errors
from holdfast_inventory.domain.errors import DomainError, FieldViolation, Reason, Shortage

PROTO = Path(__file__).parents[3] / "protos/holdfast/inventory/v1/error_reason.proto"
GATEWAY_ONLY = {"INVENTORY_UNAVAILABLE"}
MOMENT = datetime(2026, 5, 4, 3, 2, 1, 500_000, UTC)

ERRORS = [
    errors.InvalidRequest((FieldViolation("lines[2].quantity", "must be 1 to 5"),)),
    errors.NotFound("sales/x"),
    errors.AlreadyExists("sales/x"),
    errors.InsufficientStock((Shortage("cap", 3, 1), Shortage("hat", 2, 0))),
    errors.CustomerLimitReached(4, 3, "cap"),
    errors.SaleNotOpen(MOMENT, 12.3),
    errors.SaleClosed(),
    errors.SalePaused(),
    errors.ReservationExpired(MOMENT),
    errors.ReservationReleased(),
    errors.ReservationConfirmed("order-1"),
    errors.ExtensionLimitReached(MOMENT),
    errors.BelowHeld(7, 5),
    errors.StockChanged(9),
    errors.RequestIdReused(),
    errors.Overloaded(0.5),
    errors.RateLimited(0.5),
    errors.DatabaseUnavailable(),
    errors.Draining(),
    errors.DeadlineInQueue(),
    errors.OutcomeUnknown(),
    errors.ReaderTooSlow(),
    errors.WatchExpired("AQEx"),
    errors.Internal(),
]


def documented():
    """What the proto's comments say of each reason: its code, its metadata keys and whether it has RetryInfo."""
    found = {}
    for comment, name in re.findall(r"((?:  //.*\n)+)  (\w+) = [1-9]\d*;", PROTO.read_text()):
        text = " ".join(line.strip().removeprefix("//").strip() for line in comment.splitlines())
        code = re.search(r"([A-Z_]{5,}), (\d{3})", text)[1]
        metadata = re.search(r"Metadata: (.*?)\.(?: |$)", text)
        found[name] = (code, metadata[1] if metadata else "", "RetryInfo" in text)
    return found


def details_of(error):
    status = Status.FromString(dict(refusal_of(error).trailers)["grpc-status-details-bin"])
    found = {}
    for packed in status.details:
        for kind in (ErrorInfo, BadRequest, PreconditionFailure, QuotaFailure, RetryInfo):
            if packed.Is(kind.DESCRIPTOR):
                found[kind] = kind()
                packed.Unpack(found[kind])
    return found


def test_the_table_is_total_over_the_domain():
    assert TABLE.keys() == set(Reason)


def test_the_domain_is_total_over_the_protos():
    on_the_wire = set(ErrorReason.keys()) - {"ERROR_REASON_UNSPECIFIED"} - GATEWAY_ONLY
    assert {reason.name for reason in Reason} == on_the_wire


def test_every_error_class_is_tried_here():
    classes = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, DomainError)}
    assert {type(error) for error in ERRORS} == classes - {DomainError}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.reason.name)
def test_code_metadata_and_retry_are_as_documented(error):
    code, keys, has_retry = documented()[error.reason.name]
    details = details_of(error)
    metadata = details[ErrorInfo].metadata
    assert refusal_of(error).code.name == code
    assert details[ErrorInfo].reason == error.reason.name
    assert details[ErrorInfo].domain == "inventory.holdfast.dev"
    assert (RetryInfo in details) == has_retry
    assert bool(metadata) == bool(keys)
    assert all(key.partition(".")[0] in keys for key in metadata)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.reason.name)
def test_the_outcome_of_a_command_has_the_details_of_the_status(error):
    refusal = refusal_of(error)
    assert Status.FromString(dict(refusal.trailers)["grpc-status-details-bin"]) == refusal.status
    assert refusal.status.code == refusal.code.value[0]


def test_each_short_line_is_told():
    details = details_of(errors.InsufficientStock((Shortage("cap", 3, 1), Shortage("hat", 2, 0))))
    assert dict(details[ErrorInfo].metadata) == {
        "asked.cap": "3",
        "available.cap": "1",
        "asked.hat": "2",
        "available.hat": "0",
    }
    assert [violation.subject for violation in details[PreconditionFailure].violations] == ["cap", "hat"]


def test_the_limit_of_a_sale_names_no_item():
    assert dict(details_of(errors.CustomerLimitReached(4, 3))[ErrorInfo].metadata) == {"limit": "4", "used": "3"}


def test_a_retry_is_never_told_too_early():
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
    ids=lambda error: error.reason.name,
)
def test_the_largest_refusal_fits_the_trailers_that_a_client_takes(error):
    refusal = refusal_of(error)
    [(_, details)] = refusal.trailers
    assert len(details) * 4 / 3 + len(refusal.message.encode()) * 3 < 8192 - 512


def test_errors_are_dataclasses_whose_fields_say_all():
    """What refusals are cached by."""
    assert all(list(vars(error)) == [field.name for field in fields(error)] for error in ERRORS if is_dataclass(error))
