"""Content-Type, Content-Encoding and Accept, by RFC 9110."""

import pytest

from holdfast_gateway.exchange import RequestHeaders
from holdfast_gateway.media_types import JSON, acceptable, content_type
from holdfast_gateway.problems import ProblemError

EVENTS = "text/event-stream"


def headers(**values):
    return RequestHeaders([(name.replace("_", "-").encode(), value.encode()) for name, value in values.items()])


@pytest.mark.parametrize(
    "given",
    [
        "application/json",
        "",
        "Application/JSON",
        " application/json ",
        "application/json;",
        "application/json;charset=utf8",
        "application/json; charset=UTF-8",
        'application/json ; Charset="utf-8"',
        'application/json; profile="https://a/b;c=,d"; charset=utf-8',
        "application/json; version=1",
    ],
)
def test_json_is_json_however_it_is_spelled(given):
    assert content_type(headers(content_type=given), JSON) == content_type(headers(), JSON) == JSON


@pytest.mark.parametrize(
    "given",
    [
        "text/json",
        "application/jsonx",
        "application/problem+json",
        "application/json; charset=latin-1",
        "application/json; charset",
        "application/json, application/json",
        "application/json; charset=utf-8; charset=utf-16",
        "json",
    ],
)
def test_what_is_not_json_is_refused(given):
    with pytest.raises(ProblemError) as refused:
        content_type(headers(content_type=given), JSON)
    assert refused.value.problem.reason.http_status == 415


def test_a_body_that_is_coded_is_refused_and_told_which_coding_is_taken():
    content_type(headers(content_encoding="Identity"), JSON)
    for coding in ("gzip", "br", "identity, gzip", "aws-chunked"):
        with pytest.raises(ProblemError) as refused:
            content_type(headers(content_encoding=coding), JSON)
        assert refused.value.problem.reason.http_status == 415
        assert ("accept-encoding", "identity") in refused.value.problem.headers


@pytest.mark.parametrize(
    ("accept", "json", "events"),
    [
        ("", True, True),
        (" , ", True, True),
        ("*/*", True, True),
        ("application/json", True, False),
        ("APPLICATION/JSON;Q=0.1", True, False),
        ("application/*", True, False),
        ("text/*;q=0.3", False, True),
        ("text/html, application/xhtml+xml, */*;q=0.8", True, True),
        ("*/*;q=0", False, False),
        ("application/json;q=0, */*", False, True),
        ("application/json;q=0.001, */*;q=0", True, False),
        ("application/*;q=0, application/json", True, False),
        ('text/plain; a=", application/json"', False, False),
        ("application/jsonx", False, False),
        ("nonsense", False, False),
        ("application/json; charset=utf-8", True, False),
    ],
)
def test_the_most_specific_range_decides(accept, json, events):
    assert accepts(accept, "application/json") == json
    assert accepts(accept, EVENTS) == events


def accepts(accept, media_type):
    try:
        acceptable(headers(accept=accept), media_type)
    except ProblemError as error:
        return {406: False}[error.problem.reason.http_status]
    return True


def test_without_an_accept_header_everything_is_acceptable():
    assert acceptable(headers(), EVENTS) == EVENTS


def test_headers_of_one_name_are_one_list():
    several = RequestHeaders([(b"accept", b"text/html"), (b"x", b"1"), (b"accept", b"application/json")])
    assert several.get("accept") == "text/html, application/json"
    assert several.get("x") == "1"
    assert several.get("y") is None
