"""The rules of request fields. `Checking` collects all violations of a request, so that a caller sees all at once.

Each check returns the field's value in the domain's type; for an invalid field it returns any value of this type. Such
a value never leaves the checking block, because the block ends with the refusal.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from types import TracebackType
from typing import NamedTuple, TypeVar
from uuid import UUID

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from holdfast.inventory.v1 import reservation_service_pb2, sale_service_pb2
from holdfast_chassis.field_rules import rules_at
from holdfast_inventory.api import names, page_tokens
from holdfast_inventory.domain.errors import FieldViolation, InvalidRequest

_CUSTOMER = rules_at(reservation_service_pb2.CreateReservationRequest.DESCRIPTOR, "customer").string
_REQUEST_ID = rules_at(reservation_service_pb2.CreateReservationRequest.DESCRIPTOR, "request_id").string
MAX_TEXT_CHARACTERS: int = _CUSTOMER.max_len
DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE: int = rules_at(sale_service_pb2.ListSalesRequest.DESCRIPTOR, "page_size").int32.lte
MAX_SEQUENCE = 2**63 - 1

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOBODY = UUID(int=0)
ID_RULE = "must be 1 to 63 letters, digits, '-', '_' or '.', starting with a letter or a digit"
_SCHEDULE_ID_RULE = "must be 1 to 46 letters, digits, '-', '_' or '.', starting with a letter or a digit"
_is_visible_ascii = re.compile(_REQUEST_ID.pattern).fullmatch
_has_no_control_character = re.compile(_CUSTOMER.pattern).fullmatch

# The limits of google.protobuf.Duration and Timestamp, which decoders do not check.
_MAX_DURATION_SECONDS = 315_576_000_000
_MIN_TIMESTAMP_SECONDS = -62_135_596_800
_MAX_TIMESTAMP_SECONDS = 253_402_300_799
_NANOS_PER_SECOND = 1_000_000_000
# Where the pattern has the limit.
_UNBOUNDED = 2**31
# asyncpg takes the first and the last time that Python has for infinity, and gives back what compares with no time.
_FIRST_TIME = datetime.min.replace(tzinfo=UTC) + datetime.resolution
_LAST_TIME = datetime.max.replace(tzinfo=UTC) - datetime.resolution


class MapRules(NamedTuple):
    """The rules of a map of texts."""

    most: int
    is_key: Callable[[str], object]
    key_rule: str
    is_value: Callable[[str], object]
    most_characters: int
    value_rule: str


def _map_rules(field: str, key_rule: str, value_rule: str) -> MapRules:
    rules = rules_at(reservation_service_pb2.CreateReservationRequest.DESCRIPTOR, field).map
    values = rules.values.string
    return MapRules(
        rules.max_pairs,
        re.compile(rules.keys.string.pattern).fullmatch,
        key_rule,
        re.compile(values.pattern).fullmatch,
        values.max_len or _UNBOUNDED,
        value_rule,
    )


_LABELS = _map_rules(
    "labels",
    "1 to 63 letters, digits, '-', '_' or '.', starting with a letter or a digit",
    "up to 63 letters, digits, '-', '_' or '.'",
)
_is_label = re.compile(
    rules_at(sale_service_pb2.ListSalesRequest.DESCRIPTOR, "labels").repeated.items.string.pattern
).fullmatch
_METADATA = _map_rules(
    "metadata",
    "1 to 40 letters, digits, '-', '_' or '.'",
    "up to 500 characters without control characters",
)

Choice = TypeVar("Choice", bound=Enum)


class Checking:
    """`with Checking() as checks:` checks one request. The block raises InvalidRequest if any field is invalid."""

    __slots__ = ("_checks",)

    def __enter__(self) -> "Checks":
        self._checks = Checks()
        return self._checks

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._checks.violations:
            raise InvalidRequest(tuple(self._checks.violations))


class Checks:
    """The checks of one request's fields: see `Checking`."""

    __slots__ = ("violations",)

    def __init__(self) -> None:
        self.violations: list[FieldViolation] = []

    def violated(self, field: str, rule: str) -> None:
        """Record that `field`, a path such as `lines[2].quantity`, breaks `rule`."""
        self.violations.append(FieldViolation(field, rule))

    def broken(self, violations: Iterable[FieldViolation]) -> None:
        """Record violations between several fields."""
        self.violations += violations

    # Names

    def sale(self, field: str, name: str) -> str:
        """Return the id in the name of a sale."""
        match = names.match_sale(name)
        if match is None:
            self.violated(field, "must be a sale's name, sales/{sale}")
            return ""
        return match[1]

    def sale_or_all(self, field: str, name: str) -> str | None:
        """Return the id in the name of a sale; None for `sales/-`, which means all sales."""
        return None if name == names.ALL_SALES else self.sale(field, name)

    def item(self, field: str, name: str) -> tuple[str, str]:
        """Return the ids of sale and item in the name of an item."""
        match = names.match_item(name)
        if match is None:
            self.violated(field, "must be an item's name, sales/{sale}/items/{item}")
            return "", ""
        return match[1], match[2]

    def reservation(self, field: str, name: str) -> tuple[str, UUID]:
        """Return the ids of sale and reservation in the name of a reservation."""
        match = names.match_reservation(name)
        if match is None:
            self.violated(field, "must be a reservation's name, sales/{sale}/reservations/{reservation}")
            return "", _NOBODY
        return match[1], UUID(match[2])

    def schedule(self, field: str, name: str) -> str:
        """Return the id in the name of a schedule."""
        match = names.match_schedule(name)
        if match is None:
            self.violated(field, "must be a schedule's name, saleSchedules/{schedule}")
            return ""
        return match[1]

    def webhook(self, field: str, name: str) -> str:
        """Return the id in the name of a webhook."""
        match = names.match_webhook(name)
        if match is None:
            self.violated(field, "must be a webhook's name, webhooks/{webhook}")
            return ""
        return match[1]

    def delivery(self, field: str, name: str) -> tuple[str, str]:
        """Return the ids of webhook and sale in the name of a delivery."""
        match = names.match_delivery(name)
        if match is None:
            self.violated(field, "must be a delivery's name, webhooks/{webhook}/deliveries/{sale}")
            return "", ""
        return match[1], match[2]

    def resource_id(self, field: str, value: str) -> str:
        """Return the id of a sale, an item or a webhook."""
        if names.match_id(value) is None:
            self.violated(field, ID_RULE)
        return value

    def schedule_id(self, field: str, value: str) -> str:
        """Return the id of a schedule."""
        if names.match_schedule_id(value) is None:
            self.violated(field, _SCHEDULE_ID_RULE)
        return value

    def customer(self, field: str, name: str) -> str:
        """Return the customer in `customers/{customer}`."""
        match = names.match_customer(name)
        if match is None:
            self.violated(field, "must be customers/ and the customer, 1 to 128 characters without control characters")
            return ""
        return match[1]

    # Texts

    def text(self, field: str, value: str) -> str:
        """Return a text that may be empty."""
        if len(value) > MAX_TEXT_CHARACTERS:
            self.violated(field, f"must be at most {MAX_TEXT_CHARACTERS} characters")
        elif not value.isprintable() and not _has_no_control_character(value):
            self.violated(field, "must not have control characters")
        return value

    def required_text(self, field: str, value: str) -> str:
        """Return a text that must not be empty."""
        if not value:
            self.violated(field, f"must be 1 to {MAX_TEXT_CHARACTERS} characters")
        return self.text(field, value)

    def request_id(self, field: str, value: str) -> str:
        """Return a request id; empty means none."""
        if value and _is_visible_ascii(value) is None:
            self.violated(field, "must be 1 to 128 visible ASCII characters")
        return value

    def texts(self, field: str, given: Mapping[str, str], rules: MapRules) -> Mapping[str, str]:
        """Return a map of texts."""
        if len(given) > rules.most:
            self.violated(field, f"must be at most {rules.most} entries")
        for key, value in given.items():
            if rules.is_key(key) is None:
                self.violated(field, f"a key must be {rules.key_rule}")
            elif len(value) > rules.most_characters or rules.is_value(value) is None:
                self.violated(f'{field}["{key}"]', f"must be {rules.value_rule}")
        return given

    def labels(self, field: str, given: Mapping[str, str]) -> Mapping[str, str]:
        """Return labels."""
        return self.texts(field, given, _LABELS)

    def label(self, field: str, label: str) -> str:
        """Return one label, as `key=value`."""
        if _is_label(label) is None:
            self.violated(field, "must be a label, key=value")
        return label

    def metadata(self, field: str, given: Mapping[str, str]) -> Mapping[str, str]:
        """Return metadata."""
        return self.texts(field, given, _METADATA)

    # Numbers and choices

    def number(self, field: str, value: int, low: int, high: int) -> int:
        """Return a number from `low` to `high`."""
        if not low <= value <= high:
            self.violated(field, f"must be {low} to {high}")
        return value

    def choice(self, field: str, number: int, choices: type[Choice]) -> Choice | None:
        """Return the choice with this number in the protos; 0 means none."""
        if number == 0:
            return None
        try:
            return choices(number)
        except ValueError:
            self.violated(field, f"must be one of {', '.join(choice.name for choice in choices)}")
            return None

    # Times

    def duration(self, field: str, value: Duration, low: timedelta, high: timedelta) -> timedelta:
        """Return a duration from `low` to `high`, in whole microseconds."""
        seconds, nanos = value.seconds, value.nanos
        agree = -_NANOS_PER_SECOND < nanos < _NANOS_PER_SECOND and seconds * nanos >= 0
        if agree and -_MAX_DURATION_SECONDS <= seconds <= _MAX_DURATION_SECONDS:
            span = timedelta(seconds=seconds, microseconds=nanos // 1000)
            # Fractions of a microsecond are dropped, but a duration that is too long stays too long.
            if low <= span <= high and (span < high or nanos % 1000 == 0):
                return span
        self.violated(field, f"must be {low.total_seconds():g} s to {high.total_seconds():.15g} s")
        return low

    def timestamp(self, field: str, value: Timestamp) -> datetime:
        """Return a time, in whole microseconds. The first and the last one become their neighbours."""
        seconds, nanos = value.seconds, value.nanos
        if _MIN_TIMESTAMP_SECONDS <= seconds <= _MAX_TIMESTAMP_SECONDS and 0 <= nanos < _NANOS_PER_SECOND:
            return min(max(_EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000), _FIRST_TIME), _LAST_TIME)
        self.violated(field, "must be a time in the years 1 to 9999")
        return _EPOCH

    def time_if_set(self, field: str, request: Message) -> datetime | None:
        """Return the time in a field of a request; None if it is not set."""
        return self.timestamp(field, getattr(request, field)) if request.HasField(field) else None

    # Pages

    def page_size(self, field: str, value: int) -> int:
        """Return the most entries of a page."""
        return self.number(field, value, 0, MAX_PAGE_SIZE) or DEFAULT_PAGE_SIZE

    def page_token(self, field: str, token: str, *bound_to: str) -> str | None:
        """Return the cursor in a page token; None for the first page."""
        if not token:
            return None
        cursor = page_tokens.decode(token, *bound_to)
        if cursor is None:
            self.violated(field, "must be a next_page_token of the same list with the same filters")
        return cursor
