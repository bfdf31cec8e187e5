"""Envoy's configuration of mutual TLS between workloads, by files that Envoy reads again when they change."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from holdfast_chassis.identity.workload_files import AUTHORITIES, CERTIFICATE, KEY

_OWN, _AUTHORITIES = "own", "authorities"
_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
# Envoy's own limit for connections to others is TLS 1.2, and the gateway accepts only 1.3.
_VERSIONS = {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"}
PLAIN: Mapping[str, Any] = {
    "name": "envoy.transport_sockets.raw_buffer",
    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"},
}
"""The transport socket without TLS."""


class WorkloadTls:
    """The transport sockets of a workload whose certificate is in a directory.

    Envoy watches a certificate only if another file tells it to, which this writes to a temporary directory. Close this
    when Envoy has started.
    """

    def __init__(self, directory: Path) -> None:
        """Raise OSError if there is no place for temporary files."""
        directory = self.directory = directory.resolve()
        """Where the certificate is."""
        self._temporary = Path(tempfile.mkdtemp(prefix="holdfast-envoy-"))
        watched = {"watched_directory": {"path": str(directory)}}
        chain, key = (_file(directory / name) for name in (CERTIFICATE, KEY))
        self._write(_OWN, tls_certificate={"certificate_chain": chain, "private_key": key, **watched})
        self._write(_AUTHORITIES, validation_context={"trusted_ca": _file(directory / AUTHORITIES), **watched})

    @property
    def temporary_directory(self) -> Path:
        """What `close` removes."""
        return self._temporary

    def close(self) -> None:
        """Remove the temporary files."""
        shutil.rmtree(self._temporary, ignore_errors=True)

    def accepting(self) -> dict[str, Any]:
        """Return the socket of a gRPC listener, to which clients prove themselves. Any name is accepted."""
        common = self._common("h2", validation_context_sds_secret_config=self._source(_AUTHORITIES))
        return _socket("DownstreamTlsContext", common_tls_context=common, require_client_certificate=True)

    def connecting_to(self, name: str, protocol: str) -> dict[str, Any]:
        """Return the socket of connections to the workload that proves to have a DNS name. `protocol`: as in ALPN."""
        names = [{"san_type": "DNS", "matcher": {"exact": name}}]
        validation = {
            "default_validation_context": {"match_typed_subject_alt_names": names},
            "validation_context_sds_secret_config": self._source(_AUTHORITIES),
        }
        common = self._common(protocol, combined_validation_context=validation)
        return _socket("UpstreamTlsContext", common_tls_context=common, sni=name)

    def _common(self, protocol: str, **validation: object) -> dict[str, Any]:
        own = [self._source(_OWN)]
        common = {"tls_params": _VERSIONS, "alpn_protocols": [protocol], "tls_certificate_sds_secret_configs": own}
        return common | validation

    def _source(self, name: str) -> dict[str, Any]:
        path = {"path": str(self._path(name))}
        return {"name": name, "sds_config": {"resource_api_version": "V3", "path_config_source": path}}

    def _write(self, name: str, **secret: object) -> None:
        resources = {"resources": [{"@type": f"{_TLS}.Secret", "name": name, **secret}]}
        self._path(name).write_text(json.dumps(resources), encoding="utf-8")

    def _path(self, name: str) -> Path:
        return self._temporary / f"{name}.json"


def _socket(kind: str, **context: object) -> dict[str, Any]:
    return {"name": "envoy.transport_sockets.tls", "typed_config": {"@type": f"{_TLS}.{kind}", **context}}


def _file(path: Path) -> dict[str, str]:
    return {"filename": str(path)}
