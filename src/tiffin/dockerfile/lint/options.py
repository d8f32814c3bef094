"""`# check=skip=StageNameCasing,FromAsCasing;error=true`: which rules are in force, and whether they stop a build."""

from __future__ import annotations

from tiffin.dockerfile.place import Place, nearest, shown
from tiffin.dockerfile.shell_words import SPACE
from tiffin.dockerfile.value import Value
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tiffin.dockerfile.lint.rule import Rule
    from tiffin.dockerfile.stages import Dockerfile

BUILD_ARG = "BUILDKIT_DOCKERFILE_CHECK"
"""The build argument that stands in for the directive."""

ALL = "all"
_KEYS = ("skip", "error", "experimental")
_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}


class Options(Value):
    """`skip` and `experimental` are names of rules, or hold ALL."""

    skip: tuple[str, ...] = ()
    experimental: tuple[str, ...] = ()
    error: bool = False

    @classmethod
    def of(cls, dockerfile: Dockerfile, build_args: Mapping[str, str]) -> Options:
        """The build argument's, else the directive's. Raises DockerfileError."""
        given = build_args.get(BUILD_ARG, "")
        return cls.parse(given or dockerfile.directives.get("check", ""), Place(dockerfile.file))

    @classmethod
    def parse(cls, text: str, place: Place) -> Options:
        """Raises DockerfileError for a key or a boolean that is none. Names of rules are not looked at."""
        lists: dict[str, tuple[str, ...]] = {}
        error = False
        for part in text.strip(SPACE).split(";") if text.strip(SPACE) else ():
            key, equals, value = part.partition("=")
            key, value = key.strip(SPACE), value.strip(SPACE)
            if not equals or key not in _KEYS:
                raise place.error(
                    f"invalid check option {shown(key)}{nearest(key, _KEYS)}: use skip=, error="
                )
            if key != "error":
                lists[key] = tuple(name.strip(SPACE) for name in value.split(","))
            elif value in _BOOLEANS:
                error = _BOOLEANS[value]
            else:
                raise place.error(f"invalid check option error={shown(value)}: use true or false")
        return cls(lists.get("skip", ()), lists.get("experimental", ()), error)

    def wants(self, rule: Rule) -> bool:
        """Whether the rule is in force."""
        named = self.experimental if rule.experimental else self.skip
        return (rule.name in named or ALL in named) == rule.experimental

    def unknown(self, rules: Iterable[Rule]) -> tuple[str, ...]:
        """The names in `skip` and `experimental` that no rule has, each with a hint."""
        names = [rule.name for rule in rules]
        lowered = {name.lower(): name for name in names}
        strange = [
            name for name in (*self.skip, *self.experimental) if name not in names and name not in (ALL, "")
        ]
        return tuple(
            f"check directive: no rule is called {shown(name)}"
            + (
                f" (did you mean {lowered[name.lower()]}?)"
                if name.lower() in lowered
                else nearest(name, names)
            )
            for name in strange
        )
