"""Display names, labels and metadata are kept with sales, items and reservations."""

from dataclasses import replace

import pytest

from holdfast_inventory.domain.change import FieldChange
from holdfast_inventory.domain.item import ItemChanges
from holdfast_inventory.domain.labels import labels_text, notes_text
from holdfast_inventory.domain.sale import NewItem, SaleChanges
from tests.support.postgres import on_every_version
from tests.support.shopping import adjust, confirm, hold, new_sale

pytestmark = on_every_version

AUTUMN = labels_text({"season": "autumn", "channel": "web"})
NOTES = notes_text("For Ada", {"channel": "web"}, {"gift-note": "Ünïcode, with = and ,"})


@pytest.fixture
async def labelled(catalog):
    items = (NewItem("socks", 5, 0, "Socks", "size=42"),)
    new = replace(new_sale("drop"), items=items, display_name="Autumn drop", labels=AUTUMN)
    return (await catalog.create_sale(new)).sale


async def test_a_sale_and_its_items_have_their_names_and_labels(catalog, ledger, labelled):
    assert (labelled.display_name, labelled.labels) == ("Autumn drop", AUTUMN)
    await ledger.execute("drop", adjust("socks", 1), None)
    [item], _ = await catalog.list_items("drop", 10, None)
    assert (item.on_hand, item.display_name, item.labels) == (6, "Socks", "size=42")


async def test_names_and_labels_change_and_the_change_is_on_record(catalog, labelled):
    changed = (await catalog.update_sale("drop", SaleChanges(labels=""))).sale
    assert (changed.display_name, changed.labels) == ("Autumn drop", "")
    assert changed.etag != labelled.etag
    item, _ = await catalog.update_item("drop", "socks", ItemChanges(display_name="Warm socks"))
    assert (item.on_hand, item.display_name, item.labels) == (5, "Warm socks", "size=42")
    assert item == await catalog.get_item("drop", "socks")
    changes = await catalog.list_changes("drop", 1, 9)
    assert [change.fields for change in changes] == [
        (FieldChange("labels", AUTUMN, ""),),
        (FieldChange("items/socks.display_name", "Socks", "Warm socks"),),
    ]


async def test_sales_are_found_by_labels(catalog, labelled):
    await catalog.create_sale(new_sale("plain"))

    async def found(*labels):
        return [view.sale.sale_id for view in (await catalog.list_sales(10, None, None, None, labels))[0]]

    assert await found("season=autumn") == ["drop"]
    assert await found("season=autumn", "channel=web") == ["drop"]
    assert await found("season=autumn", "channel=shop") == await found("season=aut") == []
    assert await found() == ["plain", "drop"]


async def test_a_reservation_keeps_its_notes(catalog, ledger, labelled):
    held = (await ledger.execute("drop", hold(socks=1)._replace(notes=NOTES), None)).reservation
    sold = (await ledger.execute("drop", confirm(held), None)).reservation
    assert held.notes == sold.notes == NOTES
    assert sold == await catalog.get_reservation("drop", held.reservation_id)
    plain = (await ledger.execute("drop", hold(socks=1), None)).reservation
    assert (await catalog.get_reservation("drop", plain.reservation_id)).notes is None
