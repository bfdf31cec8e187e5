"""The durations of refusals, from the services' logs."""

import json
import os

from lab.kit.percentile import percentile

_MOST_LINES = 20_000
# The mark of a refusal by overload in a line of each log, and the field with its milliseconds.
_MARKS = {
    "edge": (b'"flags":"UO"', "milliseconds"),
    "gateway": (b'"reason":"OVERLOADED"', "milliseconds"),
    "inventory": (b'"reason":"OVERLOADED"', "duration_ms"),
}


class LogReader:
    """Reads the logs from the position of the last `skip`."""

    def __init__(self, system):
        self._paths = {name: system.log(name) for name in _MARKS}
        self._offsets = dict.fromkeys(_MARKS, 0)

    def skip(self):
        self._offsets = {name: path.stat().st_size for name, path in self._paths.items()}

    def refusals_ms(self):
        """Return the 99th percentile of each service that refused anything."""
        found = {name: self._times(name) for name in _MARKS}
        return {name: percentile(times, 0.99) for name, times in found.items() if times}

    def _times(self, name):
        mark, key = _MARKS[name]
        times = []
        with self._paths[name].open("rb") as log:
            log.seek(self._offsets[name], os.SEEK_SET)
            for line in log:
                if mark in line:
                    times.append(float(json.loads(line)[key]))
                    if len(times) == _MOST_LINES:
                        break
        return times
