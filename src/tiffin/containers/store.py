"""The rows of containers: insert, look up, change state, delete.

Every change is one transaction, atomic and durable. Who may change a row is settled elsewhere: the holder of
the container's lock.
"""

from tiffin import jsontext as json
from tiffin.containers.names import check_name, random_name
from tiffin.containers.record import ContainerRecord, Resources, RestartPolicy
from tiffin.containers.states import State
from tiffin.errors import Conflict, InvalidArgument, NotFound
from tiffin.state import Store
from tiffin.state import sqlite as sqlite3
from tiffin.state.events import emit_container
from tiffin.typed import Any, Callable, Final, Iterable, NamedTuple

_COLUMNS = (
    "record, name, status, pid, pid_start, supervisor, supervisor_start, boot_id, exit_code, error,"
    " oom_killed, started, finished, policy, restarts, stopped, health, limits"
)
_NAME_ATTEMPTS = 9
NO_POLICY = "{}"
# A check that nobody does any more: Docker's word for its container is this, whatever it was.
_UNCHECKED = "health = CASE health WHEN '' THEN '' ELSE 'unhealthy' END"


class Asked:
    """What somebody asked for to follow a run, whatever the policy says."""

    NOTHING: Final = "nothing"
    RESTART: Final = "restart"
    STOP: Final = "stop"
    PARTING: Final = "parting"  # a stop that is none of the user's, as when the machine goes down


class Container(NamedTuple):
    """One row: the record, with the limits that `update` changed, and the state that changes. Times in ns since the
    epoch, 0 for never. `pid_start` and `supervisor_start` are the processes' start times (proc(5), stat field 22),
    which tell a recycled pid from the one that was meant; they hold within one `boot_id` only. `policy`: see policy.py;
    `restarts` in a row by it; `stopped`: somebody did, and nobody has started it since; `health`: "" unchecked."""

    record: ContainerRecord
    name: str
    status: str
    pid: int = 0
    pid_start: int = 0
    supervisor: int = 0
    supervisor_start: int = 0
    boot_id: str = ""
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started: int = 0
    finished: int = 0
    policy: str = NO_POLICY
    restarts: int = 0
    stopped: bool = False
    health: str = ""

    @property
    def id(self) -> str:
        return self.record.id


class Containers(NamedTuple):
    """Reads and writes rows of one store."""

    store: Store

    def insert(
        self,
        record: ContainerRecord,
        status: str = State.CREATED,
        policy: str = NO_POLICY,
        check: Callable[[sqlite3.Connection], None] | None = None,
    ) -> Container:
        """Add a row; a record without a name gets a made-up one. `check` is called within the transaction, and may
        raise to add nothing. Raises Conflict when the name is taken."""
        for attempt in range(_NAME_ATTEMPTS):
            name = check_name(record.name) if record.name else random_name(attempt)
            named = record._replace(name=name)
            try:
                self._insert(named, status, policy, check)
            except sqlite3.IntegrityError:
                if record.name:
                    raise Conflict(self._taken(name)) from None
                continue
            return Container(named, name, status, policy=policy)
        raise Conflict("no free name was found for the container; give it one with --name")

    def _insert(
        self,
        record: ContainerRecord,
        status: str,
        policy: str,
        check: Callable[[sqlite3.Connection], None] | None,
    ) -> None:
        with self.store.transaction() as db:
            if check is not None:
                check(db)
            db.execute(
                "INSERT INTO containers (id, name, image, record, auto_remove, status, created, policy)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    record.id,
                    record.name,
                    record.image,
                    record.to_json(),
                    record.auto_remove,
                    status,
                    record.created,
                    policy,
                ),
            )
            emit_container(db, "create", record.id)

    def _taken(self, name: str) -> str:
        row = self.store.db.execute("SELECT id FROM containers WHERE name = ?", (name,)).fetchone()
        owner = f' by container "{row[0]}"' if row else ""
        return (
            f'Conflict. The container name "/{name}" is already in use{owner}. You have to remove '
            "(or rename) that container to be able to reuse that name."
        )

    def get(self, container_id: str) -> Container | None:
        """The row with exactly this ID."""
        row = self.store.db.execute(
            f"SELECT {_COLUMNS} FROM containers WHERE id = ?",  # noqa: S608 - a constant list of columns
            (container_id,),
        ).fetchone()
        return _container(row) if row else None

    def find(self, reference: str) -> Container:
        """The container that a full ID, a name or a unique prefix of an ID means, in that order.
        Raises NotFound, InvalidArgument (ambiguous prefix)."""
        name = reference.removeprefix("/")
        if not name:
            raise InvalidArgument(
                "Container name cannot be empty" if not reference else f"No such container: {reference}"
            )
        rows = self.store.db.execute(
            f"SELECT {_COLUMNS}, id = ? AS exact FROM containers WHERE id = ? OR name = ?"  # noqa: S608 - as above
            " ORDER BY exact DESC",
            (reference, reference, name),
        ).fetchall()
        if not rows and _is_hex(reference):
            rows = self.store.db.execute(
                f"SELECT {_COLUMNS} FROM containers WHERE id >= ? AND id < ? LIMIT 2",  # noqa: S608 - as above
                (reference, f"{reference}g"),
            ).fetchall()
            if len(rows) > 1:
                raise InvalidArgument(f"multiple IDs found with provided prefix: {reference}")
        if not rows:
            raise NotFound(f"No such container: {reference}")
        return _container(rows[0])

    def all(self) -> list[Container]:
        """Every container, newest first."""
        rows = self.store.db.execute(
            f"SELECT {_COLUMNS} FROM containers ORDER BY created DESC, rowid DESC"  # noqa: S608 - as above
        ).fetchall()
        return [_container(row) for row in rows]

    def in_states(self, states: Iterable[str]) -> list[Container]:
        """Those in one of `states`, newest first."""
        wanted = tuple(states)
        marks = ",".join("?" * len(wanted))
        rows = self.store.db.execute(
            f"SELECT {_COLUMNS} FROM containers WHERE status IN ({marks})"  # noqa: S608 - as above, and marks
            " ORDER BY created DESC, rowid DESC",
            wanted,
        ).fetchall()
        return [_container(row) for row in rows]

    def starting(self, container_id: str, supervisor: int, supervisor_start: int, boot_id: str) -> None:
        """A supervisor takes the container over: written before it makes anything. Raises NotFound."""
        self._update(
            container_id,
            "status = ?, supervisor = ?, supervisor_start = ?, boot_id = ?, pid = 0, pid_start = 0,"
            " restarts = 0, stopped = 0",
            (State.STARTING, supervisor, supervisor_start, boot_id),
        )

    def running(self, container_id: str, pid: int, pid_start: int, started: int, health: str = "") -> None:
        """The first process exists, and is about to execute its command; `health` "" when nobody will check it."""
        self._update(
            container_id,
            "status = ?, pid = ?, pid_start = ?, started = ?, health = ?,"
            " finished = 0, exit_code = 0, error = '', oom_killed = 0",
            (State.RUNNING, pid, pid_start, started, health),
            "start",
        )

    def checked(self, container_id: str, health: str, streak: int, result: dict[str, Any], kept: int) -> None:
        """A health check ended: what it comes to, and its result, of which the last `kept` stay. Raises NotFound."""
        with self.store.transaction() as db:
            found = db.execute("SELECT health FROM containers WHERE id = ?", (container_id,)).fetchone()
            if found is None:
                raise NotFound(f"No such container: {container_id}")
            log = json.dumps([*self.health_log(container_id)[1], result][-kept:])
            db.execute("INSERT OR REPLACE INTO health_logs VALUES (?, ?, ?)", (container_id, streak, log))
            if found[0] != health:
                db.execute("UPDATE containers SET health = ? WHERE id = ?", (health, container_id))
                emit_container(db, f"health_status: {health}", container_id)

    def health_log(self, container_id: str) -> tuple[int, list[dict[str, Any]]]:
        """(failures in a row, the last results, oldest first)"""
        row = self.store.db.execute(
            "SELECT streak, log FROM health_logs WHERE container = ?", (container_id,)
        ).fetchone()
        return (int(row[0]), json.loads(row[1])) if row else (0, [])

    def paused(self, container_id: str) -> None:
        """It is about to be frozen. Raises Conflict when it does not run."""
        self._change_if(container_id, State.RUNNING, State.PAUSED, "pause")

    def unpaused(self, container_id: str) -> None:
        """It has been thawed. Raises Conflict when it was not paused."""
        self._change_if(container_id, State.PAUSED, State.RUNNING, "unpause")

    def not_started(self, container_id: str, status: str, exit_code: int, error: str) -> None:
        """A start failed: back to `status`, with Docker's exit code for it and why."""
        self._update(
            container_id,
            "status = ?, pid = 0, pid_start = 0, supervisor = 0, exit_code = ?, error = ?",
            (status, exit_code, error),
        )

    def ended(
        self,
        container_id: str,
        exit_code: int,
        finished: int,
        *,
        oom_killed: bool,
        asked: str = Asked.NOTHING,
        killed: bool = False,
    ) -> bool:
        """The first process ended, and its supervisor has yet to take down what belongs to it. Whether it is to run
        again: the state is `restarting` then. `killed`: its supervisor did that. Raises NotFound."""
        with self.store.transaction() as db:
            row = db.execute(
                "SELECT policy, restarts FROM containers WHERE id = ?", (container_id,)
            ).fetchone()
            if row is None:
                raise NotFound(f"No such container: {container_id}")
            again = asked == Asked.RESTART or (asked == Asked.NOTHING and _again(row[0], exit_code, row[1]))
            db.execute(
                "UPDATE containers SET pid = 0, pid_start = 0, exit_code = ?, finished = ?, oom_killed = ?,"  # noqa: S608 - constant texts
                f" restarts = ?, stopped = ?, status = CASE WHEN ? THEN ? ELSE status END, {_UNCHECKED}"
                " WHERE id = ?",
                (
                    exit_code,
                    finished,
                    oom_killed,
                    0 if asked == Asked.RESTART else row[1] + again,
                    asked == Asked.STOP,
                    again,
                    State.RESTARTING,
                    container_id,
                ),
            )
            if killed:
                emit_container(db, "kill", container_id, {"signal": "9"})
            action, attributes = _died(exit_code, oom_killed=oom_killed)
            emit_container(db, action, container_id, attributes)
            if asked == Asked.RESTART:
                emit_container(db, "stop", container_id)
        return again

    def begin_again(self, container_id: str, *, by_hand: bool) -> None:
        """The supervisor is about to make another run; one that somebody asked for counts as the first. Raises
        NotFound."""
        self._update(
            container_id,
            f"status = ?, pid = 0, pid_start = 0{', restarts = 0, stopped = 0' if by_hand else ''}",
            (State.STARTING,),
        )

    def stays_down(self, container_id: str, *, by_hand: bool) -> None:
        """It was to run again, and is not any more. Raises NotFound."""
        self._update(
            container_id,
            f"status = ?, pid = 0, pid_start = 0, supervisor = 0, stopped = ?, {_UNCHECKED}",
            (State.EXITED, by_hand),
        )

    def stopped(self, container_id: str) -> None:
        """Somebody stopped it: it stays down until somebody starts it. Raises NotFound."""
        self._update(container_id, "stopped = 1", ())

    def exited(
        self, container_id: str, exit_code: int, finished: int, *, oom_killed: bool, error: str = ""
    ) -> None:
        """The first process ended."""
        self._update(
            container_id,
            "status = ?, pid = 0, pid_start = 0, supervisor = 0,"
            f" exit_code = ?, finished = ?, oom_killed = ?, error = ?, {_UNCHECKED}",
            (State.EXITED, exit_code, finished, oom_killed, error),
        )

    def set_status(self, container_id: str, status: str) -> None:
        """Change the state alone. Raises NotFound when the row has gone."""
        self._update(container_id, "status = ?", (status,))

    def update(self, container_id: str, limits: dict[str, Any], restart: RestartPolicy | None = None) -> None:
        """Limits, fields of Resources by name, and a restart policy (None: as it was) that hold from now on; earlier
        changes to other limits stay. Raises NotFound."""
        with self.store.transaction() as db:
            row = db.execute("SELECT limits, policy FROM containers WHERE id = ?", (container_id,)).fetchone()
            if row is None:
                raise NotFound(f"No such container: {container_id}")
            changed = {**(json.loads(row[0]) if row[0] else {}), **limits}
            policy = row[1]
            if restart is not None:
                from tiffin.containers.policy import with_restart

                policy = with_restart(policy, restart)
            db.execute(
                "UPDATE containers SET limits = ?, policy = ? WHERE id = ?",
                (json.dumps(changed, separators=(",", ":")) if changed else "", policy, container_id),
            )
            emit_container(db, "update", container_id)

    def rename(self, container_id: str, name: str) -> None:
        """Raises Conflict when the name is taken, InvalidArgument when it is none."""
        bare = check_name(name)
        try:
            old = self.store.db.execute(
                "SELECT name FROM containers WHERE id = ?", (container_id,)
            ).fetchone()
            self._update(
                container_id, "name = ?", (bare,), "rename", {"oldName": f"/{old[0]}" if old else ""}
            )
        except sqlite3.IntegrityError:
            raise Conflict(self._taken(bare)) from None

    def delete(self, container_id: str, died: int | None = None) -> None:
        """Forget the container. `died` is the exit code of one that is removed with its end. Idempotent."""
        with self.store.transaction() as db:
            if died is not None:
                emit_container(db, "die", container_id, _died(died)[1])
            emit_container(db, "destroy", container_id)
            db.execute("DELETE FROM containers WHERE id = ?", (container_id,))

    def _update(
        self,
        container_id: str,
        assignments: str,
        values: tuple[object, ...],
        event: str = "",
        attributes: dict[str, str] | None = None,
    ) -> None:
        with self.store.transaction() as db:
            done = db.execute(f"UPDATE containers SET {assignments} WHERE id = ?", (*values, container_id))  # noqa: S608 - constant texts
            if not done.rowcount:
                raise NotFound(f"No such container: {container_id}")
            if event:
                emit_container(db, event, container_id, attributes)

    def _change_if(self, container_id: str, before: str, after: str, event: str) -> None:
        query = "UPDATE containers SET status = ? WHERE id = ? AND status = ?"
        with self.store.transaction() as db:
            if db.execute(query, (after, container_id, before)).rowcount:
                emit_container(db, event, container_id)
                return
        current = self.get(container_id)
        if current is not None and current.status == State.PAUSED:
            raise Conflict(f"Container {container_id} is already paused")
        if after == State.RUNNING and current is not None and current.status == State.RUNNING:
            raise Conflict(f"Container {container_id} is not paused")
        if current is not None and current.status == State.RESTARTING:
            raise Conflict(f"Container {container_id} is restarting, wait until the container is running")
        raise Conflict(f"Container {container_id} is not running")


def _again(policy: str, exit_code: int, restarts: int) -> bool:
    if policy == NO_POLICY:
        return False
    from tiffin.containers.policy import restart_of, runs_again  # loaded by every supervisor

    return runs_again(restart_of(policy), exit_code, restarts)


def _died(exit_code: int, *, oom_killed: bool = False) -> tuple[str, dict[str, str]]:
    """The event of a container's end."""
    return "die", {"exitCode": str(exit_code), **({"oomKilled": "true"} if oom_killed else {})}


def _container(row: tuple[object, ...]) -> Container:
    fields: tuple[object, ...] = row[:18]
    record = ContainerRecord.from_json(str(fields[0]))
    if fields[17]:
        changed = json.loads(str(fields[17]))
        record = record._replace(resources=Resources.from_document(changed, record.resources))
    made = Container(record, *fields[1:17])  # type: ignore[arg-type]  # the column list above, typed STRICT by SQLite
    return made._replace(oom_killed=bool(made.oom_killed), stopped=bool(made.stopped))


def _is_hex(text: str) -> bool:
    return len(text) <= 64 and all(character in "0123456789abcdef" for character in text)
