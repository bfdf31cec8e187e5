from holdfast_chassis.places import Places, Use


def entered(places, use):
    """How many more of a use are let in."""
    count = 0
    while places.enter(use):
        count += 1
    return count


def test_looking_is_refused_first_and_finishing_last():
    places = Places(10)
    assert [entered(places, use) for use in (Use.LOOK, Use.BEGIN, Use.FINISH)] == [5, 3, 2]


def test_what_finishes_needs_no_place_that_others_may_take():
    places = Places(10)
    assert entered(places, Use.BEGIN) == 8
    assert [places.enter(Use.LOOK), places.enter(Use.FINISH)] == [False, True]


def test_a_place_that_was_left_can_be_taken():
    places = Places(10)
    assert entered(places, Use.FINISH) == 10
    places.leave()
    assert entered(places, Use.FINISH) == 1


def test_there_is_a_place_for_everything_however_few_there_are():
    assert all(Places(1).enter(use) for use in Use)
