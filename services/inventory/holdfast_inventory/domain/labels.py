"""Labels of sales, items and reservations, and what else callers note on a reservation.

The core neither reads nor changes them, so it has them as the text that is stored.
"""

import json
from collections.abc import Iterable, Mapping


def labels_text(labels: Mapping[str, str]) -> str:
    """Return labels as text, in the order of their keys: `a=1,b=2`. No key or value has a comma or an equals sign."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def labels_of(text: str) -> dict[str, str]:
    """Return the labels in a text."""
    return dict(label.split("=", 1) for label in text.split(",")) if text else {}


def has_labels(text: str, wanted: Iterable[str]) -> bool:
    """Return whether a text has all of these labels, each as `key=value`."""
    return set(wanted) <= set(text.split(","))


def notes_text(display_name: str, labels: Mapping[str, str], metadata: Mapping[str, str]) -> str | None:
    """Return what is noted on a reservation as text that is the same for the same meaning; None if it is nothing."""
    notes = {"display_name": display_name, "labels": dict(labels), "metadata": dict(metadata)}
    noted = {name: value for name, value in notes.items() if value}
    return json.dumps(noted, sort_keys=True, separators=(",", ":")) if noted else None
