"""Admission tokens: from the Holdfast-Admission header."""

from holdfast_gateway.exchange import RequestHeaders
from holdfast_gateway.problems import refuse_field
from holdfast_gateway.routes import DynamicMessage, Route

HEADER = "Holdfast-Admission"
_NAME = HEADER.lower()


def set_admission_token(route: Route, message: DynamicMessage, headers: RequestHeaders) -> None:
    """Set the admission token of the message, if its method takes one. Raises ProblemError if the body has another."""
    token = headers.get(_NAME)
    if token is None or not route.takes_admission_token:
        return
    if message.admission_token not in ("", token):
        refuse_field("admissionToken", f"differs from the {HEADER} header")
    message.admission_token = token
