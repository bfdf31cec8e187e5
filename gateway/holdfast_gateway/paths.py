"""Parsing of paths: once, by RFC 3986, so that gateway and edge never read different resources. See ADR 17."""

from urllib.parse import unquote

from holdfast_gateway.problems import refuse_field

_DOTS = (".", "..")
_MISREAD = frozenset("/\\\0")


def segments_of(path: str) -> list[str]:
    """Return the decoded segments of a path as it was sent. Raises ProblemError if it can be read in two ways."""
    if not path.isascii():
        refuse_field("path", "must be ASCII; encode the rest")
    # Not allowed in a path; browsers and the edge treat it as a slash (WHATWG URL).
    segments = path.replace("\\", "/").split("/")[1:]
    if "%" in path:
        segments = [_decoded(segment) for segment in segments]
    return _without_dots(segments) if "." in path or "%" in path else segments


def _decoded(segment: str) -> str:
    try:
        decoded = unquote(segment, errors="strict")
    except UnicodeDecodeError:
        refuse_field("path", "must be UTF-8")
    # Some programs decode the first two to a slash, which would lead to another resource.
    if not _MISREAD.isdisjoint(decoded):
        refuse_field("path", "must not have %2F, %5C or %00: no id has them")
    return decoded


def _without_dots(segments: list[str]) -> list[str]:
    """Remove `.` and `..` (RFC 3986, 5.2.4), as the edge and most clients do."""
    if not any(segment in _DOTS for segment in segments):
        return segments
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    return [*kept, ""] if segments[-1] in _DOTS else kept
