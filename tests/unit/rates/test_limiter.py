"""The rates of callers: what a bucket allows, who is counted, and what an answer tells."""

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from holdfast.inventory.v1 import reservation_service_pb2 as rs
from holdfast_chassis.contract import METHODS, Kind
from holdfast_chassis.identity.principal import ANONYMOUS, OWN, Principal
from holdfast_chassis.rates.callers import client_address, is_counted, keys_of
from holdfast_chassis.rates.gcra import MICROSECONDS as SECOND
from holdfast_chassis.rates.gcra import Buckets, Rate, Verdict, take
from holdfast_chassis.rates.limiter import RateLimiter
from holdfast_gateway.problems import ProblemError
from holdfast_gateway.rates import Rates

rates = st.builds(Rate, st.integers(1, 20), st.integers(1_000, 60 * SECOND))
pauses = st.lists(st.integers(0, 5 * SECOND), max_size=60)


def asked(rate, pauses):
    """The time of each request, its verdict, and the time at which the bucket is full again."""
    now, full_at = 1_000 * SECOND, 0
    for pause in pauses:
        now += pause
        full_at, verdict = take(rate, full_at, now)
        yield now, verdict, full_at


@given(rates, pauses)
def test_in_no_time_more_is_allowed_than_a_bucket_and_what_comes_back(rate, pauses):
    allowed = [now for now, verdict, _ in asked(rate, pauses) if not verdict.retry_in]
    for first, begin in enumerate(allowed):
        for number, end in enumerate(allowed[first:], start=1):
            assert number <= rate.requests + (end - begin) // rate.interval


@given(rates, pauses)
def test_a_refusal_says_exactly_when_the_next_request_is_allowed(rate, pauses):
    for now, verdict, full_at in asked(rate, pauses):
        if verdict.retry_in:
            assert take(rate, full_at, now + verdict.retry_in - 1)[1].retry_in == 1
            assert take(rate, full_at, now + verdict.retry_in)[1].retry_in == 0


@given(rates, pauses)
def test_what_remains_is_what_is_allowed_at_once(rate, pauses):
    for now, verdict, full_at in asked(rate, pauses):
        left, then = 0, full_at
        while not (answer := take(rate, then, now))[1].retry_in:
            then, left = answer[0], left + 1
        assert verdict.remaining(rate) == left


@given(rates, st.integers(1, 50))
def test_shares_of_all_replicas_are_no_more_than_the_whole_or_one_each(rate, replicas):
    share = rate.share(replicas)
    assert share.requests >= 1
    assert share.requests * replicas <= max(rate.requests, replicas)


def test_as_many_buckets_are_remembered_as_there_may_be():
    buckets, rate = Buckets(most=2), Rate(1, SECOND)
    for key in ("a", "b", "c"):
        assert not buckets.take(rate, key, 1).retry_in
    assert buckets.take(rate, "c", 1).retry_in
    assert not buckets.take(rate, "a", 1).retry_in


class Clock:
    now = 100.0

    def monotonic(self):
        return self.now


class Shared:
    """A fake with prepared answers."""

    def __init__(self, *answers, replicas=1):
        self.answers, self.replicas, self.asked = list(answers), replicas, 0

    async def take(self, keys):
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer[: len(keys)]


def limiter(shared, requests=4):
    return RateLimiter(Rate(requests, 60 * SECOND), shared, CollectorRegistry(), Clock())


async def allowed(rates, count):
    """Return how many of the requests pass."""
    return sum([not (await rates.take(["k"])).retry_in for _ in range(count)])


async def test_the_strictest_of_its_buckets_decides_about_a_request():
    rates = Rates(limiter(Shared([Verdict(15 * SECOND), Verdict(60 * SECOND, 7 * SECOND)])))
    with pytest.raises(ProblemError) as refused:
        await rates.admit(Kind.BEGIN, ANONYMOUS, "192.0.2.1", held_by("c-1"))
    problem = refused.value.problem
    assert problem.reason.name == "RATE_LIMITED"
    assert problem.retry_after_seconds == 7
    assert dict(problem.headers) == {"ratelimit-policy": '"default";q=4;w=60', "ratelimit": '"default";r=0;t=7'}


async def test_answers_tell_what_is_left():
    told = dict(await Rates(limiter(Shared([Verdict(15 * SECOND)]))).admit(Kind.BEGIN, BUYER, "", held_by()))
    assert told["ratelimit"] == '"default";r=3;t=15'


async def test_without_a_server_one_gateway_gives_the_whole_rate():
    assert await allowed(limiter(None), 9) == 4


async def test_while_the_server_does_not_answer_each_of_two_gateways_gives_half_and_asks_once_a_second():
    shared = Shared(ConnectionError(), ConnectionError(), replicas=2)
    rates = limiter(shared)
    assert await allowed(rates, 9) == 2
    assert shared.asked == 1
    Clock.now += 1.0
    try:
        assert await allowed(rates, 1) == 0
        assert shared.asked == 2
    finally:
        Clock.now -= 1.0


def held_by(customer=""):
    return rs.CreateReservationRequest(parent="sales/a", customer=customer)


def counted(principal, request: Message, kind=Kind.BEGIN, address="192.0.2.1"):
    return set(keys_of(kind, principal, address, request))


BUYER = Principal("customers/c-1", frozenset({OWN}), "c-1")
BACKEND = Principal("keys/shop", frozenset({"reservations.write"}))


def test_a_caller_is_counted_by_the_best_that_is_known_of_it():
    assert counted(BUYER, held_by()) == counted(BUYER, held_by("c-1"), address="192.0.2.2")
    assert counted(BACKEND, held_by("c-1")) == counted(BUYER, held_by())
    assert counted(BACKEND, held_by("c-1")).isdisjoint(counted(BACKEND, held_by("c-2")))
    assert len(counted(ANONYMOUS, held_by("c-1"))) == 2
    assert counted(ANONYMOUS, held_by("c-1")) & counted(ANONYMOUS, held_by("c-2"))
    assert counted(BACKEND, rs.ReleaseReservationRequest()) == counted(BACKEND, rs.GetReservationRequest())


async def test_what_ends_a_purchase_is_not_counted():
    assert {method.name for method in METHODS if not is_counted(method.kind)} == {
        "ConfirmReservation",
        "ReleaseReservation",
        "ExtendReservation",
    }
    assert await Rates(limiter(Shared())).admit(Kind.FINISH, BUYER, "", rs.ConfirmReservationRequest()) == []


def test_reads_use_up_nothing_of_what_begins_purchases():
    assert counted(BUYER, held_by()).isdisjoint(counted(BUYER, held_by(), Kind.READ))


@pytest.mark.parametrize(
    ("hops", "forwarded", "address"),
    [
        (0, "192.0.2.9", "10.0.0.1"),
        (1, "198.51.100.1, 192.0.2.9", "192.0.2.9"),
        (2, "198.51.100.1, 192.0.2.9", "198.51.100.1"),
        (2, "192.0.2.9", "10.0.0.1"),
        (1, "", "10.0.0.1"),
    ],
)
def test_an_address_is_believed_only_if_a_trusted_proxy_saw_it(hops, forwarded, address):
    assert client_address(forwarded, "10.0.0.1", hops) == address
