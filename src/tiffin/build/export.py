"""The finished target as an image: its config document, its history, its names."""

from __future__ import annotations

from tiffin.build.graph import BaseWork, Outcome, Plan
from tiffin.oci.image import History, empty_config, format_time
from tiffin.oci.platform import Platform
from tiffin.typed import Any


def image_document(
    plan: Plan, chain: list[int], outcomes: list[Outcome], platform: Platform
) -> dict[str, Any]:
    """The image config (image-spec, config.md). A pure function of the plan and the outcomes: a build that
    found every step in the cache makes the same bytes, so the same image ID."""
    begun = plan.base or empty_config(platform)
    document: dict[str, Any] = {
        key: begun[key]
        for key in ("architecture", "os", "variant", "os.version", "os.features")
        if key in begun
    }
    history = list(begun.get("history") or [])
    created = begun.get("created") or ""
    for number, outcome in zip(chain, outcomes, strict=True):
        step = plan.steps[number]
        if isinstance(step.work, BaseWork):
            continue
        created = format_time(outcome.created)
        entry = History(created, step.created_by, author=plan.author, empty_layer=outcome.layer is None)
        history.append(entry.document())
    if created:
        document["created"] = created
    if plan.author:
        document["author"] = plan.author
    document["config"] = plan.config
    diff_ids = [layer.diff_id for layer in outcomes[-1].layers]
    document["rootfs"] = {"type": "layers", "diff_ids": diff_ids}
    document["history"] = history
    return document
