"""Runs programs that refuse to run as root: in a user namespace with another user id, or as the user nobody.

In both cases the program can access the files where they are, even in root's home. See ADR 22.
"""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from holdfast_devstack.child_process import StartError

_ROOT = 0
_NOBODY = 65534
_PROBE_TIMEOUT_SECONDS = 10.0
# Also for access(2), with which PostgreSQL looks for its programs.
_KEEP_THE_WAY_TO_FILES = (
    "--inh-caps=+dac_override",
    "--ambient-caps=+dac_override",
    "--securebits=+no_setuid_fixup",
)


@dataclass(frozen=True)
class Identity:
    """The user of a program: the words before its command, and the uid that must own its files."""

    prefix: tuple[str, ...]
    uid: int

    def own(self, directory: Path) -> None:
        """Change the owner of everything in `directory`. Raises StartError if that is not allowed."""
        if directory.stat().st_uid == self.uid:
            return
        try:
            os.chown(directory, self.uid, self.uid)
            for path in directory.rglob("*"):
                os.chown(path, self.uid, self.uid, follow_symlinks=False)
        except PermissionError as error:
            raise StartError(f"{directory} belongs to another user: remove it, or run as that user") from error


def identity_for(program: Path, directory: Path) -> Identity:
    """Return a user that can run `program` on files in `directory`: this one, unless it is root or has no name.

    Raises StartError if there is none.
    """
    uid = os.geteuid()
    if uid != _ROOT and _has_name(uid):
        return Identity((), uid)
    for candidate in _candidates(uid):
        if _can_run(candidate, program, directory):
            return candidate
    raise StartError(
        f"{program.name} refuses to run as root or as a user without a name, and neither a user namespace nor the "
        f"user nobody can reach {program} and {directory}: "
        "run this as an ordinary user, or in a directory that every user can reach, such as one in /opt"
    )


def _candidates(uid: int) -> list[Identity]:
    nobody = _nobody()
    found = []
    if unshare := shutil.which("unshare"):
        # The user keeps its access to files; only its number changes.
        found.append(Identity((unshare, "--user", f"--map-user={nobody}", f"--map-group={nobody}", "--"), uid))
    if (setpriv := shutil.which("setpriv")) and uid == _ROOT:
        # Containers often forbid namespaces.
        drop = (setpriv, f"--reuid={nobody}", f"--regid={nobody}", "--clear-groups")
        found.append(Identity((*drop, "--"), nobody))
        # Other users cannot enter root's home. There the program keeps one capability of root, to access any file.
        found.append(Identity((*drop, *_KEEP_THE_WAY_TO_FILES, "--"), nobody))
    return found


def _nobody() -> int:
    """Return a number that has a user name, because initdb requires one."""
    try:
        return pwd.getpwnam("nobody").pw_uid
    except KeyError:
        return _NOBODY


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _can_run(identity: Identity, program: Path, directory: Path) -> bool:
    """Return whether it can access the program and the directory's parent. The directory itself gets a new owner."""
    script = 'cd "$1" && exec "$2" --version'
    probe = [*identity.prefix, "sh", "-c", script, "sh", str(directory.parent), str(program)]
    try:
        result = subprocess.run(  # noqa: S603 - a command of ours
            probe, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PROBE_TIMEOUT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return result.returncode == 0
