"""Undoing and redoing movements."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from holdfast_inventory.domain.item import Item
from holdfast_inventory.domain.movement import Movement, MovementKind
from holdfast_inventory.watches.followers import moved_by, redo, undo

BATCHES = st.lists(
    st.lists(
        st.tuples(st.sampled_from("abc"), *[st.integers(-9, 9)] * 3),
        min_size=1,
        max_size=5,
    ),
    max_size=10,
)
LEVELS = {item_id: Item(item_id, 1_000, 500, 500, 3, 0) for item_id in "abc"}


def movements_of(batches):
    movements = []
    for number, batch in enumerate(batches):
        at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=number)
        for item_id, on_hand, held, sold in batch:
            place = len(movements) + 1
            movements.append(Movement(place, MovementKind.ADJUST, item_id, on_hand, held, sold, None, None, "", at))
    return movements


@given(BATCHES, st.data())
def test_changes_redone_from_undone_levels_are_those_that_happened(batches, data):
    movements = movements_of(batches)
    levels, happened, boundaries = dict(LEVELS), {}, [0]
    for movement in movements:
        levels[movement.item_id] = moved_by(levels[movement.item_id], movement, 1)
    happened = dict(redo(LEVELS, movements))
    boundaries += happened
    first = data.draw(st.sampled_from(boundaries))

    undo(levels, movements[first:])
    again = dict(redo(levels, movements[first:]))

    assert {sequence: items for sequence, items in happened.items() if sequence > first} == again


@given(BATCHES)
def test_each_batch_is_one_change_of_the_items_it_moved(batches):
    changes = list(redo(LEVELS, movements_of(batches)))
    assert [sorted({line[0] for line in batch}) for batch in batches] == [
        [item.item_id for item in items] for _, items in changes
    ]
