"""The inventory's refusals reach the caller, and internal details do not."""

import orjson
import pytest
from google.protobuf import duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from holdfast_chassis.contract import REASONS
from holdfast_gateway.problems import INTERNAL, OVERLOADED, Problem, json_path, problem_of_status


def status(code, *details, message="said so"):
    made = status_pb2.Status(code=code, message=message)
    for detail in details:
        made.details.add().Pack(detail)
    return made


@pytest.mark.parametrize("reason", REASONS)
def test_a_reason_decides_whatever_the_code(reason):
    problem = problem_of_status(
        status(code_pb2.UNKNOWN, error_details_pb2.ErrorInfo(reason=reason)), changes_nothing=True
    )
    assert problem.reason is REASONS[reason]


@pytest.mark.parametrize(
    ("code", "changes_nothing", "expected"),
    [
        ("UNAVAILABLE", True, 503),
        ("CANCELLED", False, 503),
        ("DEADLINE_EXCEEDED", True, 504),
        ("DEADLINE_EXCEEDED", False, 503),
        ("RESOURCE_EXHAUSTED", False, 429),
        ("INVALID_ARGUMENT", False, 400),
        ("UNIMPLEMENTED", False, 501),
        ("UNKNOWN", False, 500),
        ("DATA_LOSS", True, 500),
    ],
)
def test_without_a_reason_the_code_decides(code, changes_nothing, expected):
    problem = problem_of_status(status(code_pb2.Code.Value(code)), changes_nothing=changes_nothing)
    assert problem.reason.http_status == expected


@pytest.mark.parametrize(("told", "retryable"), [("true", True), ("false", False), (None, True)])
def test_a_refusal_itself_says_whether_a_retry_can_help_and_else_its_reason_does(told, retryable):
    metadata = {} if told is None else {"retryable": told}
    info = error_details_pb2.ErrorInfo(reason="INSUFFICIENT_STOCK", metadata={"available.a": "0", **metadata})
    problem = problem_of_status(status(code_pb2.FAILED_PRECONDITION, info), changes_nothing=False)
    document = problem.document("r-1")
    assert (document["retryable"], document["metadata"]) == (retryable, {"available.a": "0"})


def test_violations_keep_json_names():
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="lines[0].hold_time", description="too long")
    info = error_details_pb2.ErrorInfo(reason="INVALID_REQUEST")
    problem = problem_of_status(status(code_pb2.INVALID_ARGUMENT, info, bad), changes_nothing=False)
    assert problem.violations == [{"field": "lines[0].holdTime", "description": "too long"}]
    assert problem.detail == "lines[0].holdTime: too long"


def test_short_lines_and_limits_are_reported():
    failure = error_details_pb2.PreconditionFailure()
    failure.violations.add(type="INSUFFICIENT_STOCK", subject="a", description="5 asked, 2 available")
    quota = error_details_pb2.QuotaFailure()
    quota.violations.add(subject="c-1", description="limit 2")
    problem = problem_of_status(status(code_pb2.FAILED_PRECONDITION, failure, quota), changes_nothing=False)
    assert [violation["subject"] for violation in problem.violations] == ["a", "c-1"]


class NoSpread:
    """Entropy that always returns the minimum."""

    def uniform(self, low, high):
        return low


@pytest.mark.parametrize(("seconds", "header"), [(0.01, "1"), (2.0, "2"), (2.01, "3")])
def test_retry_after_is_in_whole_seconds_rounded_up(seconds, header):
    delay = duration_pb2.Duration()
    delay.FromNanoseconds(int(seconds * 1e9))
    problem = problem_of_status(
        status(code_pb2.RESOURCE_EXHAUSTED, error_details_pb2.RetryInfo(retry_delay=delay)), changes_nothing=False
    )
    assert dict(problem.response_headers(NoSpread()))["retry-after"] == header


def test_a_refusal_that_asks_to_come_back_says_when_even_if_nobody_told():
    assert dict(Problem(OVERLOADED, "full").response_headers(NoSpread()))["retry-after"] == "1"


@pytest.mark.parametrize("reason", ["OVERLOADED", "DATABASE_UNAVAILABLE", "DRAINING", "INSUFFICIENT_STOCK"])
def test_those_who_are_refused_together_do_not_come_back_together(reason):
    problem = Problem(REASONS[reason], "full", retry_after_seconds=0.1)
    assert {dict(problem.response_headers())["retry-after"] for _ in range(200)} >= {"1", "2", "3"}


def test_a_refusal_that_is_final_does_not_say_when_to_come_back():
    info = error_details_pb2.ErrorInfo(reason="INSUFFICIENT_STOCK", metadata={"retryable": "false"})
    problem = problem_of_status(status(code_pb2.FAILED_PRECONDITION, info), changes_nothing=False)
    assert "retry-after" not in dict(problem.response_headers())


def test_a_sale_opens_for_everybody_at_the_same_time():
    problem = Problem(REASONS["SALE_NOT_OPEN"], "soon", retry_after_seconds=7.0)
    assert {dict(problem.response_headers())["retry-after"] for _ in range(50)} == {"7"}


@pytest.mark.parametrize("info", [[], [error_details_pb2.ErrorInfo(reason="INTERNAL")]])
def test_a_fault_of_ours_leaks_nothing(info):
    made = status(code_pb2.INTERNAL, *info, message="SELECT secret FROM vault")
    problem = problem_of_status(made, changes_nothing=False)
    assert problem.reason is INTERNAL
    assert b"secret" not in problem.body("r-1")


def test_details_that_cannot_be_read_are_left_out():
    made = status(code_pb2.NOT_FOUND, error_details_pb2.ErrorInfo(reason="NOT_FOUND"))
    made.details.add(type_url="type.googleapis.com/google.rpc.BadRequest", value=b"\xff\xff")
    assert problem_of_status(made, changes_nothing=True).reason.name == "NOT_FOUND"


def test_a_problem_has_the_members_of_the_standard():
    document = orjson.loads(Problem(OVERLOADED, "full", metadata={"limit": "1"}).body("r-1"))
    assert document == {
        "type": "https://inventory.holdfast.dev/problems/overloaded",
        "title": OVERLOADED.title,
        "status": 429,
        "detail": "full",
        "instance": "urn:request:r-1",
        "reason": "OVERLOADED",
        "retryable": True,
        "metadata": {"limit": "1"},
    }


def test_json_paths():
    assert json_path("commands[2].create.hold_time") == "commands[2].create.holdTime"
    assert json_path("name") == "name"
