"""The record of a container: what `create` fixed, its state as Docker names states, its row in the store.

`ContainerRecord` never changes after `create` (a rename changes the row alone). `Container` is one row: the
record together with the state that does change. `Containers` reads and writes rows; it starts nothing.
"""

from tiffin.containers.ports import PortSpec, parse_expose
from tiffin.containers.record import ContainerRecord, Device, LogConfig, Resources, new_id
from tiffin.containers.states import State
from tiffin.containers.store import Container, Containers

__all__ = [
    "Container",
    "ContainerRecord",
    "Containers",
    "Device",
    "LogConfig",
    "PortSpec",
    "Resources",
    "State",
    "new_id",
    "parse_expose",
]
