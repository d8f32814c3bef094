"""Rows of a store that knew IPv4 alone."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tiffin.network import rows
from tiffin.network.records import Network
from tiffin.state import locate, open_store
from tiffin.state.schema import MIGRATIONS

if TYPE_CHECKING:
    from pathlib import Path

_IPV6 = next(n for n, statements in enumerate(MIGRATIONS) if any("subnet6" in one for one in statements))


def test_networks_and_running_containers_keep_their_places(tmp_path: Path) -> None:
    layout = locate(str(tmp_path / "root"), str(tmp_path / "run"))
    os.makedirs(os.path.dirname(layout.database), mode=0o700)
    with closing(sqlite3.connect(layout.database)) as db:
        for statements in MIGRATIONS[:_IPV6]:
            for statement in statements:
                db.execute(statement)
        db.execute(f"PRAGMA user_version={_IPV6}")
        db.execute(
            "INSERT INTO networks (id, name, driver, bridge, subnet, gateway, created, options, detail)"
            " VALUES ('n', 'front', 'bridge', 'tn-n', '10.1.0.0/16', '10.1.0.1', 7, '{}', '{\"last\": 3}')"
        )
        for container, address in (("a", "10.1.0.2"), ("b", "10.1.0.3")):
            db.execute(
                "INSERT INTO endpoints (container, network, address, prefix, gateway, mac, veth, ports, aliases)"
                " VALUES (?, 'n', ?, 16, '10.1.0.1', 'm', 'v', '[[\"0.0.0.0\", 80, 80, \"tcp\", 0]]', '[\"x\"]')",
                (container, address),
            )
        db.execute("INSERT INTO memberships VALUES ('a', 0, 'n', 'front', '', '', '[]')")
        db.commit()
    with closing(open_store(layout)) as store:
        network = Network("n", "front", "bridge", "tn-n", "10.1.0.0/16", "10.1.0.1", 7)
        assert rows.networks(store.db) == [network]
        (one,) = rows.endpoints_of(store.db, "a")
        assert one[:7] == ("a", "n", "10.1.0.2", 16, "10.1.0.1", "m", "v")
        assert one.interface == "eth0" and one.aliases == ("x",) and one.ports[0].host_port == 80
        assert (one.address6, one.prefix6, one.gateway6) == ("", 0, "")
        assert len(rows.members(store.db, "n")) == 2
        (join,) = store.db.execute("SELECT address6 FROM memberships").fetchall()
        assert join == ("",)
        with pytest.raises(sqlite3.IntegrityError):
            store.db.execute("UPDATE endpoints SET address = '10.1.0.3' WHERE container = 'a'")
        store.db.execute("UPDATE endpoints SET address = ''")  # of a network without IPv4: any number of them
