"""The Go client against real replicas: its example as printed, and its manners."""

import uuid
from pathlib import Path

from tests.e2e.client.test_python_client import CREATE, SUBMIT, new_sale
from tests.support.programs import run

SOURCE = Path(__file__).parents[3] / "clients/go"


def test_the_readme_prints_the_example():
    example = (SOURCE / "examples/buy/main.go").read_text()
    assert f"```go\n{example}```\n" in (SOURCE / "README.md").read_text()


async def test_the_example_does_what_it_says(cluster, tool):
    variables = {"HOLDFAST_ADDRESS": cluster.addresses[0], "HOLDFAST_SALE": f"go-{uuid.uuid4().hex[:8]}"}
    finished = await run(tool("holdfast_go_example"), **variables)
    assert finished.output.splitlines() == [
        "CONFIRMED 1 sneaker-42",
        "CUSTOMER_LIMIT_REACHED 1 of 2 false",
        "sneaker-42 49 left 1 sold",
    ]


async def test_a_lost_answer_is_asked_for_again_and_executed_once(front, client, tool):
    sale = await new_sale(client, 5)
    front.lose = 2
    finished = await run(tool("holdfast_go_manners"), front.target, sale)
    [held] = [each async for each in client.list_reservations(parent=sale)]
    # Before that, gRPC logs that the front does not know health.
    assert finished.output.splitlines()[-4:] == [
        f"{held.name} <nil>",
        "CONFIRMED <nil>",
        "NOT_FOUND",
        "*holdfast.Unanswered",
    ]
    assert [path for path, _ in front.calls[:4]] == [CREATE] * 3 + [SUBMIT]
    attempts = [metadata.get("holdfast-previous-attempts") for _, metadata in front.calls[:3]]
    assert attempts == [None, "1", "1"]
    assert {metadata["authorization"] for _, metadata in front.calls} == {"Bearer key"}
