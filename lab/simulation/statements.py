"""The store's named statements for the model: an independent implementation of `postgres/sql` in Python.

A statement is a function of the rows that its transaction sees, the server's time and its arguments. `LOCKS` has the
rows that it locks first: as in PostgreSQL, it reads what is committed when it has the locks.
"""

from datetime import timedelta
from itertools import islice

import asyncpg

from holdfast_inventory.postgres.columns import HOLD, ITEM, LEDGER, RESERVATION, SALE, SCHEDULE, STOCK_CHANGE, USE
from holdfast_inventory.postgres.statements import load, parameters_of
from lab.simulation.tables import CONFIRMED, HELD

SHARED, EXCLUSIVE = "shared", "exclusive"

_BATCH = load("batch")
_MOST = 2**31 - 1
_VALID_FOR = timedelta(seconds=2)


def _violated(kind, constraint):
    error = kind(f'violates constraint "{constraint}"')
    error.constraint_name = constraint
    return error


def _check(holds, constraint):
    if not holds:
        raise _violated(asyncpg.CheckViolationError, constraint)


def _sale(view, sale_id):
    return view.get("sales", sale_id, "")


def _change_sale(view, sale_id, **changes):
    row = _sale(view, sale_id)
    row = row | {"revision": row["revision"] + 1} | changes
    _check(row["close_at"] is None or row["close_at"] > row["open_at"], "sales_window_check")
    _check(row["per_customer_limit"] >= 0, "sales_per_customer_limit_check")
    _check(timedelta() < row["hold_time"] <= row["max_hold_time"], "sales_hold_time_check")
    _check(row["sequence"] >= 0, "sales_sequence_check")
    view.put("sales", sale_id, "", row)
    if row["schedule_id"] is not None:
        view.put("sales_of", row["schedule_id"], sale_id, {"open_at": row["open_at"]})
    return row


# batch.sql


def lock_sale(view, now, sale_id):
    row = _sale(view, sale_id)
    return [_shown(row)] if row is not None else []


def _shown(row):
    return {column: row[column] for column in SALE}


def read(view, now, *arguments):
    wanted = dict(zip(parameters_of(_BATCH["read"]), arguments, strict=True))
    sale_id = wanted["sale_id"]
    sale = _sale(view, sale_id)
    if sale is None:
        return []
    named = _found(view, "reservations", sale_id, wanted["reservation_ids"])
    due = _due(view, sale, now)[: wanted["due_limit"]]
    item_ids = {*wanted["item_ids"], *(item_id for row in (*named, *due) for item_id in row["item_ids"])}
    levels = _found(view, "items", sale_id, item_ids)
    late = {row["customer"] for row in named if row["reservation_id"] in wanted["late_ids"]}
    # Without the row's version, which not every PostgreSQL has: the revision must be enough.
    return [
        _shown(sale)
        | {"revision": sale["revision"], "row_version": 0, "now": now}
        | _arrays("named", RESERVATION, named)
        | _arrays("due", RESERVATION, due)
        | _arrays("level", ITEM, levels)
        | _arrays("running", HOLD, _running(view, sale_id, levels, now, wanted))
        | _arrays("used", USE, _used(view, sale, {*wanted["customers"], *late}, now))
        | _arrays("change", STOCK_CHANGE, _found(view, "stock_changes", sale_id, wanted["change_ids"]))
    ]


def _found(view, table, sale_id, keys):
    found = (view.get(table, sale_id, key) for key in keys)
    return [row for row in found if row is not None]


def _due(view, sale, now):
    holds = view.open_holds(sale["sale_id"])
    due = [row for row in holds if sale["cancelled_at"] is not None or row["expires_at"] <= now]
    return sorted(due, key=lambda row: row["expires_at"])


def _running(view, sale_id, levels, now, wanted):
    if not any(row["held"] > 0 and row["on_hand"] - row["held"] < wanted["most_units"] for row in levels):
        return []
    running = [row for row in view.open_holds(sale_id) if row["expires_at"] > now]
    return sorted(running, key=lambda row: row["expires_at"])[: wanted["running_limit"]]


def _used(view, sale, customers, now):
    if not sale["limits_customers"]:
        return []
    used = {}
    for row in view.rows("reservations", sale["sale_id"]):
        if row["state"] == 2 or (row["state"] == HELD and row["expires_at"] > now):
            returned = row["returned"] or [0] * len(row["quantities"])
            for item_id, quantity, back in zip(row["item_ids"], row["quantities"], returned, strict=True):
                place = (row["customer"], item_id)
                used[place] = used.get(place, 0) + quantity - back
    return [
        {"customer": customer, "item_id": item_id, "units": units}
        for (customer, item_id), units in used.items()
        if customer in customers
    ]


def _arrays(group, columns, rows):
    return {f"{group}.{column}": [_text(row[column]) for row in rows] or None for column in columns}


def _text(value):
    return ",".join(map(str, value)) if isinstance(value, list) else value


def read_bound_ids(view, now, *arguments):
    wanted = dict(zip(parameters_of(_BATCH["read_bound_ids"]), arguments, strict=True))
    return _found(view, "reservations", wanted["sale_id"], wanted["reservation_ids"])


def read_salt(view, now, sale_id):
    row = _sale(view, sale_id)
    return [{"salt": row["salt"]}] if row is not None else []


def append(view, now, *arguments):
    values = dict(zip(parameters_of(_BATCH["append"]), arguments, strict=True))
    sale_id, at = values["sale_id"], values["read_at"]
    sale = _sale(view, sale_id)
    if sale is None or sale["revision"] != values["revision"] or now >= at + _VALID_FOR:
        return [{"is_appended": False}]
    _change_sale(view, sale_id, sequence=values["sequence"])
    for row in _given(values, "levels", ITEM):
        _put_item(view, sale_id, **row)
    for row in map(_stored, _given(values, "created", RESERVATION)):
        _insert(view, "reservations", sale_id, row["reservation_id"], row, "reservations_pkey")
    for row in map(_stored, _given(values, "changed", RESERVATION)):
        known = view.get("reservations", sale_id, row["reservation_id"]) or row
        news = {name: row[name] for name in ("state", "expires_at", "ended_at", "order_id", "returned")}
        view.put("reservations", sale_id, row["reservation_id"], known | news)
    for row in _given(values, "stock_changes", STOCK_CHANGE):
        _insert(view, "stock_changes", sale_id, row["change_id"], row, "stock_changes_pkey")
    movements = [values[f"movements.{column}"] for column in LEDGER]
    _append_movements(view, sale_id, values["first_sequence"], values["sequence"], at, movements)
    return [{"is_appended": True}]


def _given(values, group, columns):
    """Return the rows from an array for each column."""
    columns = list(columns)
    for row in zip(*(values[f"{group}.{column}"] for column in columns), strict=True):
        yield dict(zip(columns, row, strict=True))


def _put_item(view, sale_id, item_id, on_hand, held, sold, per_customer_limit, version, display_name, labels):
    known = view.get("items", sale_id, item_id)
    row = {
        "item_id": item_id,
        "on_hand": on_hand,
        "held": held,
        "sold": sold,
        "per_customer_limit": per_customer_limit if known is None else known["per_customer_limit"],
        "version": version,
        "display_name": display_name,
        "labels": labels,
    }
    _check_item(row)
    view.put("items", sale_id, item_id, row)


def _check_item(row):
    if max(row["on_hand"], row["held"], row["sold"]) > _MOST:
        raise asyncpg.NumericValueOutOfRangeError("integer out of range")
    _check(row["on_hand"] >= 0, "items_on_hand_check")
    _check(0 <= row["held"] <= row["on_hand"], "items_held_check")
    _check(row["sold"] >= 0, "items_sold_check")
    _check(row["per_customer_limit"] >= 0, "items_per_customer_limit_check")


def _stored(row):
    """Return a reservation's row from the arguments of the append."""
    row = row | {
        "item_ids": row["item_ids"].split(","),
        "quantities": _units(row["quantities"]),
        "returned": row["returned"] and _units(row["returned"]),
    }
    lines = zip(row["item_ids"], row["quantities"], strict=False)
    same_length = len(row["item_ids"]) == len(row["quantities"])
    _check(row["item_ids"] and same_length and all(units > 0 for _, units in lines), "reservations_lines_check")
    _check((row["state"] == HELD) == (row["ended_at"] is None), "reservations_ended_check")
    _check(row["returned"] is None or _is_returned(row), "reservations_returned_check")
    return row


def _units(text):
    return [int(element) for element in text.split(",")]


def _is_returned(row):
    returned = row["returned"]
    return row["state"] == CONFIRMED and len(returned) == len(row["quantities"]) and min(returned) >= 0


def _insert(view, table, sale_id, key, row, constraint):
    if view.get(table, sale_id, key) is not None:
        raise _violated(asyncpg.UniqueViolationError, constraint)
    view.put(table, sale_id, key, row)


def _append_movements(view, sale_id, first, last, at, columns):
    if first > last:
        return
    row = {"first_sequence": first, "last_sequence": last, "created_at": at, **dict(zip(LEDGER, columns, strict=True))}
    _check(all(len(column) == last - first + 1 for column in columns), "ledger_length_check")
    taken = view.get("ledger", sale_id, last)
    if taken is not None:
        raise _violated(asyncpg.UniqueViolationError, "ledger_pkey")
    if view.get("ledger_firsts", sale_id, first) is not None:
        raise _violated(asyncpg.UniqueViolationError, "ledger_first_sequence_key")
    view.put("ledger", sale_id, last, row)
    view.put("ledger_firsts", sale_id, first, row)


# catalog.sql


def get_sale(view, now, sale_id):
    return [row | {"now": now} for row in lock_sale(view, now, sale_id)]


def store_rules(
    view, now, sale_id, open_at, close_at, limit, hold_time, max_hold_time, paused, cancelled_at, shop_confirms,
    admission_required, early_access, display_name, labels,
):  # fmt: skip
    limited = limit > 0 or any(item["per_customer_limit"] > 0 for item in view.rows("items", sale_id))
    row = _change_sale(
        view,
        sale_id,
        open_at=open_at,
        close_at=close_at,
        per_customer_limit=limit,
        hold_time=hold_time,
        max_hold_time=max_hold_time,
        paused=paused,
        cancelled_at=cancelled_at,
        updated_at=now,
        limits_customers=limited,
        shop_confirms=shop_confirms,
        admission_required=admission_required,
        early_access=early_access,
        display_name=display_name,
        labels=labels,
    )
    return [_shown(row) | {"now": now}]


def get_item(view, now, sale_id, item_id):
    row = view.get("items", sale_id, item_id)
    return [row] if row is not None else []


def sales_to_sweep(view, now, most):
    found = []
    for sale_id, holds in view.tables.open_holds.items():
        if holds:
            earliest = min(row["expires_at"] for row in holds.values())
            if earliest <= now or _sale(view, sale_id)["cancelled_at"] is not None:
                found.append((earliest, sale_id))
    return [{"sale_id": sale_id, "due_for": now - earliest} for earliest, sale_id in sorted(found)[:most]]


# changes.sql


def insert_change(view, now, resource, *columns):
    number = 1 + max((row["number"] for row in view.rows("changes", resource)), default=0)
    names = ("kind", "actor", "request_id", "fields", "old_values", "new_values")
    row = {"number": number, "created_at": now, **dict(zip(names, columns, strict=True))}
    _insert(view, "changes", resource, number, row, "changes_pkey")
    return []


# history.sql


def get_reservation(view, now, reservation_id, sale_id):
    row = view.get("reservations", sale_id, reservation_id)
    return [row] if row is not None else []


# schedules.sql


def insert_schedule(view, now, schedule_id, *columns):
    if view.get("schedules", "", schedule_id) is not None:
        return []
    row = dict(zip(SCHEDULE, (schedule_id, *columns, now, now, 0), strict=True))
    _check(row["period"] >= timedelta(seconds=60), "schedules_period_check")
    _check(timedelta() < row["open_duration"] <= row["period"], "schedules_open_duration_check")
    view.put("schedules", "", schedule_id, row)
    return [row]


def get_schedule(view, now, schedule_id):
    row = view.get("schedules", "", schedule_id)
    return [row] if row is not None else []


def list_schedules(view, now, after, most):
    found = [row for row in view.rows("schedules", "") if row["schedule_id"] > after]
    return sorted(found, key=lambda row: row["schedule_id"])[:most]


def delete_schedule(view, now, schedule_id):
    if view.get("schedules", "", schedule_id) is None:
        return []
    view.put("schedules", "", schedule_id, None)
    return [{"schedule_id": schedule_id}]


def keep_schedule(view, now, schedule_id, created_at, revision):
    row = view.get("schedules", "", schedule_id)
    is_kept = row is not None and (row["created_at"], row["revision"]) == (created_at, revision)
    return [{"kept": True}] if is_kept else []


def remaining_items(view, now, sale_id):
    found = [row for row in view.rows("items", sale_id) if row["on_hand"] > 0]
    return sorted(found, key=lambda row: row["item_id"])


def occurrences_to_settle(view, now, schedule_id, before, most):
    newest_first = _sales_of(view, schedule_id)[::-1]
    newest, others = newest_first[:most], newest_first[most:]
    older = [(open_at, sale_id) for open_at, sale_id in others if before is None or open_at < before][:most]
    left = [sale_id for _, sale_id in reversed(newest + older) if _has_left_overs(view, sale_id)]
    due = [sale_id for sale_id in left if _is_over(_sale(view, sale_id), now)]
    return [{"sale_ids": due, "looked_back_to": older[-1][0] if older else None}]


def next_occurrence(view, now, schedule_id, sale_id):
    this = _sale(view, sale_id)
    later = (
        {"sale_id": later_id}
        for open_at, later_id in _sales_of(view, schedule_id)
        if this is not None and open_at > this["open_at"] and not _is_over(_sale(view, later_id), now)
    )
    return list(islice(later, 1))


def _sales_of(view, schedule_id):
    return sorted((row["open_at"], sale_id) for sale_id, row in view.tables.partition("sales_of", schedule_id).items())


def _is_over(row, now):
    return row["cancelled_at"] is not None or row["close_at"] <= now


def _has_left_overs(view, sale_id):
    left = view.tables.stocked[sale_id]
    return left and not any(item["held"] for item in left.values())


# stocking.sql


def insert_sale(
    view, now, sale_id, open_at, close_at, limit, hold_time, max_hold_time, schedule_id, salt, limited, *access
):
    if _sale(view, sale_id) is not None:
        return []
    values = (
        sale_id, open_at or now, close_at, limit, hold_time, max_hold_time, False, None, now, now, schedule_id, 0,
        salt, limited, *access,
    )  # fmt: skip
    view.put("sales", sale_id, "", dict(zip(SALE, values, strict=True)) | {"revision": -1})
    return [_shown(_change_sale(view, sale_id))]


def insert_items(view, now, sale_id, item_ids, limits, display_names, labels):
    new = [
        (item_id, rules)
        for item_id, *rules in zip(item_ids, limits, display_names, labels, strict=True)
        if view.get("items", sale_id, item_id) is None
    ]
    sale = _sale(view, sale_id)
    _change_sale(view, sale_id, limits_customers=sale["limits_customers"] or any(limit > 0 for limit in limits))
    for item_id, (limit, *notes) in new:
        _put_item(view, sale_id, item_id, 0, 0, 0, limit, 0, *notes)
    return [{"item_id": item_id} for item_id, _ in new]


def has_sale(view, now, sale_id):
    return [{"exists": _sale(view, sale_id) is not None}]


def database_now(view, now):
    return [{"now": now}]


# Sessions of the model have no settings.


def set_session(view, now, names, values):
    return []


def read_settings(view, now, names):
    return []


# Statements without a name: `SELECT current_setting(...)`, with or without an argument, and the ping


def select(view, now, setting=None):
    return [{"value": "150000" if setting is None else "on"}]


STATEMENTS = {
    statement.__name__: statement
    for statement in (
        lock_sale, read, read_bound_ids, read_salt, append,
        get_sale, store_rules, get_item, sales_to_sweep, get_reservation, insert_schedule,
        get_schedule, list_schedules, delete_schedule, keep_schedule, remaining_items, occurrences_to_settle,
        next_occurrence, insert_sale, insert_items, insert_change, has_sale, database_now, set_session, read_settings,
        select,
    )
}  # fmt: skip

# Statements that a read-only server refuses.
WRITES = frozenset({
    "begin_locking", "lock_sale", "read_salt", "append", "store_rules", "insert_schedule", "delete_schedule",
    "keep_schedule", "insert_sale", "insert_items", "insert_change",
})  # fmt: skip

_LOCKS = {
    "lock_sale": ("sales", EXCLUSIVE),
    "append": ("sales", EXCLUSIVE),
    "store_rules": ("sales", EXCLUSIVE),
    "insert_items": ("sales", EXCLUSIVE),
    # A second insert waits for the first, and then sees whether it was committed.
    "insert_sale": ("sales", EXCLUSIVE),
    "insert_schedule": ("schedules", EXCLUSIVE),
    "delete_schedule": ("schedules", EXCLUSIVE),
    "keep_schedule": ("schedules", SHARED),
}

# It locks a row only against deletion, which the model does not have; but a lock makes the commit necessary.
LOCKS_WITHOUT_WAITING = frozenset({"read_salt"})


def lock_of(name, arguments):
    """Return the row that a statement waits for, and the kind of lock; None if it locks nothing."""
    found = _LOCKS.get(name)
    if found is None:
        return None
    table, mode = found
    parameters = parameters_of(_BATCH[name]) if name in _BATCH else ("sale_id",)
    return (table, arguments[parameters.index("sale_id")]), mode
