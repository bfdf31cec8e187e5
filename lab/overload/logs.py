"""What the services say of their refusals in their logs: how long each of them took over one."""

import json
import os

from lab.kit.percentile import percentile

_MOST_LINES = 20_000
# What a refusal for want of room looks like in a line of each, and where the line has its milliseconds.
_MARKS = {
    "edge": (b'"flags":"UO"', "milliseconds"),
    "gateway": (b'"reason":"OVERLOADED"', "milliseconds"),
    "inventory": (b'"reason":"OVERLOADED"', "duration_ms"),
}


class LogReader:
    """Reads on from where it was told to skip to."""

    def __init__(self, system):
        self._paths = {name: system.log(name) for name in _MARKS}
        self._offsets = dict.fromkeys(_MARKS, 0)

    def skip(self):
        self._offsets = {name: path.stat().st_size for name, path in self._paths.items()}

    def refusals_ms(self):
        """The 99th percentile of each service that refused anything."""
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
