from lab.kit.metrics import total

PAGE = """# HELP calls_total Calls.
calls_total{code="OK",method="POST"} 3.0
calls_total{code="OK",method="GET"} 2.0
calls_total_created 9.0
open_calls 4.0
"""


def test_samples_of_a_metric_are_summed_up_by_their_labels():
    assert (total(PAGE, "calls_total"), total(PAGE, "calls_total", 'method="POST"')) == (5.0, 3.0)
    assert (total(PAGE, "open_calls"), total(PAGE, "nothing")) == (4.0, 0.0)
