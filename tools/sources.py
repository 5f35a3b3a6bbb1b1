# SPDX-License-Identifier: Apache-2.0
"""The files of the tree, for the rules in tools/check-*. They run in the tree's root."""

import os
import re
import subprocess
import sys

NOT_SOURCE = re.compile(r"build(-.*)?|__pycache__|\.pytest_cache|\.git")


def files(*suffixes, under=("",)):
    """Paths of the tree's text files, sorted; only those with a suffix, if any is given."""
    if os.path.exists(".git"):
        out = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            check=True, capture_output=True, text=True).stdout
        paths = set(out.split("\0")) - {""}
    else:
        paths = set()
        for root, dirs, names in os.walk("."):
            dirs[:] = [d for d in dirs if not NOT_SOURCE.fullmatch(d)]
            paths.update(os.path.relpath(os.path.join(root, n), ".") for n in names)
    return sorted(p for p in paths
                  if os.path.isfile(p) and not os.path.islink(p)
                  and (not suffixes or p.endswith(suffixes))
                  and p.startswith(tuple(under)))


def read(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read()


def interpreter(path):
    """What a script's first line runs: "sh", "bash", "python3", ... or "" if it is no script."""
    with open(path, "rb") as f:
        first = f.readline(200).decode("ascii", "replace")
    if not first.startswith("#!"):
        return ""
    words = [os.path.basename(w) for w in first[2:].split()]
    return words[1] if words[:1] == ["env"] and len(words) > 1 else words[0] if words else ""


def strip_comments(text):
    """C text with comments and the insides of strings blanked; line numbers stay."""
    token = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)

    def blank(match):
        s = match.group(0)
        if s[0] in "\"'":
            return s[0] + s[0]
        return " " + "\n" * s.count("\n")

    return token.sub(blank, text)


def finish(problems):
    """Prints the problems, one a line, and ends the program."""
    for p in problems:
        print(p, file=sys.stderr)
    sys.exit(1 if problems else 0)
