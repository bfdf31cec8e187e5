"""`decide` gives the answers of a model too simple to be wrong, command by command."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.property.effort import effort
from tests.property.plain_answers import plain, plain_level, plain_reservation
from tests.property.programs import Program, programs, stampedes
from tests.property.rehearsal import Counter, Played, Rehearsal

pytestmark = pytest.mark.timeout(3600)


@effort(1.0)
@given(programs)
def test_every_answer_is_the_models(program: Program):
    rehearsal = Rehearsal(program)
    for played in rehearsal.play():
        assert played.expected == [plain(answer) for answer in played.answers]
        assert_same_world(rehearsal.counters[played.sale], played)


@effort(0.7)
@given(st.one_of(programs, stampedes), st.integers(1, 3))
def test_every_answer_is_the_models_when_a_batch_sees_few_of_the_due_holds(program: Program, due_limit: int):
    rehearsal = Rehearsal(program, due_limit=due_limit)
    for played in rehearsal.play():
        answers = [without_held(plain(answer)) for answer in played.answers]
        assert [without_held(answer) for answer in played.expected] == answers
    rehearsal.sweep_all()
    for counter in rehearsal.counters:
        for item_id, item in counter.store.items.items():
            assert counter.model.level(item_id, rehearsal.now) == plain_level(item)


def assert_same_world(counter: Counter, played: Played) -> None:
    store, model = counter.store, counter.model
    if store.due(played.now):
        return  # A refused transfer appends nothing, so due holds stay as they are.
    for item_id, item in store.items.items():
        assert model.level(item_id, played.now) == plain_level(item)
    expected = {key: model.view(booking, played.now) for key, booking in model.bookings.items()}
    assert expected == {key: plain_reservation(reservation) for key, reservation in store.reservations.items()}


def without_held(answer: tuple) -> tuple:
    """Levels without `held`, which still contains due holds that were not ended yet."""
    match answer:
        case ("adjusted", on_hand, _, sold, replayed):
            return ("adjusted", on_hand, sold, replayed)
        case ("transferred", source, destination, replayed):
            return ("transferred", source[::2], destination[::2], replayed)
        case _:
            return answer
