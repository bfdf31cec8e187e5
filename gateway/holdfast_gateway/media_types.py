"""The media types and codings of requests and answers (RFC 9110, 8.3 and 12.5)."""

import re
from collections.abc import Mapping

from holdfast_gateway.exchange import RequestHeaders
from holdfast_gateway.problems import NOT_ACCEPTABLE, UNSUPPORTED_MEDIA_TYPE, refuse

JSON = "application/json"

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = rf';[ \t]*(?:({_WORD})=({_WORD}|"(?:[^"\\]|\\.)*"))?[ \t]*'
_parameters = re.compile(_PARAMETER).findall
_media_type = re.compile(rf"({_WORD}/{_WORD})[ \t]*((?:{_PARAMETER})*)").fullmatch
# The elements of a list: a comma in quotes does not separate them.
_elements = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+').findall
_is_weight = re.compile(r"[01](?:\.[0-9]{0,3})?").fullmatch
_UTF_8 = ("utf-8", "utf8")
_ONLY_AS_IT_IS = (("accept-encoding", "identity"),)


def content_type(headers: RequestHeaders, *understood: str) -> str:
    """Return the media type of the body. The default is the first that is understood.

    Raises ProblemError unless the body is one of these, uncompressed, in UTF-8.
    """
    coding = headers.get("content-encoding")
    if coding and coding.strip().lower() != "identity":
        refuse(UNSUPPORTED_MEDIA_TYPE, "Send the body as it is, without Content-Encoding.", headers=_ONLY_AS_IT_IS)
    given = headers.get("content-type")
    if not given or given == understood[0]:
        return understood[0]
    match = _media_type(given.strip())
    if match is None or match[1].lower() not in understood or not _is_in_utf_8(match[2]):
        refuse(UNSUPPORTED_MEDIA_TYPE, f"Send Content-Type: {' or '.join(understood)}, in UTF-8.")
    return match[1].lower()


def _is_in_utf_8(parameters: str) -> bool:
    charsets = (value for name, value in _parameters(parameters) if name.lower() == "charset")
    return all(charset.strip('"').lower() in _UTF_8 for charset in charsets)


def acceptable(headers: RequestHeaders, *offered: str) -> str:
    """Return the media type of the answer: of those that are offered, the one that the Accept header prefers.

    The first one wins over others of the same weight, unless they are named. An empty header excludes nothing. Raises
    ProblemError if it excludes all.
    """
    given = headers.get("accept")
    if not given or given in ("*/*", offered[0]) or not given.strip(" \t,"):
        return offered[0]
    ranges = dict(filter(None, map(_weighed, _elements(given))))
    best = max(offered, key=lambda media_type: (_weight(ranges, media_type), media_type in ranges))
    if not _weight(ranges, best):
        refuse(NOT_ACCEPTABLE, f"The answer can be {' or '.join(offered)}.")
    return best


def _weight(ranges: Mapping[str, float], media_type: str) -> float:
    """Return the weight of the most specific range that has a media type."""
    candidates = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")
    return next((ranges[candidate] for candidate in candidates if candidate in ranges), 0.0)


def _weighed(element: str) -> tuple[str, float] | None:
    """Return the media range of an element, and its weight; None: it is malformed."""
    match = _media_type(element.strip())
    if match is None:
        return None
    weights = [value for name, value in _parameters(match[2]) if name.lower() == "q"]
    return match[1].lower(), float(weights[0]) if weights and _is_weight(weights[0]) else 1.0
