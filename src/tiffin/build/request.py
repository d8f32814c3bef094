"""What a build is asked for, and what it answers."""

from __future__ import annotations

import os
from collections.abc import Mapping

from tiffin.build.contexts.arrivals import is_remote
from tiffin.build.progress import Progress, silent
from tiffin.typed import Any, NamedTuple


class BuildRequest(NamedTuple):
    """What to build.

    context_dir  the directory that COPY and ADD take from; or a URL, a git reference, "-" for what `stdin` gives
    dockerfile   "" for `Dockerfile` in the context, a path as `-f` has it, or the text itself as bytes
    tags         names for the image, as users write them
    target       the stage to build, by name or number; "" the last
    build_args   values for ARG
    labels       set on the image after its last instruction
    no_cache     execute every step anew (results are still kept for later builds)
    network      of RUN: "bridge" (so is ""), "host" or "none"
    pull         fetch base images anew, also those that are here
    jobs         how many steps may run at once; 0: as many as there are processors, at least two
    progress     is told what happens; see tiffin.build.progress
    platform     what to build for, several with commas; "" for this machine
    contexts     named contexts: name → directory, URL, git reference, docker-image://IMAGE, oci-layout://DIRECTORY
    secrets      as --secret has them, "id=NAME,src=FILE"; what they hold is read when a step needs it
    ssh          as --ssh has them, "default", "ID=SOCKET" or "ID=KEYFILE,..."
    allow        entitlements: "network.host", "security.insecure"
    stdin        descriptor to read the context from when it is "-"
    shell        program to start in the state of a RUN that fails, on a terminal that goes to `shell_fd`, a socket: see
                 tiffin.build.running.shell, and tiffin.engine.build_shell for its other end
    squash       one layer of all that the Dockerfile makes
    outputs      what becomes of the result, as --output has it: see tiffin.build.results.outputs; none: the image, here
    annotations  as --annotation has them, "[manifest:|index:]KEY=VALUE"
    cache_from   where results of other engines' builds may be taken from, as --cache-from has it
    cache_to     where the results of this build go, as --cache-to has it
    explain      tell of each step why it ran
    hosts        "NAME:ADDRESS" lines of /etc/hosts of RUN; the address "host-gateway" is this machine
    shm_size     bytes of /dev/shm of RUN; 0: the default
    ulimits      (name, soft, hard) of RUN; -1 is unlimited
    limits       what a RUN may take from the machine: memory, memory_swap (bytes), cpu_shares, cpu_period, cpu_quota,
                 cpuset_cpus, cpuset_mems
    fresh        stages whose steps are executed anew
    """

    context_dir: str
    dockerfile: str | bytes = ""
    tags: tuple[str, ...] = ()
    target: str = ""
    build_args: Mapping[str, str] = {}
    labels: Mapping[str, str] = {}
    no_cache: bool = False
    network: str = "bridge"
    pull: bool = False
    jobs: int = 0
    progress: Progress = silent
    platform: str = ""
    contexts: Mapping[str, str] = {}
    secrets: tuple[str, ...] = ()
    ssh: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    stdin: int = -1
    shell: str = ""
    shell_fd: int = -1
    squash: bool = False
    outputs: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    explain: bool = False
    hosts: tuple[str, ...] = ()
    shm_size: int = 0
    ulimits: tuple[tuple[str, int, int], ...] = ()
    limits: Mapping[str, int | str] = {}
    fresh: tuple[str, ...] = ()


def with_absolute_paths(request: BuildRequest) -> BuildRequest:
    """The request for a process with another working directory, but for a Dockerfile outside of the context."""
    if request.context_dir == "-" or is_remote(request.context_dir):
        return request
    return request._replace(context_dir=os.path.abspath(request.context_dir))


class BuildResult(NamedTuple):
    """`image_id` is the config's digest (of an image for several platforms: the index's), `names` the full references
    that it now has from this build, `checks` what the lint found in the stages that were built, a line each, `metadata`
    what --metadata-file says."""

    image_id: str
    names: tuple[str, ...]
    warnings: tuple[str, ...]
    checks: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = {}
