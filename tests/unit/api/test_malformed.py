"""A request that cannot be decoded names the field at fault."""

import pytest

from holdfast.inventory.v1 import reservation_service_pb2 as pb
from holdfast_inventory.api.malformed import fault_in

SUBMIT = pb.SubmitRequest.DESCRIPTOR


def encoded(number, data):
    """Return a length-delimited field."""
    return bytes([number << 3 | 2, len(data)]) + data


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (encoded(1, b"sales/\xff"), "parent"),
        (encoded(1, b"sales/x") + encoded(2, encoded(1, encoded(2, b"\xc3\x28"))), "commands[0].create.customer"),
        (
            encoded(2, encoded(6, b"ok")) + encoded(2, encoded(1, encoded(3, b"") + encoded(3, encoded(1, b"\xff")))),
            "commands[1].create.lines[1].item",
        ),
        (encoded(2, b"\xff\xff"), "commands[0]"),
        (b"\xff\xff\xff", ""),
        (b"", ""),
    ],
)
def test_the_field_at_fault_is_named(raw, field):
    assert fault_in(raw, SUBMIT).field == field
