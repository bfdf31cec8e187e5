"""Our own processes speak to each other directly, whatever proxy the environment has for the world outside.

grpc and urllib follow http_proxy and its kin, even to this machine.
"""

import urllib.request
from http.client import HTTPResponse
from typing import Final

CHANNEL_OPTIONS: Final = (("grpc.enable_http_proxy", 0),)
"""For every gRPC channel of ours."""

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def urlopen(request: str | urllib.request.Request, timeout_seconds: float) -> HTTPResponse:
    """Asks one of our own HTTP servers. Raises OSError, of which urllib's HTTPError and URLError are kinds."""
    answer: HTTPResponse = _opener.open(request, timeout=timeout_seconds)
    return answer
