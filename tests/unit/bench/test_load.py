"""The output of the benchmark's clients is read exactly, and unanswered requests make a measurement invalid."""

import json

import pytest

from lab.bench import load
from lab.bench.load import Load, LoadError, grpc_frame, merged, missing_tools, parse_ghz, parse_h2load

LOG = "1000000\t200\t2500\n1000400\t200\t3000\n1001000\t429\t500\n"


def test_a_load_lasts_from_the_first_request_to_the_last_answer():
    assert parse_h2load(LOG, 3).seconds == 0.0034
    assert parse_h2load(LOG, 3).requests_per_second == pytest.approx(3 / 0.0034)


def test_other_statuses_than_200_are_refusals_and_have_latencies():
    assert parse_h2load(LOG, 3).refused == 1
    assert list(parse_h2load(LOG, 3).latencies_us) == [2500.0, 3000.0, 500.0]


@pytest.mark.parametrize("log", [LOG, LOG + "1002000\t-1\t700\n", ""], ids=["missing", "failed", "none"])
def test_requests_without_an_answer_are_no_measurement(log):
    with pytest.raises(LoadError, match=r"of 4 requests were answered\nerrored: 1"):
        parse_h2load(log, 4, "errored: 1")


def test_loads_at_the_same_time_last_until_the_last_of_them_has_its_answers():
    both = merged([Load(1.0, [1000.0], refused=1), Load(2.0, [3000.0, 5000.0], refused=2)])
    assert (both.seconds, both.requests, both.refused, both.latency_ms(0.5)) == (2.0, 3, 3, 3.0)


def test_a_message_is_framed_by_its_length():
    assert grpc_frame(b"x" * 300) == b"\0\0\0\1\x2c" + b"x" * 300


def report(**codes):
    return json.dumps({"total": 2e9, "statusCodeDistribution": codes, "details": [{"latency": 4e6}, {"latency": 6e6}]})


def test_ghz_reports_in_nanoseconds():
    load = parse_ghz(report(OK=2), 2)
    assert (load.seconds, load.requests, load.latency_ms(0.5)) == (2.0, 2, 4.0)


@pytest.mark.parametrize("codes", [{"OK": 1, "Unavailable": 1}, {"OK": 1}], ids=["failed", "missing"])
def test_calls_that_ghz_saw_fail_are_no_measurement(codes):
    with pytest.raises(LoadError, match="2 requests were answered by"):
        parse_ghz(report(**codes), 2)


def test_calls_that_ghz_saw_refused_by_overload_were_answered():
    assert parse_ghz(report(OK=1, ResourceExhausted=1), 2).requests == 2


def test_tools_that_are_missing_are_reported_all_at_once(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(load, "GHZ", load.ROOT / ".tools/bin/absent")
    assert [tool.split()[0] for tool in missing_tools()] == ["h2load", ".tools/bin/absent"]
