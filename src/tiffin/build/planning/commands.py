"""RUN planned: its command, environment, network, rights and mounts."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from tiffin.build.copying.sources import inside
from tiffin.build.planning import config as settings
from tiffin.build.planning.config import Config
from tiffin.build.planning.graph import Given, MountWork, RunWork
from tiffin.build.planning.texts import run_text
from tiffin.build.planning.transfers import Desk
from tiffin.dockerfile.instructions import Run, RunMount
from tiffin.errors import InvalidArgument, PermissionDenied

# Taken by every RUN when given, without an ARG; not part of any key or history, for they only say how to
# reach out.
PROXY_ARGS = frozenset(
    name
    for base in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for name in (base, base.lower())
)
NETWORK_HOST, INSECURE = "network.host", "security.insecure"
ENTITLEMENTS = (NETWORK_HOST, INSECURE)
_AGENTS = "/run/buildkit/ssh_agent"


def plan_run(
    run: Run, config: Config, declared: Mapping[str, str | None], given: Given, desk: Desk
) -> tuple[RunWork, tuple[int, ...], str]:
    """The work, the steps that it takes from, and its text in the image's history. `declared` are the stage's
    arguments."""
    shell = settings.shell_of(config)
    script = None
    argv = run.argv(shell)
    if run.executable is not None:
        path = f"/dev/pipes/{posixpath.basename(run.executable.name) or 'script'}"
        script, argv = (path, run.executable.data), (path,)
    if not argv:
        raise InvalidArgument("the command is empty; write what to run")
    env = settings.environment(config)
    args = {name: value for name, value in declared.items() if value is not None and name not in env}
    quiet = {n: v for n, v in given.build_args.items() if n in PROXY_ARGS and n not in env and n not in args}
    mounts, sources = _mounts(run, config, desk)
    work = RunWork(
        argv,
        tuple(f"{name}={value}" for name, value in {**args, **env}.items()),
        tuple(f"{name}={value}" for name, value in quiet.items()),
        config.get("User") or "",
        settings.working_directory(config),
        _network(run.network, given),
        script,
        mounts,
        _is_insecure(run.security, given),
        around=given.around,
    )
    shown = {name: env.get(name, value or "") for name, value in declared.items()}
    return work, sources, run_text(argv, shown)


def _network(wanted: str, given: Given) -> str:
    if wanted in ("", "default"):
        return given.network
    if wanted == "none":
        return wanted
    if wanted != "host":
        raise InvalidArgument(f"invalid --network={wanted}: use default, none or host")
    if given.network != "host" and NETWORK_HOST not in given.allow:
        raise PermissionDenied(
            f"--network=host is not allowed: who builds must say so, with --allow {NETWORK_HOST}"
        )
    return wanted


def _is_insecure(wanted: str, given: Given) -> bool:
    """Only the two words there are; what is not allowed by name is denied."""
    if wanted in ("", "sandbox"):
        return False
    if wanted != "insecure":
        raise InvalidArgument(f"invalid --security={wanted}: use sandbox or insecure")
    if INSECURE not in given.allow:
        raise PermissionDenied(
            f"--security=insecure is not allowed: it gives the command this machine; "
            f"who builds must say so, with --allow {INSECURE}"
        )
    return True


def _mounts(run: Run, config: Config, desk: Desk) -> tuple[tuple[MountWork, ...], tuple[int, ...]]:
    """What is mounted, a mount point before what lies below it."""
    mounts = []
    sources: list[int] = []
    agents = 0
    for flag in run.mounts:
        target = flag.target
        if flag.kind == "ssh":
            target = target or f"{_AGENTS}.{agents}"
            agents += 1
        work = _mount(flag, settings.absolute(config, target) if target else "", desk)
        mounts.append(work)
        if work.at >= 0 and work.at not in sources:
            sources.append(work.at)
    mounts.sort(key=lambda mount: mount.target.count("/"))
    return tuple(mounts), tuple(sources)


def _mount(flag: RunMount, target: str, desk: Desk) -> MountWork:
    if target == "/":
        raise InvalidArgument("the root cannot be mounted over; name a path below it")
    work = MountWork(
        flag.kind,
        target,
        readonly=flag.readonly,
        id=flag.id,
        sharing=flag.sharing,
        mode=flag.mode,
        uid=flag.uid,
        gid=flag.gid,
        size=flag.size,
        required=flag.required,
        env=flag.env,
    )
    if flag.kind not in ("bind", "cache"):
        return work
    if flag.kind == "cache" and not flag.from_:
        return work._replace(source=inside(flag.source, "the cache mount"))
    origin = desk.origin(flag.from_)
    if origin.step >= 0:
        return work._replace(at=origin.step, source=inside(flag.source, "what is mounted"))
    picked = desk.tree(origin.context).pick_one(flag.source or "/")
    return work._replace(picked=(picked,), context=origin.context)
