#!/usr/bin/env python3
"""Writes the notices of the crates that are linked into our programs.

Most of their licences ask that the notice goes with the binaries. The list comes from `cargo metadata`, the texts from
the crates' own sources; equal texts are written once.

usage: third-party.py > NOTICES
"""

import hashlib
import json
import pathlib
import subprocess
import sys

PROGRAMS = {"manager", "server"}
TARGETS = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"]


def linked(metadata):
    """Packages that end up in the programs: their normal dependencies, not those of builds and tests."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    packages = {package["id"]: package for package in metadata["packages"]}
    waiting = [id for id in metadata["workspace_members"] if packages[id]["name"] in PROGRAMS]
    seen = set()
    while waiting:
        id = waiting.pop()
        if id in seen:
            continue
        seen.add(id)
        for dependency in nodes[id]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                waiting.append(dependency["pkg"])
    return sorted((packages[id] for id in seen if packages[id]["source"]), key=lambda p: (p["name"], p["version"]))


def notices(package):
    """The licence files of a crate."""
    directory = pathlib.Path(package["manifest_path"]).parent
    files = {path for pattern in ("LICEN[CS]E*", "COPYING*", "NOTICE*", "UNLICENSE*") for path in directory.glob(pattern)}
    return [path.read_text(errors="replace").strip() for path in sorted(files) if path.is_file()]


def main():
    command = ["cargo", "metadata", "--locked", "--format-version", "1"]
    for target in TARGETS:
        command += ["--filter-platform", target]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    texts = {}
    print("Backup Replicator contains these crates.\n")
    for package in linked(metadata):
        numbers = []
        for text in notices(package):
            key = hashlib.sha256(" ".join(text.split()).encode()).hexdigest()
            numbers.append(texts.setdefault(key, (len(texts) + 1, text))[0])
        said = ", ".join(f"[{number}]" for number in numbers) or "no notice in the crate"
        authors = ", ".join(package["authors"]) or "its contributors"
        print(f"{package['name']} {package['version']}\n    licence: {package['license']}\n    authors: {authors}\n    notices: {said}")
    for number, text in texts.values():
        print(f"\n{'=' * 79}\n[{number}]\n\n{text}")


if __name__ == "__main__":
    sys.exit(main())
