"""Commands of a sale share Submits; each caller gets its own outcome, and nothing waits without a bound."""

import asyncio

import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2

from holdfast.inventory.v1 import reservation_service_pb2 as rs
from holdfast_chassis.alarms import Alarms
from holdfast_chassis.metrics import new_registry
from holdfast_gateway.coalescer import Coalescer, Limits
from holdfast_gateway.metrics import SubmitMetrics
from holdfast_gateway.problems import INVENTORY_UNAVAILABLE, Problem, ProblemError


class Inventory:
    """Holds Submits back until it is released."""

    def __init__(self):
        self.submits = []
        self.gates = []
        self.error = None
        self.arrived = asyncio.Condition()

    async def submit(self, request, timeout_seconds, traceparent=None):
        gate = asyncio.Event()
        async with self.arrived:
            self.submits.append(request)
            self.gates.append(gate)
            self.arrived.notify_all()
        await gate.wait()
        if self.error:
            raise self.error
        return rs.SubmitResponse(outcomes=[outcome(command) for command in request.commands])

    async def wait_for(self, count):
        async with asyncio.timeout(5), self.arrived:
            await self.arrived.wait_for(lambda: len(self.submits) >= count)

    def sizes(self):
        return [len(submit.commands) for submit in self.submits]

    def customers(self):
        return [command.create.customer for submit in self.submits for command in submit.commands]


def outcome(command):
    if command.create.customer == "unlucky":
        error = status_pb2.Status(code=code_pb2.FAILED_PRECONDITION)
        error.details.add().Pack(error_details_pb2.ErrorInfo(reason="INSUFFICIENT_STOCK"))
        return rs.Outcome(error=error)
    return rs.Outcome(reservation=rs.Reservation(customer=command.create.customer))


@pytest.fixture
async def inventory():
    return Inventory()


@pytest.fixture
def coalescer(inventory):
    return make(inventory)


def make(inventory, **limits):
    defaults = {"commands": 10, "size_bytes": 100_000, "concurrency": 2, "waiting": 100}
    return Coalescer(inventory, Limits(**(defaults | limits)), SubmitMetrics.make(new_registry()), Alarms())


def buy(coalescer, customer, sale="sales/s", timeout_seconds=5.0, request_id=""):
    request = rs.CreateReservationRequest(parent=sale, customer=customer, request_id=request_id)
    sending = coalescer.send(sale, "create", request, timeout_seconds, "trace", f"request-{customer}")
    return asyncio.ensure_future(sending)


def confirm(coalescer, name, sale="sales/s"):
    request = rs.ConfirmReservationRequest(name=f"{sale}/reservations/{name}")
    return asyncio.ensure_future(coalescer.send(sale, "confirm", request, 5.0, "trace", f"request-{name}"))


def reasons(answers):
    return [getattr(answer, "problem", None) and answer.problem.reason.name for answer in answers]


async def turns(count=3):
    for _ in range(count):
        await asyncio.sleep(0)


async def test_two_are_under_way_and_the_rest_share_the_next(coalescer, inventory):
    calls = [buy(coalescer, "first")]
    await turns()
    calls.append(buy(coalescer, "second"))
    await turns()
    calls += [buy(coalescer, f"c-{i}") for i in range(5)]
    await turns()
    assert inventory.sizes() == [1, 1]
    inventory.gates[0].set()
    await inventory.wait_for(3)
    assert inventory.sizes() == [1, 1, 5]
    for gate in inventory.gates:
        gate.set()
    answers = await asyncio.gather(*calls)
    assert [reservation.customer for reservation, _ in answers] == ["first", "second", *(f"c-{i}" for i in range(5))]


async def test_calls_of_one_turn_share_the_first(coalescer, inventory):
    calls = [buy(coalescer, f"c-{i}") for i in range(3)]
    await inventory.wait_for(1)
    assert inventory.sizes() == [3]
    inventory.gates[0].set()
    await asyncio.gather(*calls)


async def test_sales_do_not_wait_for_each_other(coalescer, inventory):
    calls = [buy(coalescer, f"c-{i}", sale=f"sales/{i}") for i in range(5)]
    await inventory.wait_for(5)
    assert [submit.parent for submit in inventory.submits] == [f"sales/{i}" for i in range(5)]
    for gate in inventory.gates:
        gate.set()
    await asyncio.gather(*calls)
    assert coalescer._sales == {}


async def test_a_refused_command_harms_no_other(coalescer, inventory):
    calls = [buy(coalescer, "lucky"), buy(coalescer, "unlucky")]
    await inventory.wait_for(1)
    inventory.gates[0].set()
    lucky, unlucky = await asyncio.gather(*calls, return_exceptions=True)
    assert lucky[0].customer == "lucky"
    assert unlucky.problem.reason.name == "INSUFFICIENT_STOCK"


async def test_a_failed_submit_fails_all_that_it_carried(coalescer, inventory):
    inventory.error = ProblemError(Problem(INVENTORY_UNAVAILABLE, "gone"))
    calls = [buy(coalescer, f"c-{i}") for i in range(3)]
    await inventory.wait_for(1)
    inventory.gates[0].set()
    errors = await asyncio.gather(*calls, return_exceptions=True)
    assert [error.problem.reason for error in errors] == [INVENTORY_UNAVAILABLE] * 3
    assert len(set(map(id, errors))) == 3


async def test_an_answer_of_the_wrong_length_is_a_fault(coalescer, inventory):
    async def short(request, timeout_seconds, traceparent):
        return rs.SubmitResponse()

    inventory.submit = short
    with pytest.raises(ProblemError) as refused:
        await buy(coalescer, "c")
    assert refused.value.problem.reason.name == "INTERNAL"


async def test_batches_are_bounded_by_number(inventory):
    coalescer = make(inventory, concurrency=1, commands=4)
    calls = [buy(coalescer, f"c-{i}") for i in range(10)]
    for count in (1, 2, 3):
        await inventory.wait_for(count)
        inventory.gates[count - 1].set()
    await asyncio.gather(*calls)
    assert inventory.sizes() == [4, 4, 2]


async def test_batches_are_bounded_by_size_but_one_always_goes(inventory):
    coalescer = make(inventory, concurrency=1, size_bytes=300)
    calls = [buy(coalescer, name * 200) for name in "abc"]
    for count in (1, 2, 3):
        await inventory.wait_for(count)
        inventory.gates[count - 1].set()
    await asyncio.gather(*calls)
    assert inventory.sizes() == [1, 1, 1]


async def test_a_full_queue_refuses_at_once(inventory):
    coalescer = make(inventory, concurrency=1, waiting=4)
    under_way = buy(coalescer, "under way")
    await inventory.wait_for(1)
    waiting = [buy(coalescer, f"c-{i}") for i in range(2)]
    await turns()
    with pytest.raises(ProblemError) as refused:
        await buy(coalescer, "too many")
    assert refused.value.problem.reason.name == "OVERLOADED"
    inventory.gates[0].set()
    await inventory.wait_for(2)
    inventory.gates[1].set()
    await asyncio.gather(under_way, *waiting)
    assert inventory.customers() == ["under way", "c-0", "c-1"]


@pytest.fixture
async def crowded(inventory):
    """A coalescer with one Submit in progress, and a function that releases all Submits."""
    coalescer = make(inventory, concurrency=1, waiting=8, commands=2)
    under_way = buy(coalescer, "under way")
    await inventory.wait_for(1)

    async def answers(*calls):
        answering = asyncio.gather(*calls, return_exceptions=True)
        while not answering.done():
            for gate in inventory.gates:
                gate.set()
            await asyncio.sleep(0)
        await under_way
        return answering.result()

    return coalescer, answers


async def test_what_ends_a_purchase_goes_first(crowded, inventory):
    coalescer, answers = crowded
    await answers(*[buy(coalescer, f"c-{i}") for i in range(2)], confirm(coalescer, "r"))
    assert [command.WhichOneof("command") for command in inventory.submits[1].commands] == ["confirm", "create"]


async def test_what_ends_a_purchase_takes_the_place_of_the_youngest_create(crowded):
    coalescer, answers = crowded
    calls = [buy(coalescer, f"c-{i}") for i in range(4)]
    await turns()
    calls.append(confirm(coalescer, "r"))
    assert reasons(await answers(*calls)) == [None, None, None, "OVERLOADED", None]


async def test_a_customer_who_floods_it_is_refused_in_place_of_others(crowded, inventory):
    coalescer, answers = crowded
    calls = [buy(coalescer, "hostile") for _ in range(9)]
    await turns()
    calls += [buy(coalescer, f"c-{i}") for i in range(3)]
    assert reasons(await answers(*calls)) == [None, *["OVERLOADED"] * 8, None, None, None]


async def test_a_sale_that_is_flooded_leaves_room_for_others(crowded):
    coalescer, answers = crowded
    calls = [buy(coalescer, f"c-{i}") for i in range(9)]
    await turns()
    calls.append(buy(coalescer, "calm", sale="sales/calm"))
    assert reasons(await answers(*calls)) == [None] * 4 + ["OVERLOADED"] * 5 + [None]


async def test_a_granted_request_that_comes_again_goes_before_new_ones(crowded, inventory):
    coalescer, answers = crowded
    await answers(buy(coalescer, "patient", request_id="7f3c"))
    inventory.gates.clear()
    under_way = buy(coalescer, "second")
    await inventory.wait_for(3)
    again = [buy(coalescer, "new"), buy(coalescer, "newer"), buy(coalescer, "patient", request_id="7f3c")]
    await turns()
    await answers(under_way, *again)
    assert [command.create.customer for command in inventory.submits[3].commands] == ["patient", "new"]


async def test_who_goes_away_is_dropped_from_the_queue(inventory):
    coalescer = make(inventory, concurrency=1)
    under_way = buy(coalescer, "under way")
    await inventory.wait_for(1)
    leaver, stayer = buy(coalescer, "leaver"), buy(coalescer, "stayer")
    await turns()
    leaver.cancel()
    await turns()
    inventory.gates[0].set()
    await inventory.wait_for(2)
    inventory.gates[1].set()
    await asyncio.gather(under_way, stayer)
    assert inventory.customers() == ["under way", "stayer"]


async def test_who_waited_too_long_is_reported_that_nothing_was_done(inventory):
    coalescer = make(inventory, concurrency=1)
    under_way = buy(coalescer, "under way")
    await inventory.wait_for(1)
    with pytest.raises(ProblemError) as refused:
        await buy(coalescer, "late", timeout_seconds=0.01)
    assert refused.value.problem.reason.name == "DEADLINE_IN_QUEUE"
    inventory.gates[0].set()
    await under_way
    await turns()
    assert inventory.customers() == ["under way"]


async def test_once_sent_a_late_answer_is_an_unknown_outcome(coalescer, inventory):
    with pytest.raises(ProblemError) as refused:
        await buy(coalescer, "c", timeout_seconds=0.01)
    assert refused.value.problem.reason.name == "OUTCOME_UNKNOWN"
    inventory.gates[0].set()
    await turns()


async def test_each_command_carries_what_is_left_of_its_time(coalescer, inventory):
    calls = [buy(coalescer, "a", timeout_seconds=2.0), buy(coalescer, "b", timeout_seconds=4.0)]
    await inventory.wait_for(1)
    seconds = [command.timeout.ToTimedelta().total_seconds() for command in inventory.submits[0].commands]
    assert 1.5 < seconds[0] <= 2.0 < 3.5 < seconds[1] <= 4.0
    assert [command.correlation_id for command in inventory.submits[0].commands] == ["request-a", "request-b"]
    inventory.gates[0].set()
    await asyncio.gather(*calls)
