"""Running nft: what is said when it is not there, or refuses."""

from __future__ import annotations

import pytest

from tiffin.errors import EngineError, Unsupported
from tiffin.network import tool


def test_without_nft_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "find_tool", lambda name: "")
    with pytest.raises(
        Unsupported, match=r"nft not found: apt-get install nftables, or use --network host or none$"
    ):
        tool.run_nft("")


def test_a_machine_with_iptables_alone_is_told_that_this_is_not_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tool, "find_tool", lambda name: "/sbin/iptables" if name == "iptables" else "")
    with pytest.raises(Unsupported, match="iptables is here, but tiffin's rules are nftables' alone"):
        tool.run_nft("")


def test_a_refusal_carries_the_tools_first_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "find_tool", lambda name: "/bin/ls")
    with pytest.raises(EngineError, match=r"nft exited with \d: /bin/ls: cannot access '-f|nft exited with"):
        tool.run_nft("nonsense\n")


def test_a_tool_that_fails_has_said_nothing() -> None:
    assert tool.output_of("/bin/echo", "one", "two") == "one two\n"
    assert tool.output_of("/bin/ls", "/nonexistent") == ""
