"""Request ids: from the Idempotency-Key header or, if it is missing, generated, so that retries are safe."""

import re
from collections.abc import Callable
from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from holdfast_gateway.exchange import RequestHeaders
from holdfast_gateway.problems import refuse_field
from holdfast_gateway.routes import DynamicMessage

HEADER = "Idempotency-Key"
_NAME = HEADER.lower()
_VISIBLE_ASCII = re.compile(r"[!-~]{1,128}")
_FIELD = "request_id"


def key_of(headers: RequestHeaders) -> str | None:
    """Return the Idempotency-Key as it was sent."""
    return headers.get(_NAME)


def set_request_id(message: Message, key: str | None, make: Callable[[], str]) -> None:
    """Set the request id of the message to `key`, and those of its commands to what `make` returns.

    Raises ProblemError if the key is malformed, differs from the body, or is not supported here.
    """
    plan = _plan(message.DESCRIPTOR)
    if key is not None:
        _set_key(message, key, plan)
    if plan is not None:
        plan(message, make)


def _set_key(message: DynamicMessage, key: str, plan: "Callable[..., None] | None") -> None:
    if not _VISIBLE_ASCII.fullmatch(key):
        refuse_field(HEADER, "must be 1 to 128 visible ASCII characters, and appear once")
    if _FIELD in message.DESCRIPTOR.fields_by_name:
        if message.request_id not in ("", key):
            refuse_field("requestId", f"differs from the {HEADER} header")
        message.request_id = key
    elif plan is not None:
        refuse_field(HEADER, "is not for a request of several commands: give each its own requestId")


@cache
def _plan(descriptor: Descriptor) -> Callable[[DynamicMessage, Callable[[], str]], None] | None:
    """Return a function that sets missing request ids in messages of this type; None if the type has no such field."""
    takes_one = _FIELD in descriptor.fields_by_name
    inner = [(field.name, plan) for field in descriptor.fields if (plan := _plan_of(field))]
    if not takes_one and not inner:
        return None

    def fill(message: DynamicMessage, make: Callable[[], str]) -> None:
        if takes_one and not message.request_id:
            message.request_id = make()
        for name, fill_field in inner:
            fill_field(message, name, make)

    return fill


def _plan_of(field: FieldDescriptor) -> Callable[[DynamicMessage, str, Callable[[], str]], None] | None:
    plan = _plan(field.message_type) if field.message_type is not None else None
    if plan is None:
        return None

    def fill_each(message: DynamicMessage, name: str, make: Callable[[], str]) -> None:
        for each in getattr(message, name):
            plan(each, make)

    def fill_one(message: DynamicMessage, name: str, make: Callable[[], str]) -> None:
        if message.HasField(name):
            plan(getattr(message, name), make)

    return fill_each if field.is_repeated else fill_one
