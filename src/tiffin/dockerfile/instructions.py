"""The instructions of a Dockerfile, typed: one frozen value each, nothing executed and nothing expanded.

Words are kept as written, quotes and `$variables` included, until `tiffin.dockerfile.expand.expand` returns
the same instruction with its words evaluated against the environment of that place in the stage. Which fields
that touches is said per class ("expands: ..."); the others are final as parsed.

    Instruction
    ├── From            begins a stage
    ├── Run             executes
    ├── Copy, Add       bring files (`Transfer`)
    ├── Arg, Env        variables
    ├── Workdir, User, Shell                                    the place where later instructions run
    ├── Cmd, Entrypoint, Expose, Volume, Label, Stopsignal,
    │   Healthcheck, Maintainer                                 the image's config
    └── Onbuild         an instruction for whoever builds on this image
"""

from __future__ import annotations

from tiffin.dockerfile.command import Command, Heredoc
from tiffin.dockerfile.value import Value
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import ClassVar, Literal


class RunMount(Value, kw_only=True):
    """One `--mount` of RUN, its defaults filled in.

    kind      what it is; `bind` when nothing said so
    target    where; "" for a secret that is in the environment alone, and for an ssh socket in its usual place.
              A relative one is below the working directory
    source    what of the source is mounted (bind, cache): "" for all of it
    from_     stage, image or named context that the source lies in; "" for the build context (bind) or an empty
              directory (cache). Never expanded
    readonly  bind without `rw`, secret, ssh, and where it is said
    id        name of the cache (its target when none was given), of the secret or of the ssh agent
    sharing   of a cache between builds at the same time
    mode      of a new cache directory, a secret's file or a socket; -1 where not said: 0755, 0400 and 0600
    uid, gid  owner of the same
    size      of a tmpfs, in bytes; 0 where there is no limit
    required  fail when there is no such secret or agent
    env       variable that has the secret; "" for none
    """

    kind: Literal["bind", "cache", "tmpfs", "secret", "ssh"] = "bind"
    target: str = ""
    source: str = ""
    from_: str = ""
    readonly: bool = False
    id: str = ""
    sharing: Literal["shared", "private", "locked"] = "shared"
    mode: int = -1
    uid: int = 0
    gid: int = 0
    size: int = 0
    required: bool = False
    env: str = ""


class Instruction(Value, kw_only=True):
    """`line` to `end_line` are where it stands, counted from 1, both included. `source` is its text with the
    continuation lines joined and comments removed, as image history and progress show it, without heredocs.
    """

    keyword: ClassVar[str]

    line: int
    end_line: int
    source: str


class From(Instruction, kw_only=True):
    """FROM [--platform=platform] image [AS name]. `name` is lower case or "", `platform` "" where it is the
    target's. Expands: image and platform, by the global ARGs alone.
    """

    keyword: ClassVar[str] = "FROM"

    image: str
    name: str = ""
    platform: str = ""


class Run(Instruction, kw_only=True):
    """RUN in shell or exec form, or with here-documents (then always shell form).

    `mount_texts` are the `--mount` flags as written. `mounts` are their values: of each the `kind` and `from_`
    are right as soon as it is parsed, the rest when it was expanded. Expands: the values of mounts.
    """

    keyword: ClassVar[str] = "RUN"

    command: Command
    heredocs: tuple[Heredoc, ...] = ()
    lone_heredoc: bool = False
    mount_texts: tuple[str, ...] = ()
    mounts: tuple[RunMount, ...] = ()
    network: Literal["", "default", "none", "host"] = ""
    security: Literal["", "sandbox", "insecure"] = ""

    @property
    def executable(self) -> Heredoc | None:
        """For `RUN <<EOF` whose content begins with `#!`: the script to execute by itself, from a file."""
        if self.lone_heredoc and self.heredocs[0].data.startswith("#!"):
            return self.heredocs[0]
        return None

    @property
    def title(self) -> str:
        """`source`, and of `RUN <<EOF` how its content begins, which is what tells one from another."""
        if not self.lone_heredoc:
            return self.source
        first, *more = self.heredocs[0].data.strip().split("\n", 1)
        return f"{self.source} ({first.strip()}{'...' if more else ''})"

    def argv(self, shell: tuple[str, ...]) -> tuple[str, ...]:
        """What to execute under `shell`. `RUN <<EOF` hands the content itself to the shell; with more than
        that on the line the shell gets the line and the here-documents behind it. Not meaningful when
        `executable` is set.
        """
        if not self.heredocs:
            return self.command.argv(shell)
        if self.lone_heredoc:
            return (*shell, self.heredocs[0].data)
        parts = [self.command.args[0], *(doc.content + doc.name for doc in self.heredocs)]
        return (*shell, "\n".join(parts))


class Transfer(Instruction, kw_only=True):
    """What COPY and ADD share: one or more of `sources` and `heredocs`, to `dest`.

    A trailing slash of `dest` is kept: it makes it a directory. `chown` is `user[:group]`, `chmod` a mode for
    `tiffin.dockerfile.chmod.parse_chmod`; "" where not given. `exclude` are patterns of what is left out, as in
    an ignore file. `parents` (COPY alone) keeps the sources' directories.
    Expands: sources, dest, chown, chmod, exclude, and the heredocs that allow it.
    """

    sources: tuple[str, ...]
    dest: str
    chown: str = ""
    chmod: str = ""
    link: bool = False
    exclude: tuple[str, ...] = ()
    parents: bool = False
    heredocs: tuple[Heredoc, ...] = ()


class Copy(Transfer, kw_only=True):
    """COPY. `from_` is a stage's name or number, or an image; "" is the build context; never expanded."""

    keyword: ClassVar[str] = "COPY"

    from_: str = ""


class Add(Transfer, kw_only=True):
    """ADD: as COPY from the context, and from URLs and git repositories (`tiffin.dockerfile.remote`).

    `checksum` is what the one remote source must have: a digest, or a commit's hash for a git repository.
    `unpack` None: archives of the context are unpacked, others not. Expands: as Transfer, and checksum.
    """

    keyword: ClassVar[str] = "ADD"

    checksum: str = ""
    keep_git_dir: bool = False
    unpack: bool | None = None


class Workdir(Instruction, kw_only=True):
    """WORKDIR; relative to the one before it. Expands: path."""

    keyword: ClassVar[str] = "WORKDIR"

    path: str


class Env(Instruction, kw_only=True):
    """ENV; `legacy` when written `ENV name value`. Expands: names and values, every one against the environment
    *before* the line.
    """

    keyword: ClassVar[str] = "ENV"

    pairs: tuple[tuple[str, str], ...]
    legacy: bool = False


class Arg(Instruction, kw_only=True):
    """ARG: pairs of name and default, None where there is no default.

    Expands: names and defaults, each seeing the defaults of the same line that stand before it.
    """

    keyword: ClassVar[str] = "ARG"

    pairs: tuple[tuple[str, str | None], ...]


class Label(Instruction, kw_only=True):
    """LABEL; `legacy` when written `LABEL name value`. Expands: names and values."""

    keyword: ClassVar[str] = "LABEL"

    pairs: tuple[tuple[str, str], ...]
    legacy: bool = False


class Expose(Instruction, kw_only=True):
    """EXPOSE. Expands: ports, where a word may become several; then each is `number/protocol`, no ranges."""

    keyword: ClassVar[str] = "EXPOSE"

    ports: tuple[str, ...]


class User(Instruction, kw_only=True):
    """USER `user[:group]`. Expands: user."""

    keyword: ClassVar[str] = "USER"

    user: str


class Volume(Instruction, kw_only=True):
    """VOLUME. Expands: paths."""

    keyword: ClassVar[str] = "VOLUME"

    paths: tuple[str, ...]


class Shell(Instruction, kw_only=True):
    """SHELL: the argument vector before every later shell form."""

    keyword: ClassVar[str] = "SHELL"

    argv: tuple[str, ...]


class Cmd(Instruction, kw_only=True):
    """CMD."""

    keyword: ClassVar[str] = "CMD"

    command: Command


class Entrypoint(Instruction, kw_only=True):
    """ENTRYPOINT."""

    keyword: ClassVar[str] = "ENTRYPOINT"

    command: Command


class Stopsignal(Instruction, kw_only=True):
    """STOPSIGNAL: a signal's name or number. Expands: signal, which is checked then."""

    keyword: ClassVar[str] = "STOPSIGNAL"

    signal: str


class Healthcheck(Instruction, kw_only=True):
    """HEALTHCHECK. `test` is as in the image config: ("NONE",), ("CMD", *argv) or ("CMD-SHELL", text).

    Durations are nanoseconds and 0 means "not said", as in the image config; so does 0 `retries`.
    """

    keyword: ClassVar[str] = "HEALTHCHECK"

    test: tuple[str, ...]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class Maintainer(Instruction, kw_only=True):
    """MAINTAINER: the image's `author`. Deprecated by Docker for a label; still meant."""

    keyword: ClassVar[str] = "MAINTAINER"

    author: str


class Onbuild(Instruction, kw_only=True):
    """ONBUILD: `trigger` is one instruction, checked, here-documents included, to be parsed again by
    `tiffin.dockerfile.parser.parse_trigger` in the build that uses this image as its base. Expands: nothing.
    """

    keyword: ClassVar[str] = "ONBUILD"

    trigger: str
