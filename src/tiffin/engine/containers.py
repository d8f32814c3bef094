"""The container verbs, each one call into the use case that owns it.

A reference is a full ID, a name or a unique prefix of an ID. Every verb raises the errors of `tiffin.errors` with
Docker's texts; NotFound("No such container: x") is common to all. Use cases are imported when called: `ps` does
not pay for `run`.
"""

from __future__ import annotations

from tiffin.typed import TYPE_CHECKING, Any, BinaryIO, Callable, Iterator, Sequence

if TYPE_CHECKING:
    from tiffin.containers import Resources
    from tiffin.containers.record import RestartPolicy
    from tiffin.engine.options import (
        CommitOptions,
        Created,
        CreateOptions,
        ExecOptions,
        LogLine,
        LogQuery,
        PathStat,
        PortBinding,
        Streams,
        Summary,
    )
    from tiffin.engine.stats import Sample, Usage
    from tiffin.engine.workspace import Workspace
    from tiffin.layer.archive import TreeArchive
    from tiffin.layer.diff import Change
    from tiffin.layer.tarreader import Readable


class ContainerService:
    """`Engine.containers`."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def create(self, options: CreateOptions) -> Created:
        """Record a container; nothing runs. Raises NotFound("No such image: x"), Conflict (name), and
        InvalidArgument for options that contradict each other."""
        from tiffin.engine import create

        return create.create(self._workspace, options)

    def expect(self, verb: str, *, brief: bool = False) -> None:
        """To be called first when a "start" (also after a `create`), or an "exec" is to follow: saves some
        milliseconds. Harmless when it does not. `brief` saves one more: what is forked stays a child of this process,
        which is to end soon afterwards."""
        from tiffin.supervisor.jobs import ExecJob, StartJob

        self._workspace.expect(ExecJob if verb == "exec" else StartJob, brief=brief)

    def start(self, reference: str) -> tuple[str, ...]:
        """Start in the background; returns once the command executes, with lines that the user should read.
        Nothing to do when it runs already.
        Raises CommandNotFound, CommandNotExecutable, Conflict (port taken), EngineError."""
        from tiffin.engine import lifecycle

        return lifecycle.start(self._workspace, reference)

    def start_attached(self, reference: str, streams: Streams) -> int | None:
        """Start with the caller attached (`start -a`, `-i` when streams.stdin is given). Returns the exit code
        once the container has ended (and is removed, with auto_remove), None when the caller detached."""
        from tiffin.engine import lifecycle

        return lifecycle.start_attached(self._workspace, reference, streams)

    def run(self, options: CreateOptions, streams: Streams | None = None) -> tuple[Created, int | None]:
        """`create`, then `start` (streams None: detached, exit code None) or `start_attached`.
        A container that cannot start stays, as Docker leaves it, unless auto_remove."""
        from tiffin.engine import lifecycle

        return lifecycle.run(self._workspace, options, streams)

    def stop(self, reference: str, timeout: int | None = None, stop_signal: str = "") -> None:
        """The stop signal, then SIGKILL to everything in it after `timeout` seconds (None: the container's own,
        10 by default; -1 waits for ever). Nothing to do when it does not run."""
        from tiffin.engine import stop

        stop.stop(self._workspace, reference, timeout, stop_signal)

    def restart(self, reference: str, timeout: int | None = None, stop_signal: str = "") -> None:
        """As `stop` and `start`, but in one: it is never at rest in between, and one with auto_remove is not
        removed. One that does not run is started. Raises what a start raises."""
        from tiffin.engine import restart

        restart.restart(self._workspace, reference, timeout, stop_signal)

    def kill(self, reference: str, signal: str = "KILL") -> None:
        """Signal the first process; `signal` is a name with or without SIG, or a number. Raises Conflict when it
        does not run."""
        from tiffin.engine import stop

        stop.kill(self._workspace, reference, signal)

    def pause(self, reference: str) -> None:
        """Hold every process in it where it is. Raises Conflict when it does not run, or is paused already."""
        from tiffin.engine import pause

        pause.pause(self._workspace, reference)

    def unpause(self, reference: str) -> None:
        """Let a paused one go on. Raises Conflict when it is not paused."""
        from tiffin.engine import pause

        pause.unpause(self._workspace, reference)

    def top(self, reference: str, options: Sequence[str] = ()) -> tuple[list[str], list[list[str]]]:
        """The titles and the rows of `ps` for its processes; `options` are ps's own, -ef by default. Raises Conflict
        when it does not run."""
        from tiffin.engine import top

        return top.top(self._workspace, reference, options)

    def plan_prune(self, filters: Sequence[str] = ()) -> Sequence[Summary]:
        """The containers that `prune` would remove now."""
        from tiffin.engine import prune_containers

        return prune_containers.plan(self._workspace, filters)

    def prune(
        self, filters: Sequence[str] = (), *, only: Sequence[str] | None = None
    ) -> tuple[list[str], int]:
        """Remove those that do not run: their IDs, and the bytes that were theirs. `filters`: until, label, label!.
        `only` are IDs, such as a plan's: nothing else goes."""
        from tiffin.engine import prune_containers

        return prune_containers.prune(self._workspace, filters, only)

    def wait(self, reference: str) -> int:
        """The exit code, once the container does not run."""
        from tiffin.engine import stop

        return stop.wait(self._workspace, reference)

    def remove(self, reference: str, *, force: bool = False, volumes: bool = False) -> str:
        """Remove it; `force` kills it first, `volumes` takes its anonymous volumes along. Returns its ID.
        Raises Conflict when it runs."""
        from tiffin.engine import remove

        return remove.remove(self._workspace, reference, force=force, volumes=volumes)

    def update(
        self, reference: str, limits: Resources, restart: RestartPolicy | None = None
    ) -> tuple[str, ...]:
        """Change the limits that are set in `limits` (not 0, not ""), and the restart policy: at once when it runs and
        for its next starts, all or none. -1 lifts pids_limit, memory_swap, and cpu_quota with nano_cpus. Returns lines
        that the user should read. Raises InvalidArgument, Conflict (more memory is in use)."""
        from tiffin.engine import update

        return update.update(self._workspace, reference, limits, restart)

    def stats(self, reference: str) -> Sample:
        """What it uses now; two of them make a rate, see `tiffin.engine.stats.usage`."""
        from tiffin.engine import stats

        return stats.sample(self._workspace, reference)

    def all_stats(self, references: Sequence[str] = (), *, show_all: bool = False) -> Sequence[Sample]:
        """`stats` of each of `references`, or of every container that runs (exists, with `show_all`)."""
        from tiffin.engine import stats

        return stats.samples(self._workspace, references, show_all=show_all)

    def stats_stream(self, reference: str, interval: float = 1.0) -> Iterator[tuple[Sample, Usage]]:
        """A look each `interval` seconds with what it comes to, until the container does not run."""
        from tiffin.engine import stats

        return stats.stream(self._workspace, reference, interval)

    def rename(self, reference: str, name: str) -> None:
        """Raises Conflict when the name is taken."""
        from tiffin.engine import query

        query.rename(self._workspace, reference, name)

    def resolve(self, reference: str) -> str:
        """The full ID."""
        from tiffin.engine import query

        return query.resolve(self._workspace, reference)

    def list(
        self, *, show_all: bool = False, last: int = 0, filters: Sequence[str] = (), size: bool = False
    ) -> Sequence[Summary]:
        """The running ones (every one with `show_all` or `last`), newest first. Filters as `ps --filter` has
        them: id, name, label, status, exited, ancestor, before, since, network, volume, publish, expose, health,
        is-task. `size` measures what each wrote, which reads its files."""
        from tiffin.engine import query

        return query.summaries(self._workspace, show_all=show_all, last=last, filters=filters, size=size)

    def inspect(self, reference: str, *, size: bool = False) -> dict[str, Any]:
        """Docker's JSON document of the container; with `size` also SizeRw and SizeRootFs, in bytes."""
        from tiffin.engine import inspect

        return inspect.inspect(self._workspace, reference, size=size)

    def logs(self, reference: str, query: LogQuery) -> Iterator[LogLine]:
        """The log, line by line; with follow until the container ends."""
        from tiffin.engine import logs

        return logs.lines(logs.entries(self._workspace, reference, query))

    def log_attributes(self, reference: str) -> dict[str, str]:
        """The labels and variables that the log options chose: what Docker calls a log's details."""
        from tiffin.engine import recovery

        with self._workspace.store() as store:
            return recovery.truth(store, reference).record.log.attributes

    def log_entries(self, reference: str, query: LogQuery) -> Iterator[LogLine]:
        """The log as `logs` gives it, except that lines of one stream that came together are one item: much
        quicker for a large log."""
        from tiffin.engine import logs

        return logs.entries(self._workspace, reference, query)

    def exec(self, reference: str, options: ExecOptions, streams: Streams) -> int | None:
        """Run a further command in the container; its exit code, None when the caller detached. Raises
        Conflict when the container does not run, CommandNotFound, CommandNotExecutable."""
        from tiffin.engine import execute

        return execute.exec_attached(self._workspace, reference, options, streams)

    def exec_detached(self, reference: str, options: ExecOptions) -> None:
        """As `exec` without waiting; its output is dropped."""
        from tiffin.engine import execute

        execute.exec_detached(self._workspace, reference, options)

    def attach(self, reference: str, streams: Streams) -> int | None:
        """Join a running container's streams; its exit code, None when the caller detached."""
        from tiffin.engine import lifecycle

        return lifecycle.attach(self._workspace, reference, streams)

    def port(self, reference: str) -> Sequence[PortBinding]:
        """Published ports of a running container."""
        from tiffin.engine import query

        return query.ports(self._workspace, reference)

    def diff(self, reference: str) -> Sequence[Change]:
        """What the container changed in its root: kind "A", "C" or "D", and the path, sorted."""
        from tiffin.engine import commit

        return commit.diff(self._workspace, reference)

    def commit(self, reference: str, options: CommitOptions) -> str:
        """A new image of the container's root and configuration; its image ID."""
        from tiffin.engine import commit

        return commit.commit(self._workspace, reference, options)

    def export(self, reference: str, out: BinaryIO) -> None:
        """The container's root as one tar."""
        from tiffin.engine import commit

        commit.export(self._workspace, reference, out)

    def stat_path(self, reference: str, path: str) -> PathStat:
        """What the container has at `path`; a link as its last component is not followed. Running or not; volumes,
        binds and (of a running one) tmpfs are seen. Raises NotFound("Could not find the file x in container y")."""
        from tiffin.engine import archives

        return archives.stat_path(self._workspace, reference, path)

    def get_archive(self, reference: str, path: str) -> tuple[PathStat, TreeArchive]:
        """What is at `path`, as in `stat_path`, and all below it as a tar stream, made while it is read; close it. Its
        entries begin with the path's last name, with `.` when it ends so. Until it is closed a container at rest
        cannot be started. Raises NotFound; the stream raises Conflict for what is replaced while it is read."""
        from tiffin.engine import archives

        return archives.get_archive(self._workspace, reference, path)

    def put_archive(self, reference: str, path: str, tar: Readable, *, keep_kinds: bool = False) -> None:
        """Unpack a tar, compressed or not, in the directory `path`, with its owners. What is there is replaced,
        directories are merged; with `keep_kinds` no directory is replaced by what is none, nor the other way round
        (Conflict). Not atomic. Raises NotFound, InvalidArgument (no directory, read-only), Corrupt, NoSpace."""
        from tiffin.engine import archives

        archives.put_archive(self._workspace, reference, path, tar, keep_kinds=keep_kinds)

    def copy_from(
        self,
        reference: str,
        path: str,
        target: str,
        *,
        follow: bool = False,
        keep_owner: bool = False,
        count: Callable[[int], None] | None = None,
    ) -> str:
        """`docker cp x:path target`: returns the target's absolute path. The copy belongs to who runs this, or to its
        owner in the container with `keep_owner`, without which devices are left out. `follow` a link that is the
        source itself. `count` is told of bytes as they go. Nothing is written outside of the target. Raises NotFound,
        InvalidArgument, Conflict in Docker's words."""
        from tiffin.engine import copying

        return copying.copy_from(
            self._workspace, reference, path, target, follow=follow, keep_owner=keep_owner, count=count
        )

    def copy_to(
        self,
        source: str,
        reference: str,
        path: str,
        *,
        follow: bool = False,
        count: Callable[[int], None] | None = None,
    ) -> str:
        """`docker cp source x:path`: returns the path in the container. Owners are kept, as numbers. As `copy_from`
        otherwise."""
        from tiffin.engine import copying

        return copying.copy_to(self._workspace, source, reference, path, follow=follow, count=count)

    def unpack_to(self, tar: Readable, reference: str, path: str) -> None:
        """`docker cp - x:path`: as `put_archive` with `keep_kinds`, through a link at `path` too."""
        from tiffin.engine import copying

        copying.unpack_to(self._workspace, tar, reference, path)
