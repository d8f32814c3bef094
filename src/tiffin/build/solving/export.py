"""The finished target as an image: its config document, its history, its layers."""

from __future__ import annotations

from tiffin.build.epoch import NO_EPOCH, clamp_history
from tiffin.build.planning.graph import BaseWork, Outcome, Plan, SquashWork, Step
from tiffin.oci.image import History, empty_config, format_time
from tiffin.oci.platform import Platform
from tiffin.typed import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from tiffin.build.cache import Kept
    from tiffin.images import LayerBlob


class Solved(NamedTuple):
    """What a build made for one platform: the config, checked, and the layers, bottom first, of which the last `own`
    are this build's. `kept` is every step's result."""

    platform: Platform
    document: dict[str, Any]
    layers: tuple[LayerBlob, ...]
    own: int
    kept: tuple[Kept, ...] = ()


def image_document(
    plan: Plan, chain: list[int], outcomes: list[Outcome], platform: Platform, epoch: int = NO_EPOCH
) -> dict[str, Any]:
    """The image config (image-spec, config.md). A pure function of the plan and the outcomes: a build that
    found every step in the cache makes the same bytes, so the same image ID. With an `epoch` (ns) that is when all was
    made."""
    begun = plan.base or empty_config(platform)
    document: dict[str, Any] = {
        key: begun[key]
        for key in ("architecture", "os", "variant", "os.version", "os.features")
        if key in begun
    }
    history = list(begun.get("history") or [])
    created = begun.get("created") or ""
    if epoch != NO_EPOCH:
        history, created = clamp_history(history, epoch), format_time(epoch)
    for number, outcome in zip(chain, outcomes, strict=True):
        step = plan.steps[number]
        if isinstance(step.work, BaseWork):
            continue
        created = format_time(outcome.created)
        if isinstance(step.work, SquashWork):
            history += _squashed(plan, step, created, empty=outcome.layer is None)
            continue
        if step.created_by:
            history.append(History(created, step.created_by, empty_layer=outcome.layer is None).document())
    # Of a step from the cache it may be before that of a changed LABEL above it.
    latest = max((outcome.created for outcome in outcomes), default=0)
    if latest:
        created = format_time(latest)
    if created:
        document["created"] = created
    if plan.author:
        document["author"] = plan.author
    document["config"] = plan.config
    diff_ids = [layer.diff_id for layer in outcomes[-1].layers]
    document["rootfs"] = {"type": "layers", "diff_ids": diff_ids}
    document["history"] = history
    return document


def _squashed(plan: Plan, squash: Step, created: str, *, empty: bool) -> list[dict[str, Any]]:
    """The history of the steps that became one layer: none has one of its own any more."""
    found = []
    (number,) = squash.sources
    while number != squash.parent:
        step = plan.steps[number]
        if step.created_by:
            found.append(History(created, step.created_by, empty_layer=True).document())
        number = step.parent
    found.reverse()
    comment = f"the layers of the {len(found)} steps before, as one"
    return [*found, History(created, comment=comment, empty_layer=empty).document()]
