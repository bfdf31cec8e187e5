"""The OpenAPI 3.1 document, generated from the same descriptors as the routes."""

from collections.abc import Iterator, Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from holdfast_chassis.contract import REASONS, Kind
from holdfast_chassis.field_rules import rules_of
from holdfast_gateway import problems, rows, sse
from holdfast_gateway.exchange import SECONDS_PATTERN
from holdfast_gateway.field_behavior import behaves
from holdfast_gateway.json_schema import Schema, Schemas, example_of
from holdfast_gateway.proto_comments import proto_comments
from holdfast_gateway.routes import Route, field_at

Operation = dict[str, Any]

_ABOUT = """Limited stock, sold to a stampede: never a unit twice, never an acknowledged sale lost.

Send an `Idempotency-Key` with each request that must be executed once; repeat the request with the same key while a
refusal says `retryable`. gRPC has the same methods, with the same names."""

_CREDENTIALS = """A token (JWT) of the service's issuer, or an API key. Its scopes say what it may do; a buyer's, which
has `reservations.own` alone, acts for the customer that it names."""

_TEXT: Schema = {"type": "string"}
_ANSWER_HEADERS = {
    "X-Request-Id": ("The id of the request, as it was sent or generated.", _TEXT),
    "X-Deployment-Version": ("The version of the build that answered.", _TEXT),
    "Idempotent-Replayed": (
        "`true` if the request had been executed before: the answer is its result in the present state.",
        {"type": "string", "enum": ["true"]},
    ),
    "Link": ('If the answer has rows and there is a next page: its URL, with `rel="next"` (RFC 8288).', _TEXT),
    "Next-Page-Token": ("If the answer has rows and there is a next page: its token.", _TEXT),
    "WWW-Authenticate": ("The required credential, and what is wrong with the one that was sent (RFC 6750).", _TEXT),
    "Retry-After": ("The seconds after which to retry, as a whole number.", {"type": "integer", "minimum": 1}),
}
_REQUEST_HEADERS = {
    "X-Request-Id": (
        "To find the request in logs: 1 to 128 letters, digits and `._:/+=@-`. Anything else is replaced.",
        _TEXT,
    ),
    "X-Request-Timeout": (
        "The seconds that the caller waits, as a decimal number, up to a maximum.",
        {**_TEXT, "pattern": f"^({SECONDS_PATTERN})$", "examples": ["2.5"]},
    ),
    "traceparent": ("W3C trace context. Anything else is replaced.", _TEXT),
    "Idempotency-Key": (
        "Executes the request once, even if it is sent several times: 1 to 128 visible ASCII characters.",
        {**_TEXT, "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$"},
    ),
    "Holdfast-Admission": (
        "The admission token for this sale and customer, if the sale requires one or gives early access.",
        _TEXT,
    ),
    "Last-Event-ID": ("The id of the last event that was received: continue after it.", _TEXT),
}
# The statuses of refusals: of any operation, and of only some.
_REFUSALS = {
    400: "A field breaks a rule; `violations` names it.",
    401: "The credential is missing or invalid; see `WWW-Authenticate`.",
    403: "The caller may not do this, or not for another customer; `metadata.scope` has the scopes that allow it.",
    404: "The resource does not exist.",
    405: "The path does not support this method.",
    406: "None of the accepted media types is supported.",
    409: "The state of the sale, the item or the reservation forbids it",
    415: "The body is not JSON, or it is compressed.",
    422: "The Idempotency-Key was used for another request",
    429: "Too many requests.",
    500: "Internal error.",
    501: "The inventory does not know this method yet.",
    503: "The service is not available, or the outcome is not known. Repeat the request with the same key.",
    504: "Not begun in time; nothing was done.",
}
_OF_SOME = {409, 415, 422}
_PAGES = {
    "/health": ("Health with details", "Of the gateway, the inventory, the database and Redis."),
    "/health/live": ("Liveness", "Also 200 during a drain."),
    "/health/ready": ("Readiness", "503 if the inventory is not available or a drain has begun."),
    "/health/startup": ("Startup", "503 until it has started."),
}


def openapi_document(routes: Sequence[Route], version: str, *, knows_callers: bool) -> dict[str, Any]:
    """Return the document for the routes; `knows_callers`: every call needs a credential."""
    schemas = Schemas(proto_comments())
    paths: dict[str, dict[str, Operation]] = {}
    for route in routes:
        paths.setdefault(_path(route)[0], {})[route.http_method.lower()] = _operation(route, schemas) | {
            "security": [{"bearer": []}, *([] if knows_callers else [{}])]
        }
    for path, (summary, description) in _PAGES.items():
        paths[path] = {"get": _page(path, summary, description)}
    services = {route.rpc.containing_service for route in routes}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Holdfast",
            "version": version,
            "description": _ABOUT,
            "contact": {"name": "Holdfast"},
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": service.name, "description": schemas.comment(service.full_name)}
            for service in sorted(services, key=lambda service: service.name)
        ]
        + [{"name": "Health", "description": "Of the gateway and of what it needs."}],
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "description": _CREDENTIALS}},
            "schemas": {**schemas.components, "Problem": _problem_schema()},
            "headers": {
                name: {"description": description, "schema": schema}
                for name, (description, schema) in _ANSWER_HEADERS.items()
            },
            "parameters": {
                name: {"name": name, "in": "header", "description": description, "schema": schema}
                for name, (description, schema) in _REQUEST_HEADERS.items()
            },
            "responses": {
                "Problem": _problem_response("Refused."),
                **{
                    f"Problem{status}": _problem_response(text, status)
                    for status, text in _REFUSALS.items()
                    if status not in (409, 422)
                },
            },
        },
    }


def _operation(route: Route, schemas: Schemas) -> Operation:
    comment = schemas.comment(route.rpc.full_name)
    operation: Operation = {
        "operationId": route.rpc.name,
        "tags": [route.rpc.containing_service.name],
        "summary": comment.partition(". ")[0].partition("\n")[0].rstrip(".:"),
        "description": f"{comment}\n\nIt takes the scope {' or '.join(f'`{scope}`' for scope in route.method.scopes)}.",
        "x-scopes": list(route.method.scopes),
        "parameters": [*_parameters(route, schemas)],
        "responses": {
            "200": _response(route, schemas),
            **{str(status): _refusal(route, status) for status in _REFUSALS if _may_be(route, status)},
            "default": {"$ref": "#/components/responses/Problem"},
        },
    }
    if route.body:
        operation["requestBody"] = _request_body(route, schemas)
    return operation


def _may_be(route: Route, status: int) -> bool:
    """Return whether an operation may be refused with a status."""
    if status == 415:
        return bool(route.body)
    return status not in _OF_SOME or any(REASONS[name].http_status == status for name in route.method.refusals)


def _refusal(route: Route, status: int) -> Schema:
    """Return the response for refusals with a status. It lists the reasons that the method has."""
    reasons = [REASONS[name] for name in route.method.refusals if REASONS[name].http_status == status]
    if not reasons:
        return {"$ref": f"#/components/responses/Problem{status}"}
    told = "\n".join(f"- `{reason.name}`: {reason.title}." for reason in reasons)
    text = _REFUSALS[status] if status in _OF_SOME else f"{_REFUSALS[status]} Or"
    response = _problem_response(f"{text}:\n\n{told}", status)
    response["content"][problems.MEDIA_TYPE]["examples"] = {
        reason.name: {"value": problems.Problem(reason, f"{reason.title}.").document("7f3c9a1e")} for reason in reasons
    }
    return response


def _parameters(route: Route, schemas: Schemas) -> Iterator[Schema]:
    yield from _path_parameters(route)
    if route.body != "*":
        yield from _query_parameters(route, schemas)
    headers = ["X-Request-Id", "X-Request-Timeout", "traceparent"]
    headers += ["Idempotency-Key"] if route.takes_request_id else []
    headers += ["Holdfast-Admission"] if route.takes_admission_token else []
    headers += ["Last-Event-ID"] if route.method.kind is Kind.WATCH else []
    for header in headers:
        yield {"$ref": f"#/components/parameters/{header}"}


def _path_parameters(route: Route) -> Iterator[Schema]:
    names = iter(_path(route)[1])
    for variable in route.variables:
        field = field_at(route.rpc.input_type, variable.field_path)
        for position in range(variable.start, variable.end):
            if route.segments[position] == "*":
                name, literal = next(names)
                yield {
                    "name": name,
                    "in": "path",
                    "required": True,
                    "description": f"The id of one of the {literal}.",
                    "schema": {**_TEXT, **_rules_of_segment(field, position - variable.start)},
                }


def _rules_of_segment(field: FieldDescriptor, position: int) -> Schema:
    """Return the schema of one segment of a name, from the rules of its field."""
    rules = rules_of(field).string
    if not rules.pattern:  # the name of a resource in the body, as its own method has it
        return {"pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$", "examples": ["drop-1"]}
    segment = rules.pattern.strip("^$").split("/")[position].removeprefix("(").removesuffix(")")
    return {"pattern": f"^{segment}$", "examples": [rules.example[0].split("/")[position]]}


def _query_parameters(route: Route, schemas: Schemas) -> Iterator[Schema]:
    elsewhere = {variable.field_path[0] for variable in route.variables} | {route.body}
    for field in route.rpc.input_type.fields:
        if field.name not in elsewhere:
            schema = schemas.sent(field)
            yield {
                "name": field.json_name,
                "in": "query",
                "required": behaves(field, "REQUIRED"),
                "description": schema.pop("description", ""),
                "schema": schema,
            }


def _request_body(route: Route, schemas: Schemas) -> Schema:
    message = route.rpc.input_type
    if route.body == "*":
        # The body may contain these, too, but documenting two places would invite two values.
        elsewhere = {variable.field_path[0] for variable in route.variables} | {"request_id", "admission_token"}
        schema = schemas.request(message, f"{route.rpc.name}Body", without=elsewhere)
    else:
        schema = schemas.sent(message.fields_by_name[route.body])
    resolved = schemas.components[schema["$ref"].rpartition("/")[2]]
    required = bool(resolved.get("required")) or route.body != "*"
    example = example_of(schema, schemas.components)
    content: Schema = {"schema": schema}
    if example is not None:
        content["example"] = example
    body: Schema = {"required": required, "content": {"application/json": content}}
    if rows.rows_in(route) is not None:
        body["content"] |= {media_type: {"schema": _TEXT} for media_type in (rows.JSON_LINES, rows.CSV)}
    return body


def _response(route: Route, schemas: Schemas) -> Schema:
    message = route.rpc.output_type
    schema = schemas.answer(message)
    headers = ["X-Request-Id", "X-Deployment-Version"]
    if not route.rpc.server_streaming:
        headers += [] if route.method.kind.changes_nothing else ["Idempotent-Replayed"]
        if rows.rows_of(message) is None:
            return _described_response("Done.", "application/json", schema, headers)
        return _list_response(schema, headers)
    text = (
        f"An endless stream of server-sent events, for EventSource. The data of each event is a "
        f"{message.name} in JSON, its id the resume token, its name the field of `event` that is set. An event named "
        "`error` has a Problem as its data, and is the last one."
    )
    events = {**_TEXT, "format": "event-stream", "contentMediaType": "application/json", "contentSchema": schema}
    return _described_response(text, sse.MEDIA_TYPE, events, headers)


def _list_response(schema: Schema, headers: list[str]) -> Schema:
    text = (
        "Done. As rows, if Accept asks for them: JSON Lines or CSV, whose first row has the names of the columns, and "
        "in which a value that is an object or a list is JSON."
    )
    response = _described_response(text, "application/json", schema, [*headers, "Link", "Next-Page-Token"])
    response["content"] |= {media_type: {"schema": _TEXT} for media_type in (rows.JSON_LINES, rows.CSV)}
    return response


def _described_response(text: str, media_type: str, schema: Schema, headers: list[str]) -> Schema:
    return {
        "description": text,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in headers},
        "content": {media_type: {"schema": schema}},
    }


def _problem_response(text: str, status: int | None = None) -> Schema:
    schema = {"$ref": "#/components/schemas/Problem"}
    headers = ["X-Request-Id", "X-Deployment-Version", "WWW-Authenticate" if status in (401, 403) else "Retry-After"]
    return _described_response(text, problems.MEDIA_TYPE, schema, headers)


def _problem_schema() -> Schema:
    violation = {"type": "object", "additionalProperties": _TEXT}
    return {
        "type": "object",
        "description": "Why a request was refused (RFC 9457).",
        "required": ["type", "title", "status", "detail", "reason", "retryable"],
        "properties": {
            "type": {
                **_TEXT,
                "format": "uri",
                "description": "An identifier of the reason, not the address of a page.",
            },
            "title": {**_TEXT, "description": "The reason in words."},
            "status": {"type": "integer", "description": "The HTTP status."},
            "detail": {**_TEXT, "description": "What happened in this case."},
            "instance": {**_TEXT, "format": "uri", "description": "The id of the request; not in an outcome."},
            "reason": {
                **_TEXT,
                "enum": list(REASONS),
                "description": "\n".join(
                    f"- `{each.name}` ({each.http_status}): {each.title}." for each in REASONS.values()
                ),
            },
            "retryable": {
                "type": "boolean",
                "description": "Whether the same request may succeed if it is sent again.",
            },
            "retryAfterSeconds": {
                "type": "integer",
                "minimum": 1,
                "description": "The seconds until then, if they are known.",
            },
            "violations": {"type": "array", "items": violation, "description": "The faults, one by one."},
            "metadata": {"type": "object", "additionalProperties": _TEXT, "description": "The facts of the refusal."},
        },
    }


def _page(path: str, summary: str, description: str) -> Operation:
    content = {"application/json": {"schema": {"type": "object"}}}
    return {
        "operationId": path.strip("/").replace("/", "_"),
        "tags": ["Health"],
        "summary": summary,
        "description": description,
        "responses": {
            "200": {"description": "Yes.", "content": content},
            "405": {"$ref": "#/components/responses/Problem405"},
            "503": {"description": "No.", "content": content},
        },
    }


def _path(route: Route) -> tuple[str, list[tuple[str, str]]]:
    """Return the path with a parameter for each wildcard, and the parameters with their collections."""
    parameters: list[tuple[str, str]] = []
    parts: list[str] = []
    for position, segment in enumerate(route.segments):
        if segment == "*":
            literal = route.segments[position - 1]
            parameters.append((literal.removesuffix("s"), literal))
            parts.append(f"{{{literal.removesuffix('s')}}}")
        else:
            parts.append(segment)
    verb = f":{route.verb}" if route.verb else ""
    return f"/{'/'.join(parts)}{verb}", parameters
