"""Which extended attributes a layer carries (T7)."""


def is_kept(name: str) -> bool:
    """`user.*` except overlayfs's own, and file capabilities. `trusted.*` steers overlayfs; `system.*` and
    the rest of `security.*` (labels, signatures) belong to the host that they were made on."""
    return name == "security.capability" or (
        name.startswith("user.") and not name.startswith("user.overlay.")
    )
