"""What RUN, CMD and ENTRYPOINT execute, and the here-documents that RUN, COPY and ADD bring with them."""

from __future__ import annotations

import re

from tiffin.dockerfile.value import Value


class Heredoc(Value):
    """A here-document of RUN, COPY or ADD.

    `content` is the lines between the opening line and the terminator, as written, each with its newline.
    `expand` is False when any part of the delimiter was quoted: then nothing in `content` is evaluated.
    For COPY and ADD `name` is the name of the file that it makes.
    """

    name: str
    content: str
    expand: bool = True
    strip_tabs: bool = False
    descriptor: int = 0

    @property
    def data(self) -> str:
        """The content as it is meant: with `<<-` the leading tabs of each line removed."""
        if not self.strip_tabs:
            return self.content
        return re.sub(r"(?m)^\t+", "", self.content)


class Command(Value):
    """What RUN, CMD and ENTRYPOINT execute.

    Exec form: `args` is the argument vector, `shell` is False. Shell form: `args` is one text for the shell
    that SHELL chose (default `/bin/sh -c`), `shell` is True. `CMD []` gives no args.
    """

    args: tuple[str, ...]
    shell: bool

    def argv(self, shell: tuple[str, ...]) -> tuple[str, ...]:
        """The full argument vector under `shell`; an empty command stays empty."""
        return (*shell, *self.args) if self.shell and self.args else self.args
