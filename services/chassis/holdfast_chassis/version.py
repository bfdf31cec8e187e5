"""The version of the running build."""

import os
from importlib import metadata


def deployment_version() -> str:
    """Return the version given by the deployment (HOLDFAST_VERSION), or else that of the installed distribution."""
    return os.environ.get("HOLDFAST_VERSION") or metadata.version("holdfast")
