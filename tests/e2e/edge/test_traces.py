"""The edge's spans, as an OpenTelemetry collector receives them."""

import pytest

from tests.support.otlp import receiver_over_grpc, receiver_over_http

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"


@pytest.mark.parametrize(("protocol", "opening"), [("grpc", receiver_over_grpc), ("http/protobuf", receiver_over_http)])
@pytest.mark.parametrize("sampled", [True, False])
async def test_a_request_is_recorded_if_its_caller_or_the_sampler_says_so(
    start_edge, start_gateway, start_inventory, rest, monkeypatch, protocol, opening, sampled
):
    async with opening() as (receiver, endpoint):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
        edge = await start_edge([await start_gateway()], [await start_inventory()])
        for flags in ("01",) if sampled else ("00", "01"):
            trace = TRACE if flags == "01" else TRACE.replace("4", "5")
            headers = {"traceparent": f"00-{trace}-{CALLER}-{flags}"}
            async with rest.get(f"{edge.url}/v1/sales", headers=headers) as answer:
                assert answer.status == 200

        await receiver.until(lambda spans: spans)
        assert {(span.service, span.trace_id, span.parent_id) for span in receiver.spans} == {
            ("holdfast-edge", TRACE, CALLER)
        }


async def test_a_protocol_that_is_not_known_is_told_at_the_start(
    start_edge, start_gateway, start_inventory, monkeypatch
):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
    with pytest.raises(AssertionError, match="is 'http/json', not grpc or http/protobuf"):
        await start_edge([await start_gateway()], [await start_inventory()])
