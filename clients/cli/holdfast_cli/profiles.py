"""Profiles: addresses with their keys, in a file that only its owner can read."""

import json
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import typer

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class ProfilesError(Exception):
    """The file of profiles cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Profile:
    """An address of gRPC with its key. `authorities` is a PEM file; empty: those of this machine."""

    address: str = "localhost:50051"
    key: str = field(default="", repr=False)
    plaintext: bool = False
    authorities: str = ""


@dataclass(frozen=True)
class Profiles:
    """All profiles, and the name of the current one."""

    named: Mapping[str, Profile] = field(default_factory=dict)
    current: str = ""

    def chosen(self, name: str) -> Profile:
        """Return a profile; without a name the current one, or that of a Holdfast on this machine.

        Raises ProfilesError if there is none of that name.
        """
        name = name or self.current
        if not name:
            return Profile()
        if name not in self.named:
            raise ProfilesError(f"there is no profile {name!r}: `holdfast profile list` shows them")
        return self.named[name]


def path_of_profiles() -> Path:
    """Return the file: HOLDFAST_PROFILES, or the one in the user's directory of settings."""
    return Path(os.environ.get("HOLDFAST_PROFILES") or Path(typer.get_app_dir("holdfast")) / "profiles.json")


def load() -> Profiles:
    """Read the profiles; none if there is no file. Raises ProfilesError."""
    path = path_of_profiles()
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Profiles()
    except OSError as error:
        raise ProfilesError(f"{path} cannot be read: {error.strerror}") from error
    if mode & _OTHERS:
        raise ProfilesError(f"{path} has keys, and others may read it: `chmod 600 {path}`")
    try:
        document = json.loads(text)
        named = {name: Profile(**values) for name, values in document["profiles"].items()}
        return Profiles(named, document["current"])
    except (ValueError, TypeError, KeyError) as error:
        raise ProfilesError(f"{path} is not a file of profiles: remove it, and set them again") from error


def save(profiles: Profiles) -> None:
    """Write the profiles, for their owner alone, completely or not at all. Raises ProfilesError."""
    path = path_of_profiles()
    document = {"profiles": {name: asdict(each) for name, each in profiles.named.items()}, "current": profiles.current}
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Its mode is 0600 from its creation.
        descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".profiles-")
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
            json.dump(document, file, indent=2)
        Path(draft).replace(path)
    except OSError as error:
        raise ProfilesError(f"{path} cannot be written: {error.strerror}") from error
