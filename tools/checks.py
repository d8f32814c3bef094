"""Write docs/build-checks.md from the records of the lint's rules.

python tools/checks.py            # rewrite the page
python tools/checks.py --check    # exit 1 when it is not what the code says
"""

import sys
import textwrap
from pathlib import Path

from tiffin.dockerfile.lint import RULES, Rule

PAGE = Path(__file__).parent.parent / "docs" / "build-checks.md"

_HEAD = """\
# Build checks

Made from the rules' own records by `tools/checks.py`; do not edit.

Every build tells at its end what these checks find in the stages that it built, a line each. `tiffin build --check`
looks at all stages, shows each finding with its lines, and builds nothing; the exit code is 1 when there is a finding.
A Dockerfile that is wrong is checked up to its mistake, which is told behind the findings. Names, texts and rules are
those of Docker's reference.

A directive at the top of the Dockerfile chooses. Rules are named exactly, `all` means every one; the experimental ones
are off unless they are asked for. With `error=true` a finding stops the build before anything is executed.

```dockerfile
# check=skip=JSONArgsRecommended,StageNameCasing;experimental=CopyIgnoredFile;error=true
```

The build argument `BUILDKIT_DOCKERFILE_CHECK` has the same words and comes before the directive.
"""


def _section(rule: Rule) -> list[str]:
    text = f"{rule.text.rstrip('.')}."
    if rule.experimental:
        text = f"Experimental. {text}"
    return [
        f"## {rule.name}", "", *textwrap.wrap(text, 118), "", *textwrap.wrap(rule.why, 118), "", "Bad:", "",
        *("```dockerfile", rule.bad.rstrip("\n"), "```", "", "Good:", ""),
        *("```dockerfile", rule.good.rstrip("\n"), "```", ""),
    ]  # fmt: skip


def page() -> str:
    """The whole page."""
    index = [
        f"- [{rule.name}](#{rule.name.lower()}){' (experimental)' if rule.experimental else ''}"
        for rule in RULES
    ]
    lines = [_HEAD, *index, ""]
    for rule in RULES:
        lines += _section(rule)
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    text = page()
    if sys.argv[1:] == ["--check"]:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
            print(
                "docs/build-checks.md is not what the code says: run python tools/checks.py", file=sys.stderr
            )
            return 1
        return 0
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
