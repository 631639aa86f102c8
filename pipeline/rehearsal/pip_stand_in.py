"""Stands in for pip when a task installs its packages at its start.

KFP's Python components begin with `python3 -m pip install 'kfp==…'`. Without a container that
would change the Python the rehearsal runs in; so nothing is installed: what is there already is
enough, and what is missing is said. This file is copied into the task's file system and imports
nothing of ours.
"""

from __future__ import annotations

import importlib.metadata
import sys

_WITH_VALUE = {
    "-i",
    "--index-url",
    "--extra-index-url",
    "--trusted-host",
    "-f",
    "--find-links",
    "--timeout",
    "--retries",
    "--proxy",
    "--cert",
    "-t",
    "--target",
    "--root-user-action",
}


def missing(arguments: list[str]) -> list[str]:
    """What `pip install` is asked for and is not installed here, a sentence each."""
    from packaging.requirements import InvalidRequirement, Requirement

    problems, skip = [], False
    for word in arguments:
        if skip or word.startswith("-"):
            skip = not skip and word in _WITH_VALUE
            if word in ("-r", "--requirement", "-e", "--editable"):
                problems.append(f"{word}: files and folders are not looked into")
                skip = True
            continue
        try:
            requirement = Requirement(word)
        except InvalidRequirement:
            problems.append(f"{word}: not a requirement by name")
            continue
        if requirement.marker and not requirement.marker.evaluate():
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            problems.append(f"{requirement}: {requirement.name} is not installed")
            continue
        if requirement.specifier and not requirement.specifier.contains(version, prereleases=True):
            if requirement.name == "kfp" and version.split(".")[0] == "2":
                print(f"rehearsal: kfp {version} stands for {requirement}", file=sys.stderr)
                continue
            problems.append(f"{requirement}: {version} is installed")
    return problems


def main(arguments: list[str]) -> int:
    """`pip install …` without installing."""
    if arguments[:1] != ["install"]:
        print("pip (a rehearsal's): only `install` is known, and installs nothing")
        return 0 if arguments[:1] == ["--version"] else 1
    problems = missing(arguments[1:])
    for problem in problems:
        print(f"rehearsal: {problem}", file=sys.stderr)
    if problems:
        print(
            "rehearsal: without containers a task has the packages of this Python, and none are "
            "installed for it. Install them here, or rehearse with --containers.",
            file=sys.stderr,
        )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
