"""Holdfast's checks and protovalidate agree on every field, from the same annotations."""

import protovalidate
import pytest
from google.api import field_behavior_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast_chassis.field_rules import rules_of
from holdfast_inventory.domain.errors import InvalidRequest
from tests.unit.api import requests
from tests.unit.api.requests import CHECKS

# Rules that need more than one field, or a secret: only Holdfast checks them.
OURS_ALONE = {
    "may be set only with confirm",
    "must be after open_time",
    "must be at most max_hold_time",
    "must be at most the period",
    "must be less than the period",
    "must be after start_time",
    "must be at least the template's early_access",
    "must be set, or calendar",
    "must not be set together with calendar",
    "must be in IANA's database of time zones",
    "must be set: the remainder returns to it",
    "must be a whole number of seconds",
    "must not appear twice",
    "must be an item of another sale than source",
    "must be a next_page_token of the same list with the same filters",
    "must be a next_page_token of the same list",
}
# Rules that hang on where a message is: an item's id is its sale's to ask for, a create's parent is not for a Submit,
# and of a sale to update only what the mask names is read. What a page token is, only its list knows.
BY_PLACE = (
    "parent", "sale.name", "webhook.name", "sale.open_time", "sale_schedule.name", "update_mask", "page_token",
    "item.item", "item.name",
)  # fmt: skip

validator = protovalidate.Validator()
texts = st.sampled_from(["", "a", "-a", "a b", "a\x7f", "a\n", "\u2603", "x" * 46, "x" * 47, "x" * 63, "x" * 64])
long_texts = st.sampled_from(["x" * 128, "x" * 129, "\u2603" * 128, "x" * 256, "x" * 257, "x" * 1024, "x" * 1025])
names = st.sampled_from(
    [
        "sales/a",
        "sales/-",
        "sales/a/items/b",
        "sales/a/items/",
        "saleSchedules/h",
        f"saleSchedules/{'x' * 47}",
        requests.RESERVATION,
        requests.RESERVATION.replace("-", ""),
        requests.RESERVATION + "\n",
    ]
)
EDGES_SECONDS = [0, 1, 59, 60, 3600, 30 * 86400, 366 * 86400]
durations = st.builds(
    lambda seconds, nanos: Duration(seconds=seconds, nanos=nanos if seconds >= 0 else 0),
    st.sampled_from([-1, *EDGES_SECONDS, *(edge + 1 for edge in EDGES_SECONDS)]),
    st.sampled_from([0, 1, 999, 999_999, 1_000_000, 1_000_001, 999_999_999]),
)
times = st.sampled_from([Timestamp(), Timestamp(seconds=-1), Timestamp(seconds=1893456000)])


def values(field):
    """Values of a field that are, or just are not, within what any rule allows."""
    if field.message_type is not None:
        return {Duration.DESCRIPTOR: durations, Timestamp.DESCRIPTOR: times}[field.message_type]
    if field.enum_type is not None:
        return st.sampled_from([-1, 0, *field.enum_type.values_by_number, max(field.enum_type.values_by_number) + 1])
    if field.type in (FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64):
        rules = rules_of(field)
        bounds = {0, rules.int32.gte, rules.int32.lte, 1000, 2**31 - 1}
        near = {bound + step for bound in bounds for step in (-1, 0, 1)}
        return st.sampled_from(sorted(number for number in near if number < 2**31)) | st.just(-(2**31))
    return texts | long_texts | names


def leaves(message):
    """Every field of a valid request, and of what it carries, that has rules and whose value is no message of ours.

    Not the commands of a Submit: they are checked as the methods that they are like. Not maps either, whose violations
    have other paths.
    """
    for field in message.DESCRIPTOR.fields:
        if (
            field.type == FieldDescriptor.TYPE_BOOL
            or behaves_as_told(field)
            or field.name in {"commands", "labels", "metadata"}
        ):
            continue
        if field.message_type is None or field.message_type in (Duration.DESCRIPTOR, Timestamp.DESCRIPTOR):
            if not field.is_repeated:
                yield message, field
        elif field.message_type.file.package != "google.protobuf":
            carried = getattr(message, field.name)
            for each in carried if field.is_repeated else [carried] if message.HasField(field.name) else []:
                yield from leaves(each)


def behaves_as_told(field):
    return field_behavior_pb2.OUTPUT_ONLY in field.GetOptions().Extensions[field_behavior_pb2.field_behavior]


def change(message, field, value):
    if field.message_type is not None:
        getattr(message, field.name).CopyFrom(value)
    else:
        setattr(message, field.name, value)


def ours(make, request):
    try:
        CHECKS[make](request)
    except InvalidRequest as refused:
        return {violation.field for violation in refused.violations if violation.description not in OURS_ALONE}
    return set()


def theirs(request):
    return {path(violation.proto.field) for violation in validator.collect_violations(request)}


def path(field):
    parts = []
    for element in field.elements:
        subscript = element.subscript
        parts.append(element.field_name + (f"[{subscript.value}]" if subscript is not None else ""))
    return ".".join(parts)


def told(paths):
    """Without what hangs on the place of a message."""
    return {each for each in paths if not each.startswith(BY_PLACE) and not is_item_of_sale(each)}


def is_item_of_sale(each):
    return each.endswith(".item") and "items[" in each


@pytest.mark.parametrize("make", CHECKS, ids=lambda make: make.__name__)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_our_checks_and_protovalidate_find_the_same_fields(make, data):
    request = make()
    if make is requests.update_sale:
        del request.sale.items[:]
    fields = list(leaves(request))
    for index in data.draw(st.lists(st.integers(0, len(fields) - 1), max_size=3, unique=True)):
        owner, field = fields[index]
        change(owner, field, data.draw(values(field)))
    assert told(ours(make, request)) == told(theirs(request))


@pytest.mark.parametrize("make", CHECKS, ids=lambda make: make.__name__)
def test_a_valid_request_is_valid_to_protovalidate(make):
    assert theirs(make()) == set()


@pytest.mark.parametrize(
    ("make", "name", "most"),
    [(requests.create_reservation, "lines", 100), (requests.submit, "commands", 1000)],
)
def test_lists_are_as_long_to_both(make, name, most):
    for count in (0, 1, most, most + 1):
        request = make()
        first = getattr(request, name)[0]
        del getattr(request, name)[:]
        getattr(request, name).extend([first] * count)
        assert (name in ours(make, request)) == (name in theirs(request)) == (not 1 <= count <= most)
