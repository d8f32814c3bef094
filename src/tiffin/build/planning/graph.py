"""The graph of a build: its steps, and what each of them is to do. Plain values, made by `plan`, executed by `solver`.

A step's parent and sources always have lower numbers than the step.
"""

from __future__ import annotations

from collections.abc import Mapping

from tiffin.build.cache import Layer
from tiffin.build.copying.sources import Picked
from tiffin.build.planning.config import Config
from tiffin.oci.platform import Platform
from tiffin.typed import Any, NamedTuple


class BaseWork(NamedTuple):
    """Begin with an image's layers, bottom first (scratch: none). `document` is its whole image config, {}
    for scratch."""

    layers: tuple[Layer, ...]
    document: dict[str, Any]


class SettingsWork(NamedTuple):
    """Change the config alone; `after` is all of it."""

    after: Config
    author: str


class DirectoryWork(NamedTuple):
    """Make the directory `path` where there is none, for `user` (as USER has it; "" is root)."""

    path: str
    user: str = ""


class MountWork(NamedTuple):
    """A --mount of RUN.

    kind      "bind", "cache", "tmpfs", "secret" or "ssh"
    target    where, absolute; "" for a secret that is a variable alone
    source    the path in what it shows (bind), or that a new cache begins with; "" all of it
    at        which of the step's sources it shows (bind) or begins with (cache); -1: the context, or nothing
    context   bind of a context: which; "" is the main one. `picked` is what was found there
    id        of a cache, secret or agent
    sharing   of a cache: "shared", "private" or "locked"
    mode, uid, gid   of a new cache, of the secret's file, of the agent's socket; -1: what is usual for its kind
    size      of a tmpfs in bytes; 0: the kernel's choice
    required  whether a secret or agent that was not given is an error
    env       the variable that holds a secret, "" for none
    """

    kind: str
    target: str
    source: str = ""
    at: int = -1
    context: str = ""
    picked: tuple[Picked, ...] = ()
    readonly: bool = False
    id: str = ""
    sharing: str = "shared"
    mode: int = -1
    uid: int = 0
    gid: int = 0
    size: int = 0
    required: bool = False
    env: str = ""


class Surroundings(NamedTuple):
    """What the caller of a build says about all of its RUNs.

    hosts     (name, address) lines of /etc/hosts; "host-gateway" is this machine
    shm_size  bytes of /dev/shm, 0: the default
    ulimits   (name, soft, hard)
    limits    (name, value) of what they may take from the machine, as `runtime.spec.ContainerOptions` calls it; no part
              of any key, as it changes no result
    """

    hosts: tuple[tuple[str, str], ...] = ()
    shm_size: int = 0
    ulimits: tuple[tuple[str, int, int], ...] = ()
    limits: tuple[tuple[str, int | str], ...] = ()


class RunWork(NamedTuple):
    """Execute. `env` is what counts for the cache, `quiet_env` what does not. `script` is (path, text) of a
    file to put there while it runs, or None. `insecure`: with every right there is. `platform`: what it is executed
    for, no part of the key, as the base image is that already."""

    argv: tuple[str, ...]
    env: tuple[str, ...]
    quiet_env: tuple[str, ...]
    user: str
    cwd: str
    network: str
    script: tuple[str, str] | None
    mounts: tuple[MountWork, ...] = ()
    insecure: bool = False
    platform: Platform | None = None
    around: Surroundings = Surroundings()


class CopyWork(NamedTuple):
    """Put files in place. From a context: `picked`, already found in `context` ("" is the main one). From another
    step's files (`Step.sources`): `sources`, to be found there. What steps that fetch have brought comes with neither.
    `files` are here-documents, (name, text). A `dest` ending in / is a directory.

    chmod    as the Dockerfile gives it; "": each file's own
    unpack   whether archives are unpacked: those of a context, those that were fetched
    link     nothing below is looked at: the layer is the same on any base
    exclude  patterns of what is left out of each source
    parents  sources keep their path, below the destination
    """

    sources: tuple[str, ...]
    picked: tuple[Picked, ...]
    files: tuple[tuple[str, str], ...]
    dest: str
    chown: str = ""
    chmod: str = ""
    unpack: tuple[bool, bool] = (False, False)
    context: str = ""
    link: bool = False
    exclude: tuple[str, ...] = ()
    parents: bool = False


class FetchWork(NamedTuple):
    """Find out what a URL or git reference stands for now, and have it at hand. Makes no layer.

    checksum      the digest that it must have, or "" (of git: the commit)
    keep_git_dir  leave .git in what git gives
    """

    url: str
    checksum: str = ""
    keep_git_dir: bool = False


class SquashWork(NamedTuple):
    """Add in one layer what the step's one source adds in several."""


Work = BaseWork | SettingsWork | DirectoryWork | RunWork | CopyWork | FetchWork | SquashWork


class Step(NamedTuple):
    """A node of the graph. `parent` is the step whose files it builds on, -1 for none; `sources` are others that it
    takes something from. `title` is what progress shows, "" for a step not worth showing. `written` is the
    instruction as it stands in the Dockerfile, where `created_by` also has values that the caller gave. `fresh`: not
    to be taken from the cache."""

    number: int
    parent: int
    sources: tuple[int, ...]
    work: Work
    title: str
    created_by: str
    keyword: str
    line: int
    written: str = ""
    fresh: bool = False


class Outcome(NamedTuple):
    """A step done. `layers` is the whole stack below and with it, bottom first; `layer` is its own, if it
    made one; `told` is what else the worker had to say about it; `origins` as in `Cached`. `files_of` is the key of the
    step that the files are of, "" when it is this one: a change of the config alone leaves them as they were."""

    key: str
    layers: tuple[Layer, ...]
    layer: Layer | None
    created: int
    told: Mapping[str, Any] = {}
    origins: frozenset[str] = frozenset()
    files_of: str = ""

    @property
    def files(self) -> str:
        """What stands for its files in the keys of the steps that build on them, or take from them."""
        return self.files_of or self.key


class Plan(NamedTuple):
    """All steps, which of them ends the target stage, and the target's config, base (its config document) and
    platform."""

    file: str
    steps: list[Step]
    target: int
    config: Config
    author: str
    base: dict[str, Any]
    warnings: list[str]
    platform: Platform


class Given(NamedTuple):
    """What the caller of the build decides. `platform` is what it builds for, `allow` the entitlements that it
    grants, `fresh` names the stages whose steps are not to be taken from the cache."""

    build_args: Mapping[str, str]
    labels: Mapping[str, str]
    target: str
    network: str
    platform: Platform
    allow: frozenset[str] = frozenset()
    around: Surroundings = Surroundings()
    fresh: frozenset[str] = frozenset()
