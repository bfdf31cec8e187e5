"""Every field of every method, spoiled in every way that its type allows, over gRPC: INVALID_REQUEST that names it."""

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor as Field

from holdfast.inventory.v1 import reservation_service_pb2 as rs
from lab.kit.grpc_client import CALL_SECONDS, outcome
from lab.kit.refusals import Refused, refused, told
from tests.support.sound_requests import METHODS, VARIANTS, method_of, sound_request
from tests.support.spoiled_fields import places, spoiled

OUR_FAULT = {"INTERNAL", "UNKNOWN", "UNIMPLEMENTED", "DATA_LOSS", "UNAVAILABLE", "DEADLINE_EXCEEDED"}
PLACEHOLDER = "placeholder-of-some-length"
NOT_UTF8 = b"\xff\xfe" * (len(PLACEHOLDER) // 2)
VARINT, LENGTH_DELIMITED = 0, 2


@pytest.fixture
async def stock(shop):
    """A sale with one item, and a reservation of it."""
    sale = await shop.open_sale(a=100)
    return sale, (await shop.reserve(sale, "c-1", a=1)).name


@pytest.fixture
def send(shop):
    """Send raw bytes to a method. Return the refusal of the call, or of its one command, or None."""

    async def send_raw(method, raw):
        path = f"/{method.containing_service.full_name}/{method.name}"
        if method.server_streaming:
            return await first_of(shop.channel.unary_stream(path)(raw, timeout=CALL_SECONDS))
        answer = await outcome(shop.channel.unary_unary(path)(raw, timeout=CALL_SECONDS))
        if isinstance(answer, Refused):
            return answer
        if method.name == "Submit":
            one = rs.SubmitResponse.FromString(answer).outcomes[0]
            return told(one.error, code_name(one.error.code)) if one.HasField("error") else None
        return None

    return send_raw


async def first_of(stream):
    try:
        await stream.read()
    except grpc.aio.AioRpcError as error:
        return refused(error)
    stream.cancel()
    return None


def code_name(number):
    return next(code.name for code in grpc.StatusCode if code.value[0] == number)


def fault_of(refusal, path, must_refuse):
    """Return what is wrong with the answer, or None."""
    if refusal is not None and (refusal.code in OUR_FAULT or refusal.reason == "INTERNAL"):
        return f"answered as a fault of ours: {refusal}"
    if not must_refuse:
        return None
    if refusal is None:
        return "taken"
    if (refusal.code, refusal.reason) != ("INVALID_ARGUMENT", "INVALID_REQUEST"):
        return f"refused as something else: {refusal}"
    return None if any(is_about(name, path) for name in refusal.violations) else f"not named: {refusal.violations}"


def is_about(name, path):
    """Return whether a violation names the field, or something in it. Fields of a command are named within it."""
    in_command = path.removeprefix("commands[0].")
    spellings = (path, in_command, in_command.partition(".")[2])
    return any(name == each or name.startswith((f"{each}.", f"{each}[")) for each in spellings if each)


def test_every_method_is_covered():
    assert {method_of(variant).name for variant in VARIANTS} == set(METHODS)


@pytest.mark.parametrize("variant", VARIANTS)
async def test_sound_requests_are_sound(stock, send, variant):
    """If not, the tests below would be refused because of another field."""
    refusal = await send(method_of(variant), sound_request(variant, *stock).SerializeToString())
    assert refusal is None or refusal.reason != "INVALID_REQUEST", refusal


@pytest.mark.parametrize("variant", VARIANTS)
async def test_each_spoiled_field_is_refused_by_its_name(stock, send, variant):
    faults = []
    for place in places(sound_request(variant, *stock)):
        for case in spoiled(place):
            request = sound_request(variant, *stock)
            case.spoil(request)
            refusal = await send(method_of(variant), request.SerializeToString())
            if fault := fault_of(refusal, case.path, case.must_refuse):
                faults.append(f"{case.path} {case.fault}: {fault}")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("variant", VARIANTS)
async def test_text_that_is_not_utf8_is_refused_by_its_name(stock, send, variant):
    faults = []
    for place in places(sound_request(variant, *stock)):
        if place.field.type != Field.TYPE_STRING or place.field.is_repeated:
            continue
        request = sound_request(variant, *stock)
        setattr(place.owner(request), place.field.name, PLACEHOLDER)
        raw = request.SerializeToString().replace(PLACEHOLDER.encode(), NOT_UTF8)
        if fault := fault_of(await send(method_of(variant), raw), place.path, must_refuse=True):
            faults.append(f"{place.path}: {fault}")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("variant", VARIANTS)
async def test_fields_of_another_wire_type_are_as_good_as_left_out(stock, send, variant):
    faults = []
    request = sound_request(variant, *stock)
    for place in places(request):
        if len(place.fields) > 1:
            continue
        raw = without(request, place.field.name) + of_another_type(place.field)
        if fault := fault_of(await send(method_of(variant), raw), place.path, must_refuse=place.is_required):
            faults.append(f"{place.path}: {fault}")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("variant", VARIANTS)
async def test_bytes_that_are_no_message_are_refused(stock, send, variant):
    raw = sound_request(variant, *stock).SerializeToString()
    for garbage in (raw + b"\xff", b"\xff" * 50, b"\x0a\xff\xff\xff\xff\x0f", b"\x00"):
        refusal = await send(method_of(variant), garbage)
        assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST"), (garbage, refusal)


async def test_request_over_the_limit_is_refused(shop):
    request = rs.CreateReservationRequest(parent="sales/a", customer="x" * 5_000_000)
    answer = await outcome(shop.reservations.CreateReservation(request, timeout=CALL_SECONDS))
    assert answer.code == "RESOURCE_EXHAUSTED"


def without(request, name):
    copy = type(request)()
    copy.CopyFrom(request)
    copy.ClearField(name)
    return copy.SerializeToString()


def of_another_type(field):
    """Return the field as a text if it is a number, and as a number if it is a text."""
    is_number = field.type in (Field.TYPE_INT32, Field.TYPE_INT64, Field.TYPE_BOOL, Field.TYPE_ENUM)
    tag = field.number << 3 | (LENGTH_DELIMITED if is_number else VARINT)
    return bytes([tag]) + (b"\x03abc" if is_number else b"\x05")
