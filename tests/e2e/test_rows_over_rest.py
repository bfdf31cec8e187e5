"""Lists as CSV and as JSON Lines: every page by the link of the one before, refusals as always."""

import csv
import io
import json

import pytest

ITEMS = {f"item-{number}": number for number in range(1, 8)}


@pytest.fixture
def read_all(rest):
    """Read all pages of a list. Return the text of each."""

    async def read_all(path, accept):
        pages, url = [], rest.url + path
        while url is not None:
            async with rest.session.get(url, headers={"Accept": accept}) as answer:
                assert answer.status == 200, await answer.text()
                assert answer.content_type == accept
                pages.append(await answer.text())
                following = answer.links.get("next")
                assert (following is None) == ("Next-Page-Token" not in answer.headers)
                url = following and following["url"]
        return pages

    return read_all


async def test_items_and_movements_are_read_as_csv_page_by_page(shop, read_all):
    sale = await shop.open_sale(**ITEMS)
    pages = await read_all(f"/v1/{sale}/items?pageSize=3", "text/csv")
    rows = [row for page in pages for row in csv.DictReader(io.StringIO(page, newline=""))]
    assert {row["item"]: int(row["onHand"]) for row in rows} == ITEMS
    assert len(pages) == 3
    assert len({page.splitlines()[0] for page in pages}) == 1

    [page] = await read_all(f"/v1/{sale}/movements", "text/csv")
    assert [row["sequence"] for row in csv.DictReader(io.StringIO(page, newline=""))] == list("1234567")


async def test_reservations_are_read_as_json_lines(shop, rest, read_all):
    sale = await shop.open_sale(a=100)
    for number in range(5):
        await shop.reserve(sale, f"c-{number}", a=1)
    lines = "".join(await read_all(f"/v1/{sale}/reservations?page_size=2", "application/jsonl")).splitlines()
    whole = await rest.get(f"/v1/{sale}/reservations")
    assert [json.loads(line)["name"] for line in lines] == [each["name"] for each in whole.body["reservations"]]


async def test_what_is_no_list_is_json_alone_and_a_refusal_is_a_problem(shop, rest):
    sale = await shop.open_sale(a=1)
    one = await rest.get(f"/v1/{sale}/items/a", headers={"Accept": "text/csv"})
    assert (one.status, one.body["reason"]) == (406, "NOT_ACCEPTABLE")
    missing = await rest.get("/v1/sales/nobody/items", headers={"Accept": "text/csv"})
    assert (missing.status, missing.body["reason"]) == (404, "NOT_FOUND")


async def test_items_are_created_from_rows_all_or_none(shop, rest, read_all):
    sale = await shop.open_sale(**ITEMS)
    [page] = await read_all(f"/v1/{sale}/items", "text/csv")
    copy = await shop.open_sale(other=1)

    async def send(body):
        headers = {"Content-Type": "text/csv"}
        return await rest.send("POST", f"/v1/{copy}/items:batchCreate", data=body.encode(), headers=headers)

    assert [item["onHand"] for item in (await send(page)).body["items"]] == list(ITEMS.values())
    again = await send("item,onHand\r\nnew,1\r\nitem-3,1\r\n")
    assert (again.status, again.body["reason"]) == (409, "ALREADY_EXISTS")
    bad = await send("item,onHand\r\nnew,1\r\nnew,-1\r\n")
    assert [each["field"] for each in bad.body["violations"]] == ["items[1].onHand", "items[1].item"]
    listed = await rest.get(f"/v1/{copy}/items")
    assert {item["item"] for item in listed.body["items"]} == {"other", *ITEMS}
    assert (await rest.get(f"/v1/{copy}:verify")).body["consistent"]
