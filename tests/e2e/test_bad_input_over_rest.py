"""Every field of every method, spoiled in every way that JSON, a path and a query allow: 400 and its name."""

import json
from typing import NamedTuple

import aiohttp
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor as Field

from holdfast_gateway.routes import routes_of
from lab.kit.rest_client import CALL_SECONDS
from tests.support.rest_parts import camel_case, parts
from tests.support.sound_requests import SERVICES, VARIANTS, method_of, sound_request
from tests.support.spoiled_fields import FREE_TEXT, LONG, NO_CEILING, NO_FLOOR, is_map, places

ROUTES = {route.rpc.name: route for route in routes_of(SERVICES)}
NO_CUSTOMER = ["x" * 129, "a%00b", "a%0Ab"]
NO_ID = ["x" * 64, "-a", "a%20b", "a%00b", "a%0ab", "%F0%9F%91%9F", "a%2Fb", "%FF%FE"]
NUMBERS = (Field.TYPE_INT32, Field.TYPE_INT64)


class Sent(NamedTuple):
    status: int
    body: object


@pytest.fixture
async def stock(shop):
    """A sale with one item, and a reservation of it."""
    sale = await shop.open_sale(a=100)
    return sale, (await shop.reserve(sale, "c-1", a=1)).name


@pytest.fixture
async def send(cluster):
    """Send a request, given by its parts, and return the answer."""
    timeout = aiohttp.ClientTimeout(total=CALL_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, headers={"Content-Type": "application/json"}) as session:

        async def send_parts(route, path, query, body):
            data = body if isinstance(body, bytes) else json.dumps(body).encode() if route.body else None
            url = aiohttp.client.URL(cluster.url + path, encoded=True).update_query(query)
            async with session.request(route.http_method, url, data=data) as response:
                if response.content_type == "text/event-stream":
                    return Sent(response.status, None)
                return of_the_command(Sent(response.status, await response.json(content_type=None)))

        yield send_parts


def of_the_command(sent):
    """Return the refusal of a Submit's one command, as if it were the answer."""
    outcomes = sent.body.get("outcomes") if isinstance(sent.body, dict) else None
    if not outcomes or "error" not in outcomes[0]:
        return sent
    problem = outcomes[0]["error"]
    return Sent(problem["status"], problem)


def fault_of(sent, path, must_refuse):
    """Return what is wrong with the answer, or None."""
    if sent.status >= 500:
        return f"answered as a fault of ours: {sent}"
    if not must_refuse:
        return None
    if sent.status != 400 or sent.body["reason"] != "INVALID_REQUEST":
        return f"not refused as invalid: {sent}"
    names = [violation["field"] for violation in sent.body.get("violations", ())]
    return None if any(is_about(name, path) for name in names) else f"not named, but {names}"


def is_about(name, path):
    """Return whether a violation names the field, something in it, or one field within the other's command."""
    in_command = path.removeprefix("commands[0].")
    spellings = (path, in_command, in_command.partition(".")[2])
    return any(name == each or name.startswith((f"{each}.", f"{each}[")) for each in spellings if each)


def wrong_values(field):
    """Yield JSON that does not fit a field, with whether it must be refused regardless of the field's rules."""
    name = field.name
    if is_map(field):
        return [(value, True) for value in (5, "x", [], [{}], {"a b": "x"}, {"a": 5}, {"a": LONG}, {"a": "b\x00"})]
    if field.is_repeated:
        of_another_type = 99 if field.type == Field.TYPE_ENUM else 5
        return [(5, True), ("x", True), ({}, True), ([of_another_type], True), ([None], True), ([[]], True)]
    if field.type == Field.TYPE_STRING:
        never_ascii = name not in FREE_TEXT
        return [(5, True), (True, True), ([], True), ({}, True), (LONG, True), ("a\x00b", True), ("👟", never_ascii)]
    if field.type in NUMBERS:
        negative, huge = name not in NO_FLOOR, name not in NO_CEILING
        most = 2**31 - 1 if field.type == Field.TYPE_INT32 else 2**63 - 1
        wrong = ["abc", "", 1.5, 1e300, 10**30, True, [], {}]
        return [(value, True) for value in wrong] + [(-1, negative), (-most - 1, negative), (most, huge)]
    if field.type == Field.TYPE_BOOL:
        return [(value, True) for value in ("yes", "true", 1, 0, [], {})]
    if field.type == Field.TYPE_ENUM:
        return [(value, True) for value in ("NOPE", "", "held", 99, -1, 1.5, True, [], {})]
    return [(value, True) for value in wrong_messages(field.message_type)]


def wrong_messages(message):
    texts = {
        "google.protobuf.Duration": ["abc", "", "-5s", "5", "1e3s", "999999999999999s", "1.5.5s"],
        "google.protobuf.Timestamp": ["yesterday", "", "2026-01-01", "2026-13-01T00:00:00Z", "99999-01-01T00:00:00Z"],
        "google.protobuf.FieldMask": ["nothing", "sale.openTime", LONG, "open_time,"],
    }
    return [*texts.get(message.full_name, ["x"]), 5, True, [], [{}]]


def in_json(place, document):
    """Return the object that has the field in a request's JSON, and the field's name there."""
    for field in place.fields[:-1]:
        document = document[field.json_name]
        document = document[0] if field.is_repeated else document
    return document, place.field.json_name


def is_read(place):
    return place.is_read and place.field.name not in ("traceparent", "correlation_id", "authorization")


@pytest.mark.parametrize("variant", [variant for variant in VARIANTS if ROUTES[method_of(variant).name].body])
async def test_wrong_json_is_refused_by_the_name_of_its_field(stock, send, variant):
    route, faults = ROUTES[method_of(variant).name], []
    in_path = {variable.field_path for variable in route.variables}
    for place in places(sound_request(variant, *stock)):
        names = tuple(field.name for field in place.fields)
        if names in in_path or route.body not in ("*", names[0]) or names == (route.body,):
            continue
        path = ".".join(camel_case(part) for part in place.path.split("."))
        for value, always in wrong_values(place.field):
            document = json_format.MessageToDict(sound_request(variant, *stock))
            owner, name = in_json(place, document)
            owner[name] = value
            sent = await send(route, *parts(route, document))
            # Fields that are not read are checked, too: a wrong type is refused, a wrong value is not.
            must_refuse = always and (is_read(place) or not fits(place.field, value))
            if fault := fault_of(sent, path, must_refuse):
                faults.append(f"{path} = {str(value)[:40]!r}: {fault}")
    assert not faults, "\n".join(faults)


def fits(field, value):
    """Return whether a value is of the field's JSON type, if not within its rules."""
    try:
        json_format.ParseDict({field.json_name: value}, field.containing_type._concrete_class())
    except json_format.ParseError:
        return False
    return True


@pytest.mark.parametrize("variant", VARIANTS)
async def test_required_fields_that_are_left_out_or_null_are_named(stock, send, variant):
    route, faults = ROUTES[method_of(variant).name], []
    in_path = {variable.field_path for variable in route.variables}
    for place in places(sound_request(variant, *stock)):
        names = tuple(field.name for field in place.fields)
        in_query = route.body != "*" and names[0] != route.body
        if not place.is_required or not place.is_read or names in in_path or names == (route.body,):
            continue
        for is_null in (False, True)[: 1 if in_query else 2]:
            document = json_format.MessageToDict(sound_request(variant, *stock))
            owner, name = in_json(place, document)
            del owner[name]
            if is_null:
                owner[name] = None
            path = ".".join(camel_case(part) for part in place.path.split("."))
            if fault := fault_of(await send(route, *parts(route, document)), path, must_refuse=True):
                faults.append(f"{path} {'null' if is_null else 'left out'}: {fault}")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("variant", [variant for variant in VARIANTS if "/" not in variant])
async def test_wrong_query_is_refused_by_the_name_of_its_parameter(stock, send, variant):
    route, faults = ROUTES[method_of(variant).name], []
    sound = sound_request(variant, *stock)
    in_path = {variable.field_path[0] for variable in route.variables}
    for place in places(sound):
        field = place.field
        if len(place.fields) > 1 or route.body in ("*", field.name) or field.name in in_path:
            continue
        path, query, body = parts(route, json_format.MessageToDict(sound))
        for text, always in wrong_texts(field):
            sent = await send(route, path, {**query, field.json_name: text}, body)
            if fault := fault_of(sent, field.json_name, always and place.is_read):
                faults.append(f"{field.json_name}={text[:40]!r}: {fault}")
        for name in ("nothing", field.json_name + ".nothing", field.json_name.upper()):
            sent = await send(route, path, {**query, name: "1"}, body)
            if fault := fault_of(sent, name, must_refuse=True):
                faults.append(f"{name}: {fault}")
    assert not faults, "\n".join(faults)


def wrong_texts(field):
    if field.type in NUMBERS:
        most = str(2**31 - 1 if field.type == Field.TYPE_INT32 else 2**63 - 1)
        huge = field.name not in NO_CEILING
        return [("abc", True), ("", True), ("1.5", True), ("9" * 30, True), ("-1", True), (most, huge)]
    if field.type == Field.TYPE_ENUM:
        return [("NOPE", True), ("99", True), ("-1", True), ("", True)]
    if field.message_type is not None:
        return [("nothing", True), ("5", True)]
    return [(LONG, True), ("a\x00b", True), ("👟", field.name not in FREE_TEXT)]


@pytest.mark.parametrize("variant", [variant for variant in VARIANTS if "/" not in variant])
async def test_wrong_ids_in_the_path_are_refused(stock, send, variant):
    route, faults = ROUTES[method_of(variant).name], []
    path, query, body = parts(route, json_format.MessageToDict(sound_request(variant, *stock)))
    for variable in route.variables:
        for position in range(variable.start, variable.end):
            if route.segments[position] != "*":
                continue
            for wrong in NO_CUSTOMER if route.segments[position - 1] == "customers" else NO_ID:
                segments = path.partition(":")[0].split("/")
                segments[position + 1] = wrong
                verb = f":{route.verb}" if route.verb else ""
                sent = await send(route, "/".join(segments) + verb, query, body)
                if sent.status not in (400, 404) or "reason" not in sent.body:
                    faults.append(f"{wrong}: {sent}")
    assert not faults, "\n".join(faults)


NO_DOCUMENTS = [
    b"",
    b"{",
    b"[]",
    b'"x"',
    b"5",
    b"null",
    b"\xff\xfe",
    b'{"customer": "\xff"}',
    b'{"customer": "\\ud800"}',
]
NO_DOCUMENTS += [b'{"nothing": 1}', b'{"a":' * 2000 + b"1" + b"}" * 2000, b"[" * 100_000, b'{"customer": NaN}']


@pytest.mark.parametrize("body", NO_DOCUMENTS, ids=lambda body: repr(body[:24]))
async def test_bodies_that_are_no_document_are_refused(stock, send, body):
    route = ROUTES["CreateReservation"]
    sent = await send(route, f"/v1/{stock[0]}/reservations", {}, body)
    assert (sent.status, sent.body["reason"]) == (400, "INVALID_REQUEST")


async def test_unknown_fields_are_refused_by_name(stock, send):
    route = ROUTES["CreateReservation"]
    document = {"customer": "c", "lines": [{"item": "a", "quantity": 1, "colour": "red"}]}
    sent = await send(route, f"/v1/{stock[0]}/reservations", {}, document)
    assert sent.body["violations"][0]["field"] == "lines[0].colour"


HEADERS = {
    "Idempotency-Key": ["", " ", "x" * 129, "zwei Worte", "Schlüssel", "a\tb"],
    "X-Request-Timeout": ["", "-1", "0", "abc", "1e3", "NaN", "9" * 30],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in HEADERS for value in HEADERS[name]])
async def test_wrong_headers_are_refused_by_name(stock, rest, name, value):
    body = {"customer": "c", "lines": [{"item": "a", "quantity": 1}]}
    answer = await rest.post(f"/v1/{stock[0]}/reservations", body, **{name: value})
    assert (answer.status, answer.reason) == (400, "INVALID_REQUEST")
    assert answer.body["violations"][0]["field"] == name


@pytest.mark.parametrize("name", ["X-Request-Id", "traceparent", "Last-Event-ID", "Accept-Language", "Origin"])
async def test_other_wrong_headers_do_no_harm(stock, rest, name):
    for value in ("", "x" * 5000, "Schlüssel", "00-0-0-00", "\t"):
        body = {"customer": "c", "lines": [{"item": "a", "quantity": 1}]}
        answer = await rest.post(f"/v1/{stock[0]}/reservations", body, **{name: value})
        assert answer.status in (200, 409), (value, answer)
