"""Write what the golden Dockerfiles give now, parsed and planned: python -m tests.golden.update [NAME ...]. Read it
before you keep it."""

from __future__ import annotations

import sys

from tests.golden import dockerfile_cases, plans


def main(names: list[str]) -> int:
    """Rewrite the expectations of these cases, of all when none is named; print those that changed."""
    every = [(case, dockerfile_cases.outcome) for case in dockerfile_cases.cases()]
    every += [(case, plans.outcome) for case in plans.cases()]
    for case, outcome in every:
        if names and case.name not in names:
            continue
        name, text = outcome(case)
        before = (case / name).read_text() if (case / name).exists() else ""
        if before != text:
            for old in ("expected.txt", "error.txt"):
                (case / old).unlink(missing_ok=True)
            (case / name).write_text(text)
            print(f"{case.name}/{name}\n{text}", end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
