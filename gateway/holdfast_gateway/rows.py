"""Pages of lists, and the bodies of batches, as rows: JSON Lines, and CSV by RFC 4180.

The entries are the same as in JSON. Where the next page begins is in headers: a Link (RFC 8288) and its token.
"""

import csv
import io
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode

import orjson
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from holdfast_gateway import codec, json_text
from holdfast_gateway.exchange import Headers
from holdfast_gateway.field_behavior import behaves
from holdfast_gateway.problems import refuse_field
from holdfast_gateway.routes import Route

JSON_LINES = "application/jsonl"
CSV = "text/csv"
NEXT_PAGE_TOKEN = "next-page-token"  # noqa: S105 - the name of a header

_BATCH_VERB = "batchCreate"
_TOKEN = "next_page_token"  # noqa: S105 - the name of a field
_TOKEN_PARAMETERS = ("pageToken", "page_token")


def rows_of(answer: Descriptor) -> FieldDescriptor | None:
    """Return the field with the entries of a list's answer; None if it is no list."""
    entries = [field for field in answer.fields if field.is_repeated and field.message_type is not None]
    return entries[0] if _TOKEN in answer.fields_by_name and len(entries) == 1 else None


def rows_in(route: Route) -> FieldDescriptor | None:
    """Return the field to which rows in the body of a batch are added; None if its body is only JSON."""
    entries = [field for field in route.rpc.input_type.fields if field.is_repeated and field.message_type is not None]
    return entries[0] if route.verb == _BATCH_VERB and len(entries) == 1 else None


def parsed(body: bytes, entries: FieldDescriptor, media_type: str) -> list[Any]:
    """Return the rows of a body as JSON documents. An empty cell is not set. Raises ProblemError (INVALID_REQUEST)."""
    if media_type == JSON_LINES:
        return [json_text.parse(line, entries.json_name) for line in body.splitlines() if line.strip()]
    try:
        names, *cells = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
    except UnicodeDecodeError:
        refuse_field("body", "must be in UTF-8")
    except (csv.Error, ValueError) as error:
        refuse_field("body", f"must be CSV with a first row of names: {error}")
    structured = _structured(entries.message_type)
    return [
        _document(f"{entries.json_name}[{number}]", names, structured, row)
        for number, row in enumerate(filter(None, cells))
    ]


def _document(place: str, names: list[str], structured: set[str], row: list[str]) -> dict[str, Any]:
    if len(row) != len(names):
        refuse_field(place, f"must have {len(names)} cells, as the first row has")
    return {
        name: json_text.parse(cell.encode(), f"{place}.{name}") if name in structured else cell
        for name, cell in zip(names, row, strict=True)
        if cell
    }


def _structured(entry: Descriptor | None) -> set[str]:
    """Return the names of the columns whose cells are JSON: objects and lists."""
    fields = [] if entry is None else [field for field in entry.fields if field.is_repeated or _is_object(field)]
    return {name for field in fields for name in (field.name, field.json_name)}


def _is_object(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.file.package != "google.protobuf"


def body_of(page: Message, entries: FieldDescriptor, media_type: str) -> bytes:
    """Return a page's entries, one in each row. CSV begins with the names of the columns, on each page the same."""
    documents = [codec.encode(entry) for entry in getattr(page, entries.name)]
    if media_type == JSON_LINES:
        return b"".join(orjson.dumps(document) + b"\n" for document in documents)
    columns = _columns(entries.message_type)
    text = io.StringIO()
    writer = csv.writer(text)  # Lines end in CRLF, as RFC 4180 says.
    writer.writerow(columns)
    writer.writerows([_cell(document.get(column)) for column in columns] for document in documents)
    return text.getvalue().encode()


def headers_of(page: Message, media_type: str, query: str) -> Headers:
    """Return the media type, and where the next page begins, if there is one. `query` is that of this page."""
    # "header": the first row has the names (RFC 4180, 3).
    content_type = f"{CSV}; charset=utf-8; header=present" if media_type == CSV else media_type
    token: str = getattr(page, _TOKEN)
    return [("content-type", content_type), *(_next(token, query) if token else ())]


def _next(token: str, query: str) -> Iterator[tuple[str, str]]:
    others = [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] not in _TOKEN_PARAMETERS]
    yield "link", f'<?{urlencode([*others, ("pageToken", token)])}>; rel="next"'
    yield NEXT_PAGE_TOKEN, token


def _columns(entry: Descriptor | None) -> list[str]:
    assert entry is not None  # noqa: S101 - rows_of has looked
    return [field.json_name for field in entry.fields if not behaves(field, "INPUT_ONLY")]


def _cell(value: Any) -> str:  # noqa: ANN401 - what JSON has
    """Return text as it is, nothing for what is not set, and everything else as JSON writes it."""
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
