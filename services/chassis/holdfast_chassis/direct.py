"""Direct connections between Holdfast's own processes, without the proxies of the environment.

grpc and urllib use http_proxy and similar variables even for connections to this machine.
"""

import urllib.request
from http.client import HTTPResponse
from typing import Final

CHANNEL_OPTIONS: Final = (("grpc.enable_http_proxy", 0),)
"""The options of every gRPC channel."""

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def urlopen(request: str | urllib.request.Request, timeout_seconds: float) -> HTTPResponse:
    """Send a request to one of Holdfast's HTTP servers. Raises OSError, including urllib's HTTPError and URLError."""
    answer: HTTPResponse = _opener.open(request, timeout=timeout_seconds)
    return answer
