"""What can be wrong with a field, by its type: found in the protos' descriptors, so that a new field is spoiled too."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from google.api import field_behavior_pb2
from google.protobuf.descriptor import FieldDescriptor as Field
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

INT32 = -(2**31), 2**31 - 1
INT64 = -(2**63), 2**63 - 1
LONG = "x" * 10_000

# These are not read in requests, as their comments say; any value must be harmless.
UNREAD = {
    "CreateSaleRequest.sale.name",
    "CreateSaleRequest.sale.items.name",
    "BatchCreateItemsRequest.items.name",
    "CreateItemRequest.item.name",
    "UpdateItemRequest.item.item",
    "CreateItemRequest.item.item",
    "CreateSaleScheduleRequest.sale_schedule.name",
    "CreateSaleScheduleRequest.sale_schedule.template.name",
    "CreateSaleScheduleRequest.sale_schedule.template.open_time",
    "CreateSaleScheduleRequest.sale_schedule.template.close_time",
    "CreateSaleScheduleRequest.sale_schedule.template.items.name",
    "UpdateSaleScheduleRequest.sale_schedule.template.name",
    "UpdateSaleScheduleRequest.sale_schedule.template.open_time",
    "UpdateSaleScheduleRequest.sale_schedule.template.close_time",
    "UpdateSaleScheduleRequest.sale_schedule.template.items.name",
    "UpdateSaleRequest.sale.items",
    "CreateWebhookRequest.webhook.name",
    "SubmitRequest.commands.traceparent",  # An invalid trace context is replaced by a new one, as W3C requires.
    "SubmitRequest.commands.correlation_id",
    # As a header: not looked at where callers need no credential, and elsewhere refused as UNAUTHENTICATED.
    "SubmitRequest.commands.authorization",
}
# These take any whole number that is not negative, or any at all.
NO_CEILING = {"on_hand", "per_customer_limit", "expected_version", "after_sequence", "delta"}
NO_FLOOR = {"delta"}
MOST = {
    "lines": 100,
    "commands": 1000,
    "items": 1000,
    "kinds": 16,
    "exclude_dates": 366,
    "next_open_times": 5,
    "labels": 16,
}
FREE_TEXT = {
    "display_name", "customer", "order", "actor", "resume_token", "traceparent", "correlation_id", "authorization",
}  # fmt: skip


class Spoiled(NamedTuple):
    """One wrong field. `spoil(message)` makes it wrong; `must_refuse`: with an INVALID_REQUEST that names `path`."""

    path: str
    fault: str
    spoil: Callable
    must_refuse: bool


class Place(NamedTuple):
    """A field in a request: the way to it, from the request on."""

    message: object
    fields: tuple

    @property
    def field(self):
        return self.fields[-1]

    @property
    def path(self):
        """Its path in violations; for a repeated field, that of its first value."""
        parts = [each.name + ("[0]" if each.is_repeated else "") for each in self.fields[:-1]]
        return ".".join([*parts, self.field.name])

    @property
    def identity(self):
        return ".".join([self.message.name, *(each.name for each in self.fields)])

    @property
    def is_read(self):
        spellings = [Place(self.message, self.fields[:n]).identity for n in range(1, len(self.fields) + 1)]
        output_only = any(has_behavior(each, "OUTPUT_ONLY") for each in self.fields)
        return not output_only and not UNREAD.intersection(spellings)

    @property
    def is_required(self):
        """Not where it is an alternative of a oneof, or left out within a Submit."""
        return has_behavior(self.field, "REQUIRED") and self.identity != "SubmitRequest.commands.create.parent"

    def owner(self, request):
        """Return the message that has the field, in a request."""
        for each in self.fields[:-1]:
            request = getattr(request, each.name)
            request = request[0] if each.is_repeated else request
        return request


def is_map(field):
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def has_behavior(field, name):
    behaviors = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    return field_behavior_pb2.FieldBehavior.Value(name) in behaviors


def places(request) -> Iterator[Place]:
    """Yield every field of a request and of its messages."""
    yield from _places(request.DESCRIPTOR, request, ())


def _places(root, message, fields):
    for field in message.DESCRIPTOR.fields:
        here = (*fields, field)
        yield Place(root, here)
        nested = field.message_type
        if nested is None or nested.file.package == "google.protobuf" or is_map(field):
            continue
        values = getattr(message, field.name)
        if field.is_repeated and values:
            yield from _places(root, values[0], here)
        elif not field.is_repeated and message.HasField(field.name):
            yield from _places(root, values, here)


def spoiled(place) -> Iterator[Spoiled]:
    """Yield all ways in which the field can be wrong."""
    for fault, spoil, is_wrong in _faults(place.field):
        must_refuse = place.is_read and (is_wrong == "always" or (is_wrong == "required" and place.is_required))

        def apply(request, spoil=spoil):
            spoil(place.owner(request))

        yield Spoiled(place.path, fault, apply, must_refuse)


def _faults(field):
    """Yield what is wrong, how to make it wrong, and when it must be refused: always, if it is required, or never."""
    yield "left out", lambda owner: owner.ClearField(field.name), "required"
    if is_map(field):
        wrong = {
            "with too many entries": [f"k{n}" for n in range(17)],
            "of a wrong key": ["a b"],
            "without a key": [""],
        }
        for fault, keys in wrong.items():
            yield fault, lambda owner, keys=keys: getattr(owner, field.name).update(dict.fromkeys(keys, "v")), "always"
        yield "of a wrong value", lambda owner: getattr(owner, field.name).update({"k": "a\x00"}), "always"
    elif field.is_repeated:
        yield "with too many entries", lambda owner: _repeat(owner, field), "always"
    elif field.message_type is not None:
        yield from _faults_of_messages(field)
    else:
        for fault, value, is_wrong in _FAULTS_OF_TYPE.get(field.type, _nothing)(field.name):
            yield fault, lambda owner, value=value: setattr(owner, field.name, value), is_wrong


def _repeat(owner, field):
    values = getattr(owner, field.name)
    values.extend([values[0] if values else _first(field)] * MOST[field.name])


def _first(field):
    return field.message_type._concrete_class() if field.message_type else 1


def _faults_of_messages(field):
    for fault, value in _VALUES_OF_MESSAGE.get(field.message_type.full_name, {}).items():
        yield fault, lambda owner, value=value: getattr(owner, field.name).CopyFrom(value), "always"


def _faults_of_texts(name):
    yield "too long", LONG, "always"
    yield "with control characters", "a\x00\x1b", "always"
    yield "not ASCII", "Schuh 👟", "never" if name in FREE_TEXT else "always"


def _faults_of_numbers(name, low, high):
    yield "negative", -1, "never" if name in NO_FLOOR else "always"
    yield "hugely negative", low, "never" if name in NO_FLOOR else "always"
    yield "huge", high, "never" if name in NO_CEILING else "always"


def _faults_of_choices(_):
    yield "of no known value", 99, "always"
    yield "of a negative value", -1, "always"


def _nothing(_):
    return ()


_FAULTS_OF_TYPE = {
    Field.TYPE_STRING: _faults_of_texts,
    Field.TYPE_INT32: lambda name: _faults_of_numbers(name, *INT32),
    Field.TYPE_INT64: lambda name: _faults_of_numbers(name, *INT64),
    Field.TYPE_ENUM: _faults_of_choices,
}
_DURATIONS = {
    "negative": Duration(seconds=-1),
    "a negative instant": Duration(nanos=-1),
    "huge": Duration(seconds=INT64[1]),
    "hugely negative": Duration(seconds=INT64[0]),
    "of too many nanoseconds": Duration(seconds=1, nanos=INT32[1]),
    "of two signs": Duration(seconds=1, nanos=-1),
}
_TIMESTAMPS = {
    "huge": Timestamp(seconds=INT64[1]),
    "hugely negative": Timestamp(seconds=INT64[0]),
    "past the year 9999": Timestamp(seconds=253_402_300_800),
    "of negative nanoseconds": Timestamp(seconds=1, nanos=-1),
    "of too many nanoseconds": Timestamp(seconds=1, nanos=INT32[1]),
}
_MASKS = {f"of {path[:20]!r}": FieldMask(paths=[path]) for path in ("nothing", "name", "sale.open_time", LONG, "")}
_VALUES_OF_MESSAGE = {
    Duration.DESCRIPTOR.full_name: _DURATIONS,
    Timestamp.DESCRIPTOR.full_name: _TIMESTAMPS,
    FieldMask.DESCRIPTOR.full_name: _MASKS,
}
