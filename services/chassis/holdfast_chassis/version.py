"""Which build is running."""

import os
from importlib import metadata


def deployment_version() -> str:
    """Return what the deployment calls this build (HOLDFAST_VERSION), or else the installed distribution's version."""
    return os.environ.get("HOLDFAST_VERSION") or metadata.version("holdfast")
