"""A run of the suites fails for what is new, and for what is known but has been mended."""

import pytest

from lab.conformance.known import Known, faults, known_failures
from lab.conformance.suites import ALL, told_by_h2spec

KNOWN = [Known("why", ("a", "b"), sometimes=False), Known("why", ("c",), sometimes=True)]
BOTH = {"a": "text", "b": "text"}


@pytest.mark.parametrize("failures", [BOTH, BOTH | {"c": "text"}])
def test_what_is_known_is_no_fault(failures):
    assert faults(KNOWN, failures) == []


def test_a_new_failure_is_a_fault():
    assert faults(KNOWN, BOTH | {"d": "text"}) == ["d fails:\ntext"]


def test_a_case_that_is_said_to_fail_and_passes_is_a_fault():
    (fault,) = faults(KNOWN, {"a": "text"})
    assert fault.startswith("b passes")


@pytest.mark.parametrize("suite", ALL)
@pytest.mark.parametrize("transport", ["envoy", "grpc_aio"])
def test_what_is_known_has_a_reason_and_each_case_once(suite, transport):
    known = known_failures(suite, transport)
    cases = [case for each in known for case in each.cases]
    assert all(each.reason for each in known)
    assert len(cases) == len(set(cases))


def test_h2specs_report_tells_what_failed_whatever_the_server_sent():
    document = """<testsuites><testsuite>
        <testcase package="p/1" classname="passes"></testcase>
        <testcase package="p/1" classname="fails"><error>expected\nopaque \0\x1b</error></testcase>
        <testcase package="p/1" classname="breaks"><failure>text</failure></testcase>
        <testcase package="p/1" classname="is not run"><skipped></skipped></testcase>
    </testsuite></testsuites>"""
    told = told_by_h2spec(document)
    assert (told.cases, told.failures) == (3, {"p/1 fails": "expected\nopaque ??", "p/1 breaks": "text"})
