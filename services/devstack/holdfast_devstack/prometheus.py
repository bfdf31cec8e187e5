"""A Prometheus as a child process, with the rules of monitoring/ on the services of this machine."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from holdfast_chassis import direct
from holdfast_devstack.child_process import ChildProcess, StartError
from holdfast_devstack.ports import LOOPBACK
from holdfast_devstack.server import Server

_RULES = Path(__file__).resolve().parents[3] / "monitoring/holdfast.rules.yaml"
_STOP_TIMEOUT_SECONDS = 20.0
_PROBE_TIMEOUT_SECONDS = 2.0


class PrometheusServer(Server):
    """A Prometheus that scrapes `targets`, host:port by job, every five seconds and keeps a day."""

    name = "Prometheus"
    start_timeout_seconds = 60.0

    def __init__(self, directory: Path, targets: Mapping[str, str], port: int = 0) -> None:
        super().__init__(directory, port)
        self._targets = targets

    @property
    def address(self) -> str:
        """The URL of its page."""
        return f"http://{LOOPBACK}:{self.port}"

    def prepare(self) -> None:
        """Write its configuration. Raises StartError if it is not installed, or its rules are not there."""
        if shutil.which("prometheus") is None:
            raise StartError("MONITORING=1 needs Prometheus: install it (Debian: apt-get install prometheus)")
        if not _RULES.is_file():
            raise StartError(f"MONITORING=1 needs the alert rules of a clone of Holdfast: {_RULES} is missing")
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        jobs = [{"job_name": job, "static_configs": [{"targets": [where]}]} for job, where in self._targets.items()]
        configuration = {
            "global": {"scrape_interval": "5s", "scrape_timeout": "4s", "evaluation_interval": "5s"},
            "rule_files": [str(_RULES)],
            "scrape_configs": jobs,
        }
        # JSON is YAML, too.
        self._configuration.write_text(json.dumps(configuration, indent=1), encoding="utf-8")

    @property
    def _configuration(self) -> Path:
        return self._directory / "prometheus.yml"

    def _new_child(self) -> ChildProcess:
        options = {
            "config.file": self._configuration,
            "storage.tsdb.path": self._directory / "data",
            "storage.tsdb.retention.time": "1d",
            "web.listen-address": f"{LOOPBACK}:{self.port}",
            "enable-feature": "exemplar-storage",
        }
        command = ["prometheus", *(f"--{name}={value}" for name, value in options.items())]
        return ChildProcess(self.name, command, self._directory / "prometheus.log")

    def stop(self, timeout_seconds: float = _STOP_TIMEOUT_SECONDS) -> None:
        """Stop it. Has no effect if it was not started."""
        if self._child is not None:
            self._child.stop(timeout_seconds)

    def _is_ready(self) -> bool:
        try:
            with direct.urlopen(f"{self.address}/-/ready", _PROBE_TIMEOUT_SECONDS) as answer:
                return answer.status == 200
        except OSError:
            return False
