"""The media types and codings of requests and answers (RFC 9110, 8.3 and 12.5)."""

import re

from holdfast_gateway.exchange import RequestHeaders
from holdfast_gateway.problems import NOT_ACCEPTABLE, UNSUPPORTED_MEDIA_TYPE, refuse

JSON = "application/json"

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = rf';[ \t]*(?:({_WORD})=({_WORD}|"(?:[^"\\]|\\.)*"))?[ \t]*'
_parameters = re.compile(_PARAMETER).findall
_media_type = re.compile(rf"({_WORD}/{_WORD})[ \t]*((?:{_PARAMETER})*)").fullmatch
# The elements of a list: a comma in quotes does not separate them.
_elements = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+').findall
_UTF_8 = ("utf-8", "utf8")
_ONLY_AS_IT_IS = (("accept-encoding", "identity"),)


def require_json(headers: RequestHeaders) -> None:
    """Raise ProblemError unless the body is uncompressed JSON in UTF-8. The default Content-Type is JSON."""
    coding = headers.get("content-encoding")
    if coding and coding.strip().lower() != "identity":
        refuse(UNSUPPORTED_MEDIA_TYPE, "Send the body as it is, without Content-Encoding.", headers=_ONLY_AS_IT_IS)
    given = headers.get("content-type")
    if given and given != JSON and not _is_json(given):
        refuse(UNSUPPORTED_MEDIA_TYPE, "Send Content-Type: application/json, in UTF-8.")


def _is_json(given: str) -> bool:
    match = _media_type(given.strip())
    if match is None or match[1].lower() != JSON:
        return False
    charsets = (value for name, value in _parameters(match[2]) if name.lower() == "charset")
    return all(charset.strip('"').lower() in _UTF_8 for charset in charsets)


def require_acceptable(headers: RequestHeaders, media_type: str) -> None:
    """Raise ProblemError if the Accept header excludes `media_type`. An empty header excludes nothing."""
    given = headers.get("accept")
    if not given or given in ("*/*", media_type):
        return
    ranges = dict(filter(None, map(_weighed, _elements(given))))
    for candidate in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
        if candidate in ranges:
            if ranges[candidate]:
                return
            break
    else:
        if not given.strip(" \t,"):
            return
    refuse(NOT_ACCEPTABLE, f"The media type of the answer is {media_type}.")


def _weighed(element: str) -> tuple[str, bool] | None:
    """Return the media range of an element, and whether its weight is not zero; None: it is malformed."""
    match = _media_type(element.strip())
    if match is None:
        return None
    weights = [value for name, value in _parameters(match[2]) if name.lower() == "q"]
    return match[1].lower(), not weights or weights[0].strip("0.") != ""
