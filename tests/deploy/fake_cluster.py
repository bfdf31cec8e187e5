"""Replacements of kubectl and docker: calls are recorded, and answers are chosen by the test."""

import os
import subprocess

from tests.deploy.render import REPOSITORY

KUBECTL = r"""#!/usr/bin/env bash
cd "$(dirname "$0")"
if [[ "$1" == kustomize ]]; then exec "$KUSTOMIZE" build "$2"; fi
echo "kubectl $*" | sed 's#[^ ]*/k8s/[.]deploy[^ /]*/##' >>calls
args=" $* "
name=$(sed -n 's#.*deployment[/ ]\([a-z]*\).*#\1#p' <<<"$args")
case "$args" in
  *" apply "*) if [[ "$args" =~ \ in\ \(([a-z]+)\) ]]; then echo 8 >"revision.${BASH_REMATCH[1]}"; fi
    cp "${@: -1}" manifests.yaml ;;
  *" get deployment "*) cat "revision.$name" 2>/dev/null ;;
  *" get job "*) cat migration ;;
  *" rollout status "*)
    if [[ -f "stuck.$name" ]]; then rm "stuck.$name"; echo "error: $name exceeded its progress deadline"; exit 1; fi ;;
  *" port-forward "*) echo "Forwarding from 127.0.0.1:$EDGE_PORT -> 8000"; exec sleep 60 ;;
esac
exit 0
"""
DOCKER = r"""#!/usr/bin/env bash
cd "$(dirname "$0")"
echo "docker $*" >>calls
case " $* " in
  *" stack deploy "*)
    for name in inventory gateway edge; do [[ -f "state.holdfast_$name" ]] || echo new >"image.holdfast_$name"; done ;;
  *.Image*) cat "image.${@: -1}" 2>/dev/null ;;
  *.UpdateStatus*) cat "state.${@: -1}" 2>/dev/null ;;
esac
exit 0
"""


class FakeCluster:
    """A directory with the programs, their answers and their calls."""

    def __init__(self, directory):
        self._directory = directory
        for name, program in (("kubectl", KUBECTL), ("docker", DOCKER)):
            path = directory / name
            path.write_text(program)
            path.chmod(0o755)
        self.answer("migration", "Complete ")

    def answer(self, name, text=""):
        (self._directory / name).write_text(text)

    def has_revisions(self, **revisions):
        """Set the revisions that are deployed already."""
        for name, revision in revisions.items():
            self.answer(f"revision.{name}", str(revision))

    @property
    def calls(self):
        path = self._directory / "calls"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def manifests(self):
        return (self._directory / "manifests.yaml").read_text()

    def run(self, script, *arguments, edge="127.0.0.1:1"):
        return subprocess.run(
            [REPOSITORY / "deploy" / script, *arguments],
            env=os.environ
            | {
                "PATH": f"{self._directory}:{os.environ['PATH']}",
                "KUSTOMIZE": str(REPOSITORY / ".tools/bin/kustomize"),
                "EDGE_PORT": edge.rpartition(":")[2],
            },
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
