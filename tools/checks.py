"""Write docs/build-checks.md from the records of the lint's rules.

python tools/checks.py            # rewrite the page
python tools/checks.py --check    # exit 1 when it is not what the code says
"""

import sys
import textwrap

from pages import write_or_check

from tiffin.dockerfile.lint import RULES, Rule

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
    return write_or_check("build-checks.md", page(), "checks.py")


if __name__ == "__main__":
    sys.exit(main())
