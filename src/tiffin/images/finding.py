"""What a check of the store found, one thing at a time."""

from tiffin.typed import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    Progress = Callable[[int, int], None]
    """Called with the bytes verified so far and those to verify in all; from several threads."""

DAMAGE = "damage"
LEFTOVER = "leftover"


class Finding(NamedTuple):
    """One thing that is not as the rows say.

    severity  DAMAGE: something that has a name is not whole, or says two things. LEFTOVER: what a command that was
              killed left behind; harmless, and taken away by the next collection (`image prune`) or a repair
    kind      "database", "image", "blob", "layer", "index", "container", "volume", "network", "staging", "file"
    name      the thing: a digest, an ID, a path below the root
    what      one line, lower case
    repair    what a repair would do; "" when only its owner can say
    outcome   of a repair that was asked for: what was done, or why it was not; "" when none was asked for
    repaired  whether it is as it should be now
    """

    severity: str
    kind: str
    name: str
    what: str
    repair: str = ""
    outcome: str = ""
    repaired: bool = False

    def document(self) -> dict[str, Any]:
        """Its JSON form."""
        return {
            "Severity": self.severity,
            "Kind": self.kind,
            "Name": self.name,
            "Problem": self.what,
            "Repair": self.repair,
            "Outcome": self.outcome,
            "Repaired": self.repaired,
        }
