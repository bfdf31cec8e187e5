"""The handler of every request: counts it, answers it (with refusals, too) and logs it if `CallLog` selects it."""

from collections.abc import Awaitable, Callable, Mapping

from holdfast_chassis.call_log import CallLog
from holdfast_chassis.clock import SYSTEM_CLOCK, Clock
from holdfast_chassis.drain import Arrivals, InFlight
from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy
from holdfast_chassis.logs import get_logger
from holdfast_chassis.tracing import Span, SpanContext, SpanKind, Tracer
from holdfast_gateway.api import Api
from holdfast_gateway.call import Call, Reply
from holdfast_gateway.correlation import caller_of, request_id_of, trace_id_of, traceparent_of
from holdfast_gateway.cors import Cors
from holdfast_gateway.exchange import (
    ClientGoneError,
    Headers,
    Scope,
    Transport,
    require_host,
    require_small_headers,
)
from holdfast_gateway.metrics import HttpMetrics
from holdfast_gateway.problems import INTERNAL, METHOD_NOT_ALLOWED, Problem, ProblemError, refuse

log = get_logger(__name__)

Page = Callable[[], Awaitable[Reply]]

_CLIENT_GONE = 499
_FAILED = 500
_PAGE_ALLOW = "GET, HEAD"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_DRAINING: Headers = [("connection", "close"), ("x-envoy-immediate-health-check-fail", "true")]


class Gateway:
    """The application that the HTTP server calls.

    Pages (health, metrics, documents) are not counted as arrivals, because probes continue until the end of a drain.
    """

    def __init__(
        self,
        api: Api,
        pages: Mapping[str, Page],
        cors: Cors,
        metrics: HttpMetrics,
        version: str,
        call_log: CallLog,
        header_limit_bytes: int,
        clock: Clock = SYSTEM_CLOCK,
        entropy: Entropy = SYSTEM_ENTROPY,
        tracer: Tracer | None = None,
    ) -> None:
        self._api = api
        self._pages = pages
        self._cors = cors
        self._metrics = metrics
        self._call_log = call_log
        self._header_limit_bytes = header_limit_bytes
        self._clock = clock
        self._tracer = tracer
        self._entropy = entropy
        self._every_answer: Headers = [("x-deployment-version", version)]
        self.arrivals = Arrivals(clock)
        self.in_flight = InFlight()
        metrics.in_flight.set_function(lambda: self.in_flight.count)

    def begin_draining(self) -> None:
        """Close connections after each answer from now on, so that clients connect to another replica."""
        self._every_answer = [*self._every_answer, *_DRAINING]

    async def __call__(self, scope: Scope, transport: Transport) -> None:
        """Answer one request."""
        page = self._pages.get(scope.path)
        if page is not None:
            await self._show(page, scope, transport)
            return
        began_at = self.arrivals.record()
        with self.in_flight:
            headers = scope.headers
            request_id = request_id_of(headers, self._entropy)
            if self._tracer is None:
                span, traceparent = None, traceparent_of(headers, self._entropy)
            else:
                span = self._tracer.begin(caller_of(headers.get("traceparent")))
                traceparent = span.traceparent
            call = Call(scope, transport, headers, request_id, traceparent, span, began_at)
            status = await self._answer(call)
        self._account(call, status)

    async def _show(self, page: Page, scope: Scope, transport: Transport) -> None:
        try:
            require_host(scope)
            if scope.method not in ("GET", "HEAD"):
                refuse(METHOD_NOT_ALLOWED, f"Allowed methods: {_PAGE_ALLOW}.", headers=(("allow", _PAGE_ALLOW),))
            reply = await page()
        except ProblemError as error:
            reply = self._refusal(error.problem, self._entropy.token_hex())
        await transport.respond(reply.status, [*reply.headers, *self._every_answer], reply.body)

    async def _answer(self, call: Call) -> int:
        headers = [
            ("x-request-id", call.request_id),
            *self._every_answer,
            *self._cors.headers(call.headers.get("origin")),
        ]
        try:
            require_small_headers(call.headers, self._header_limit_bytes)
            require_host(call.scope)
            reply = await self._api.answer(call, headers)
        except ProblemError as error:
            reply = self._refused(call, error.problem)
        except ClientGoneError:
            return _CLIENT_GONE
        except Exception:
            log.exception("request_failed", request_id=call.request_id, path=call.template)
            reply = self._refused(call, Problem(INTERNAL, "An internal error occurred. It has been logged."))
        if reply is None:
            return 200
        await call.transport.respond(reply.status, [*reply.headers, *call.rate, *headers], reply.body)
        return reply.status

    def _refused(self, call: Call, problem: Problem) -> Reply:
        call.reason = problem.reason.name
        return self._refusal(problem, call.request_id)

    def _refusal(self, problem: Problem, instance: str) -> Reply:
        return Reply(problem.reason.http_status, problem.response_headers(self._entropy), problem.body(instance))

    def _account(self, call: Call, status: int) -> None:
        now = self._clock.monotonic()
        seconds = now - call.began_at
        # Clients can send any method name, but a label must have few values.
        method = call.scope.method if call.scope.method in _METHODS else "(other)"
        failed = status >= _FAILED
        self._metrics.observe(method, call.template, status, seconds)
        if self._call_log.wants(now, seconds, failed=failed):
            self._tell(call, method, status, seconds)
        tracer, span = self._tracer, call.span
        if tracer is not None and span is not None and tracer.wants(span, seconds, failed=failed):
            self._metrics.traced(method, call.template, status, seconds, span.trace_id)
            tracer.record(_span(call, span, method, status, now))

    def _tell(self, call: Call, method: str, status: int, seconds: float) -> None:
        log.info(
            "request",
            method=method,
            path=call.template,
            status=status,
            reason=call.reason,
            milliseconds=round(seconds * 1000, 3),
            request_id=call.request_id,
            trace_id=trace_id_of(call.traceparent),
            left_out=self._call_log.left_out(),
        )


def _span(call: Call, context: SpanContext, method: str, status: int, ended: float) -> Span:
    attributes: dict[str, str | int] = {
        "http.request.method": method,
        "http.route": call.template,
        "http.response.status_code": status,
        "holdfast.reason": call.reason or "OK",
    }
    failure = call.reason if status >= _FAILED else ""
    return Span(
        f"{method} {call.template}", context, call.began_at, ended, SpanKind.SERVER, attributes, failure=failure
    )
