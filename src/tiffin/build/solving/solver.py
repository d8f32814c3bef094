"""Executing a plan: what is in the cache is taken from there, what is not runs as soon as what it needs is
done.

probe    in the plan's order, by key: which steps are known already? A COPY from a stage is known by that stage's key,
         so a stage whose files were all copied before is not even looked at.
needed   from the target backwards, the steps that are not known.
execute  each needed step when its parent and source are done; several at a time, each in a process of its own. One
         that another build executes is waited for.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Mapping

from tiffin.build.cache import BuildCache, Cached, Kept, Layer
from tiffin.build.epoch import NO_EPOCH
from tiffin.build.planning.graph import (
    BaseWork,
    CopyWork,
    FetchWork,
    Outcome,
    Plan,
    RunWork,
    SettingsWork,
    Step,
)
from tiffin.build.planning.keys import step_key
from tiffin.build.planning.naming import Digests, Naming
from tiffin.build.progress import (
    Notice,
    Progress,
    StepCached,
    StepDone,
    StepFailed,
    StepLog,
    StepShell,
    StepStarted,
    StepTransfer,
    StepWaiting,
)
from tiffin.build.solving.claims import Claims
from tiffin.build.workers import Channel, Failed, Log, Message, Told, Worker, start
from tiffin.dockerfile.place import shown
from tiffin.errors import (
    DockerfileError,
    EngineError,
    NoSpace,
    PermissionDenied,
    TiffinError,
    Unsupported,
)
from tiffin.typed import Any, NamedTuple, Protocol

# Not the Dockerfile's fault, whatever line they came up at.
_OF_THE_MACHINE = (EngineError, NoSpace, PermissionDenied, Unsupported)
_TAIL = 4096  # bytes of a failed step's output kept for the error
_WAITS_MAX = 64  # processes that wait for other builds


class StepError(DockerfileError):
    """A step that was executed and failed. `log` is the end of what it wrote, as text; `status` its exit
    code, -1 when it did not come to that; `step` and `title` are as its StepStarted had them. `build` is under which ID
    the build is remembered and `log_path` the file with all that the step wrote, "" where there is none."""

    build = ""
    log_path = ""

    def __init__(
        self,
        message: str,
        *,
        file: str,
        line: int,
        instruction: str,
        log: str,
        status: int,
        step: int = 0,
        title: str = "",
    ) -> None:
        super().__init__(message, file=file, line=line, instruction=instruction)
        self.log = log
        self.status = status
        self.step = step
        self.title = title


class Executor(Digests, Protocol):
    """Knows how steps are done; the solver knows when."""

    def available(self, layer: Layer) -> bool:
        """Whether a layer that the cache names is really there."""

    def clean_up(self) -> None:
        """Take down what workers left that were killed, of this build or another."""

    def learned(self, context: str) -> None:
        """A worker has kept digests of files in that context."""

    def task(
        self, step: Step, below: tuple[Layer, ...], sources: tuple[Outcome, ...], *, digest: bool
    ) -> Callable[[Channel], dict[str, Any]]:
        """What the worker for this step runs. Its result is {"layer": [diff_id, blob, media_type, size] or
        None, "keep": whether the cache may have it}, or {"status": exit code} of a command that failed. With
        `digest` it also has "digests", the `context_digest` of all that a COPY picked, as it was copied. Of a step
        that fetches it has "key", which goes by what was found, and "told" for those who take from it."""


class _Running(NamedTuple):
    """`keys` are the step's own key and other names for it; () while that takes digests which the worker makes.
    `outline` is what is known of the key before that. `claim` is the one of the two that keeps other builds from
    executing the step, too."""

    step: Step
    keys: tuple[str, ...]
    outline: str
    claim: str
    worker: Worker
    started: float
    tail: bytearray


class _Awaited(NamedTuple):
    """A step that another build executes."""

    step: Step
    claim: str
    waiter: Worker


_Node = tuple[str, tuple[str, ...]]


class Solver:
    """Solves one plan, once. `jobs` is how many steps may run at a time. `claims` are shared with other builds. `made`
    are results of the same build, of its plans for other platforms. `ran` is called for each step that was executed,
    before that is told."""

    def __init__(
        self,
        plan: Plan,
        cache: BuildCache,
        executor: Executor,
        progress: Progress,
        claims: Claims,
        *,
        no_cache: bool,
        jobs: int,
        epoch: int = NO_EPOCH,
        made: dict[str, Cached] | None = None,
        ran: Callable[[Step], None] | None = None,
    ) -> None:
        self._plan = plan
        self._cache = cache
        self._executor = executor
        self._progress = progress
        self._claims = claims
        self._no_cache = no_cache
        self._jobs = jobs
        self._done: dict[int, Outcome] = {}
        self._epoch = epoch
        self._made = {} if made is None else made
        # Steps whose keys are known, and whose files are not: enough for a COPY from them.
        self._named: dict[int, Outcome] = {}
        self._ran = ran or (lambda _: None)
        self._outlines: set[str] = set()  # of steps done in this build
        self._running: dict[int, _Running] = {}
        self._awaited: dict[int, _Awaited] = {}
        self._granted: dict[int, str] = {}  # claims that were waited for, by the number of the step
        self._nodes: list[_Node] = []
        self._swept = False
        self._naming = Naming(self._done, executor, self._located, epoch)

    def solve(self) -> list[Outcome]:
        """Outcomes of the steps from the target's first to the target itself. Raises StepError,
        DockerfileError."""
        self._probe()
        waiting = sorted(self._needed())
        try:
            while waiting or self._running:
                waiting = self._launch(waiting)
                if self._running or self._awaited:
                    self._receive()
        finally:
            self._stop_all()
            self._claims.close()
            self._cache.touch()
        return [self._done[number] for number in self.chain()]

    @property
    def done(self) -> Mapping[int, Outcome]:
        """The steps that are done so far."""
        return self._done

    def chain(self) -> list[int]:
        """The numbers of the target's steps, from its base to itself."""
        found = []
        number = self._plan.target
        while number >= 0:
            found.append(number)
            number = self._plan.steps[number].parent
        return found[::-1]

    def kept(self) -> tuple[Kept, ...]:
        """Every result that this build had of a step, to be taken elsewhere; to be called when all is solved."""
        found = []
        chain = set(self.chain())
        away = {number: outcome for number, outcome in self._named.items() if number not in self._done}
        self._done.update(away)
        for number, outcome in sorted(self._done.items()):
            step = self._plan.steps[number]
            if isinstance(step.work, BaseWork | FetchWork):
                continue
            key = self._naming.key(step)
            cached = Cached(outcome.key, outcome.layer, outcome.created)
            names = (key,) if key != outcome.key else ()
            outline = self._naming.outline(step)
            found.append(
                Kept(cached, names, step.created_by, outline, number in chain, absent=number in away)
            )
        for number in away:
            del self._done[number]
        return tuple(found)

    def _probe(self) -> None:
        for number in sorted(self._reachable(lambda _: True)):
            step = self._plan.steps[number]
            if isinstance(step.work, BaseWork):
                self._begin(step, step.work)
            elif not (
                self._is_fresh(step)
                or isinstance(step.work, FetchWork)
                or not self._ready(step)
                or self._is_new(self._naming.outline(step))
            ):
                self._look_up(step)
        for number in self._named:
            del self._done[number]

    def _look_up(self, step: Step) -> None:
        """Take what is known of a step without executing anything."""
        settings, named = isinstance(step.work, SettingsWork), step.parent in self._named
        if settings and not named:
            self._settle(step)
            return
        key = self._naming.key(step)
        if named or not self._recall(step, key):
            own = self._cache.own_key(key) or (key if settings else "")
            if own:
                files_of = self._done[step.parent].files if settings else ""
                found = Outcome(own, (), None, 0, files_of=files_of)
                self._done[step.number] = self._named[step.number] = found

    def _ready(self, step: Step) -> bool:
        return all(number < 0 or number in self._done for number in (step.parent, *step.sources))

    def _needed(self) -> set[int]:
        return self._reachable(lambda number: number not in self._done)

    def _reachable(self, wanted: Callable[[int], bool]) -> set[int]:
        found: set[int] = set()
        waiting = [self._plan.target]
        while waiting:
            number = waiting.pop()
            if number >= 0 and number not in found and wanted(number):
                found.add(number)
                waiting += [self._plan.steps[number].parent, *self._plan.steps[number].sources]
        return found

    def _begin(self, step: Step, work: BaseWork) -> None:
        content = [[layer.diff_id for layer in work.layers], work.document]
        self._done[step.number] = Outcome(self._naming.made("base", "", content), work.layers, None, 0)
        if step.title:
            self._progress(StepStarted(step.number + 1, step.title, *self._node(step)))
            self._progress(StepDone(step.number + 1, 0.0))

    def _recall(self, step: Step, key: str) -> bool:
        """Take the step's result from this build, or from the cache, when it is there and whole."""
        found = self._made.get(key)
        if found is None and not self._is_fresh(step):
            found = self._cache.find(key)
        if found is None or (found.layer is not None and not self._executor.available(found.layer)):
            return False
        self._finish(step, found)
        if step.title:
            self._progress(StepCached(step.number + 1, step.title, *self._node(step)))
        return True

    def _finish(self, step: Step, found: Cached, told: Mapping[str, Any] | None = None) -> None:
        below = self._done[step.parent].layers if step.parent >= 0 else ()
        layers = (*below, found.layer) if found.layer else below
        origins = found.origins | self._origins(step)
        files_of = self._done[step.parent].files if isinstance(step.work, SettingsWork) else ""
        self._done[step.number] = Outcome(
            found.key, layers, found.layer, found.created, told or {}, origins, files_of
        )

    def _is_fresh(self, step: Step) -> bool:
        """Whether the step is to be executed, whatever is in the cache."""
        return self._no_cache or step.fresh

    def _is_new(self, outline: str) -> bool:
        return (
            outline != ""
            and outline not in self._outlines
            and (self._no_cache or not self._cache.has(outline))
        )

    def _launch(self, waiting: list[int]) -> list[int]:
        """Begin what can begin, finish what needs no process; returns what still waits."""
        left = []
        awaited = {each.step.number for each in self._awaited.values()}
        for number in waiting:
            step = self._plan.steps[number]
            if number in awaited or not self._ready(step):
                left.append(number)
            elif isinstance(step.work, SettingsWork):
                self._settle(step)
            elif len(self._running) >= self._jobs or not self._begin_work(step):
                left.append(number)
        return left

    def _settle(self, step: Step) -> None:
        key = self._naming.key(step)
        if not self._recall(step, key):
            found = Cached(key, None, self._now(), self._origins(step))
            self._cache.keep(found, step.created_by)
            self._finish(step, found)
            self._ran(step)

    def _begin_work(self, step: Step) -> bool:
        """Start a worker, or find the result after all. False when the very same step is running already."""
        granted = self._granted.pop(step.number, "")
        outline = self._naming.outline(step)
        keys = () if self._is_new(outline) else self._naming.keys(step)
        claim = keys[0] if keys else outline
        if granted not in ("", claim):  # what was waited for has told us the key
            self._claims.give_back(granted)
        if any(claim in (each.claim, each.outline) for each in self._running.values()):
            return False
        if self._found(step, keys):
            self._claims.give_back(claim)
            return True
        if granted != claim and not self._is_fresh(step):
            if not self._claim(step, claim):
                return False
            # Another build may have finished it between our look and our claim.
            if self._found(step, keys) or not (keys or self._is_new(outline)):
                self._claims.give_back(claim)
                return step.number in self._done
        alone = step.parent < 0 or (isinstance(step.work, CopyWork) and step.work.link)
        below = () if alone else self._done[step.parent].layers
        sources = tuple(self._done[number] for number in step.sources)
        if not self._swept:
            self._executor.clean_up()
            self._swept = True
        worker = start(self._executor.task(step, below, sources, digest=not keys))
        self._running[worker.fd] = _Running(step, keys, outline, claim, worker, time.monotonic(), bytearray())
        self._progress(StepStarted(step.number + 1, step.title, *self._node(step)))
        return True

    def _found(self, step: Step, keys: tuple[str, ...]) -> bool:
        """`_recall`, and have the result known by all of the names."""
        if not keys or not self._recall(step, keys[0]):
            return False
        if len(keys) > 1:
            found = self._done[step.number]
            cached = Cached(found.key, found.layer, found.created, found.origins)
            self._cache.keep(cached, step.created_by, *keys[1:])
        return True

    def _claim(self, step: Step, claim: str) -> bool:
        """Keep other builds from executing the step, or begin to wait for the one that does."""
        if self._claims.take(claim):
            return True
        if len(self._awaited) < _WAITS_MAX and all(each.claim != claim for each in self._awaited.values()):
            waiter = self._claims.waiter(claim)
            self._awaited[waiter.fd] = _Awaited(step, claim, waiter)
            self._progress(StepWaiting(step.number + 1, step.title, *self._node(step)))
        return False

    def _node(self, step: Step) -> _Node:
        """Digest and inputs of a step, as its event has them. Steps that are not shown are passed over."""
        for number in range(len(self._nodes), step.number + 1):
            each = self._plan.steps[number]
            inputs: dict[str, None] = {}
            for needed in (each.parent, *each.sources):
                if needed >= 0:
                    digest, further = self._nodes[needed]
                    inputs.update(dict.fromkeys([digest] if self._plan.steps[needed].title else further))
            content = [each.title, each.line, str(self._plan.platform), *inputs]
            self._nodes.append((step_key("node", "", content), tuple(inputs)))
        return self._nodes[step.number]

    def _receive(self) -> None:
        poll = select.poll()
        for fd in (*self._running, *self._awaited):
            poll.register(fd, select.POLLIN)
        for fd, _ in poll.poll():
            if fd in self._awaited:
                self._waited(self._awaited[fd])
                continue
            running = self._running.get(fd)
            if running is None:  # stopped meanwhile
                continue
            for message in running.worker.receive():
                self._message(running, message)
            if running.worker.ended:
                self._ended(running)

    def _waited(self, awaited: _Awaited) -> None:
        """One that is killed claims nothing: the step is tried again."""
        for message in awaited.waiter.receive():
            if isinstance(message, Failed):
                raise message.error
            self._granted[awaited.step.number] = awaited.claim
        if awaited.waiter.ended:
            awaited.waiter.close()
            del self._awaited[awaited.waiter.fd]

    def _message(self, running: _Running, message: Message) -> None:
        step = running.step
        if isinstance(message, Log):
            running.tail.extend(message.data)
            del running.tail[:-_TAIL]
            self._progress(StepLog(step.number + 1, message.stream, message.data))
        elif isinstance(message, Told):
            self._tell(running, message.value)
        elif isinstance(message, Failed):
            raise self._failure(running, message.error)
        elif "status" in message.value:
            raise self._command_failed(running, message.value["status"])
        else:
            layer = message.value["layer"]
            keys = running.keys
            if not keys:
                assert isinstance(step.work, CopyWork)
                self._executor.learned(step.work.context)
                keys = (self._naming.copy_key(step, message.value["digests"]),)
            keys = (message.value.get("key") or keys[0], *keys[1:])
            found = Cached(keys[0], Layer(*layer) if layer else None, self._now(), self._origins(step))
            self._made[found.key] = found
            if message.value["keep"]:
                self._cache.keep(found, step.created_by, *keys[1:], outline=running.outline)
                self._outlines.add(running.outline)
            self._claims.give_back(running.claim)
            self._finish(step, found, message.value.get("told"))
            self._ran(step)
            self._progress(StepDone(step.number + 1, time.monotonic() - running.started))

    def _tell(self, running: _Running, value: Mapping[str, Any]) -> None:
        number = running.step.number + 1
        if "transfer" in value:
            self._progress(StepTransfer(number, *value["transfer"]))
        elif "shell" in value:
            self._stop_all(but=running)
            self._claims.close()
            self._progress(StepShell(number, value["shell"]))
        else:
            self._progress(Notice(value["notice"]))

    def _ended(self, running: _Running) -> None:
        status = running.worker.close()
        del self._running[running.worker.fd]
        if running.step.number not in self._done:
            self._executor.clean_up()
            raise self._failure(running, EngineError(f"its worker process ended with {status}; see --debug"))

    def _command_failed(self, running: _Running, status: int) -> TiffinError:
        work = running.step.work
        assert isinstance(work, RunWork)
        command = shown(" ".join(work.argv))
        return self._step_error(
            running, f"the command '{command}' returned a non-zero code: {status}", status
        )

    def _failure(self, running: _Running, error: TiffinError) -> TiffinError:
        if isinstance(error, (DockerfileError, *_OF_THE_MACHINE)):
            self._tell_failed(running, str(error))
            error.add_note(f"at {self._plan.file}:{running.step.line}: {running.step.keyword}")
            return error
        return self._step_error(running, str(error), -1)

    def _step_error(self, running: _Running, text: str, status: int) -> StepError:
        self._tell_failed(running, text)
        return StepError(
            text,
            file=self._plan.file,
            line=running.step.line,
            instruction=running.step.keyword,
            log=running.tail.decode("utf-8", "replace"),
            status=status,
            step=running.step.number + 1,
            title=running.step.title,
        )

    def _tell_failed(self, running: _Running, text: str) -> None:
        self._ran(running.step)
        self._progress(StepFailed(running.step.number + 1, time.monotonic() - running.started, text))

    def _origins(self, step: Step) -> frozenset[str]:
        """Of all that the step is made with."""
        needed = (step.parent, *step.sources)
        return frozenset[str]().union(*(self._done[number].origins for number in needed if number >= 0))

    def _now(self) -> int:
        return time.time_ns() if self._epoch == NO_EPOCH else self._epoch

    def _located(self, step: Step, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except DockerfileError:
            raise
        except TiffinError as error:
            raise DockerfileError(
                str(error), file=self._plan.file, line=step.line, instruction=step.keyword
            ) from error

    def _stop_all(self, but: _Running | None = None) -> None:
        """End the workers still running, if something failed, and wait until they have undone what they
        began."""
        workers = [running.worker for running in self._running.values() if running is not but]
        workers += [awaited.waiter for awaited in self._awaited.values()]
        for worker in workers:
            worker.stop()
        for worker in workers:
            worker.drain()
            worker.close()
            self._running.pop(worker.fd, None)
        self._awaited.clear()
