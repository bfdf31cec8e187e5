from holdfast_chassis.recent import RecentSet


def test_the_last_are_remembered_and_no_more_than_twice_as_many():
    recent = RecentSet(3)
    for number in range(100):
        recent.add(number)
        remembered = [each for each in range(100) if each in recent]
        assert set(range(max(0, number - 2), number + 1)) <= set(remembered)
        assert len(remembered) <= 6
