"""The conditions under which a sale's batches are exclusive."""

from holdfast_inventory.stock.contention import Contention


def run_until_optimistic(contention):
    """Return the number of exclusive batches before the next optimistic one."""
    batches = 0
    while contention.is_high:
        contention.committed()
        batches += 1
    return batches


def test_batches_are_optimistic_to_begin_with():
    assert not Contention().is_high
    assert Contention().is_over


def test_each_miss_is_followed_by_twice_as_many_exclusive_batches_up_to_a_limit():
    contention, runs = Contention(), []
    for _ in range(9):
        contention.missed()
        runs.append(run_until_optimistic(contention))
    assert runs == [1, 2, 4, 8, 16, 32, 64, 64, 64]


def test_each_batch_that_finds_its_sale_unchanged_halves_that_again():
    contention = Contention()
    for _ in range(4):
        contention.missed()
        run_until_optimistic(contention)
    contention.committed()
    contention.missed()
    assert run_until_optimistic(contention) == 8
    for _ in range(5):
        contention.committed()
    contention.missed()
    assert not contention.is_over
    assert run_until_optimistic(contention) == 1
    contention.committed()
    assert contention.is_over
