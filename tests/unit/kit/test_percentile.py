import pytest

from lab.kit.percentile import percentile


def test_a_percentile_is_a_value_that_was_measured():
    assert [percentile([4.0, 1.0, 3.0, 2.0], share) for share in (0.0, 0.25, 0.5, 0.99, 1.0)] == [1, 1, 2, 4, 4]
    assert percentile([7.0], 0.5) == 7.0


def test_nothing_has_no_percentile():
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)
