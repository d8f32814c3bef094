"""RUN --mount: what a command sees of it, what stays, and what it is cached by."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents import agents, await_none, make_key
from tests.building import Bench
from tiffin.build.running import cache_mounts
from tiffin.errors import DockerfileError, InvalidArgument, NotFound

pytestmark = pytest.mark.root


def kept(bench: Bench) -> list[str]:
    return [each.id for each in cache_mounts.kept(bench.store)]


# ---- cache


def test_a_cache_mount_keeps_what_was_written_for_the_next_build_and_out_of_the_layer(based: Bench) -> None:
    text = "FROM base\nRUN --mount=type=cache,target=/var/x echo {0} >>/var/x/log; cat /var/x/log >/seen"
    based.build(text.format("one"))
    based.build(text.format("two"))
    assert based.layer_names() == ["seen"]
    with based.tree() as top:
        assert (top / "seen").read_text() == "one\ntwo\n"
        assert not (top / "var").exists()
    assert kept(based) == ["/var/x"]


def test_cache_mounts_are_told_apart_by_id_and_by_who_they_begin_as(based: Bench) -> None:
    based.build(
        "FROM base\n"
        "RUN --mount=type=cache,id=a,target=/one echo of a >/one/f\n"
        "RUN --mount=type=cache,id=a,target=/two cat /two/f >/seen\n"
        "RUN --mount=type=cache,id=b,target=/two test ! -e /two/f\n"
        "RUN --mount=type=cache,id=a,target=/three,uid=1234,gid=50,mode=0751 "
        "test ! -e /three/f; stat -c '%u %g %a' /three >>/seen\n"
        "USER app\nRUN --mount=type=cache,id=a,target=/three,uid=1234,gid=50,mode=0751 touch /three/mine"
    )
    with based.tree() as top:
        assert (top / "seen").read_text() == "of a\n1234 50 751\n"
    assert sorted(kept(based)) == ["a", "a", "b"]


def test_a_new_cache_mount_begins_with_what_from_and_source_name(based: Bench) -> None:
    based.build(
        "FROM base AS seed\nRUN mkdir -p /data/sub; echo seeded >/data/sub/f; chown 5:6 /data/sub; chmod 700 /data\n"
        "FROM base\nRUN --mount=type=cache,id=c,target=/c,from=seed,source=/data "
        "cat /c/sub/f; stat -c '%a %u' /c /c/sub >/seen; echo more >>/c/sub/f"
    )
    with based.tree() as top:
        assert (top / "seen").read_text() == "700 0\n755 5\n"
    assert "seeded" in based.log


def test_a_read_only_cache_mount_cannot_be_written_to(based: Bench) -> None:
    based.build("FROM base\nRUN --mount=type=cache,target=/c,ro ! touch /c/f")


def test_one_cache_mounted_twice_in_a_step_is_the_same_even_when_locked(based: Bench) -> None:
    based.build(
        "FROM base\nRUN --mount=type=cache,id=c,target=/a,sharing=locked "
        "--mount=type=cache,id=c,target=/b,sharing=locked "
        "echo x >/a/f && cat /b/f"
    )


MEET = """\
FROM base AS one
RUN --mount=type=cache,id=c,target=/c,sharing={sharing} --mount=type=cache,id=gate,target=/gate {one}
FROM base AS two
RUN --mount=type=cache,id=c,target=/c,sharing={sharing} --mount=type=cache,id=gate,target=/gate {two}
FROM base
COPY --from=one /seen /one
COPY --from=two /seen /two
"""
# Each step makes its mark at the gate and waits for the other's: both are running, or neither goes on.
TOGETHER = "touch /gate/{me} /c/{me}; until test -e /gate/{other}; do sleep 0.05; done; ls /c >/seen"
# Each step finds the cache to itself, or says so.
ALONE = "mkdir /c/held || exit 9; for i in 1 2 3 4 5 6; do sleep 0.05; done; rmdir /c/held; echo alone >/seen"


def test_steps_that_share_a_cache_mount_run_side_by_side_in_it(based: Bench) -> None:
    one, two = TOGETHER.format(me="a", other="b"), TOGETHER.format(me="b", other="a")
    based.build(MEET.format(sharing="shared", one=one, two=two), jobs=2)
    with based.tree() as top:
        assert (top / "one").read_text() == (top / "two").read_text() == "a\nb\n"


def test_steps_that_want_it_private_get_one_each(based: Bench) -> None:
    one, two = TOGETHER.format(me="a", other="b"), TOGETHER.format(me="b", other="a")
    based.build(MEET.format(sharing="private", one=one, two=two), jobs=2)
    with based.tree() as top:
        assert (top / "one").read_text() == "a\n"
        assert (top / "two").read_text() == "b\n"
    assert sorted(kept(based)) == ["c", "c", "gate"]


def test_steps_that_lock_it_wait_for_each_other(based: Bench) -> None:
    based.build(MEET.format(sharing="locked", one=ALONE, two=f"true; {ALONE}"), jobs=2)


def test_a_cache_mount_in_use_is_not_removed_and_one_at_rest_is(based: Bench) -> None:
    based.build("FROM base\nRUN --mount=type=cache,target=/c echo x >/c/f")
    (name,) = [each.name for each in cache_mounts.kept(based.store)]
    lock = os.open(f"{cache_mounts.directory(based.store)}/{name}", os.O_RDONLY)
    try:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_SH)
        assert [each.in_use for each in cache_mounts.kept(based.store)] == [True]
        assert not cache_mounts.remove(based.store, name)
    finally:
        os.close(lock)
    assert cache_mounts.remove(based.store, name)
    assert cache_mounts.kept(based.store) == []
    assert os.listdir(cache_mounts.directory(based.store)) == []


def test_what_is_in_a_cache_mount_does_not_count_and_its_id_and_target_do(based: Bench) -> None:
    text = "FROM base\nRUN --mount=type=cache,id={0},target={1} echo x >>/tmp/x"
    based.build(text.format("a", "/c"))
    based.build(text.format("a", "/c"))
    assert based.cached == ["[2/2] RUN --mount=type=cache,id=a,target=/c echo x >>/tmp/x"]
    for other in (("b", "/c"), ("a", "/d")):
        based.build(text.format(*other))
        assert based.cached == []


# ---- bind


def test_a_bind_of_the_context_shows_it_without_what_is_ignored_and_keeps_nothing(based: Bench) -> None:
    based.write("src/a.c", "int a;")
    based.write("src/secret.key", "no")
    based.write(".dockerignore", "**/*.key")
    based.build(
        "FROM base\nRUN --mount=target=/ctx,source=src cat /ctx/a.c; ls /ctx >/seen; ! touch /ctx/new"
    )
    assert "int a;" in based.log
    with based.tree() as top:
        assert (top / "seen").read_text() == "a.c\n"
        assert not (top / "ctx").exists()


def test_a_bind_is_cached_by_what_is_in_it(based: Bench) -> None:
    based.write("src/a", "1")
    based.write("other", "1")
    text = "FROM base\nRUN --mount=target=/ctx,source=src cp /ctx/a /a"
    based.build(text)
    based.write("other", "2")
    based.build(text)
    assert len(based.cached) == 1
    based.write("src/a", "2")
    based.build(text)
    assert based.cached == []
    with based.tree() as top:
        assert (top / "a").read_text() == "2"


def test_a_bind_of_a_stage_goes_by_the_files_that_it_shows(based: Bench) -> None:
    text = (
        "FROM base AS made\nARG N=1\nRUN echo $N >/noise; mkdir /out; echo same >/out/f\n"
        "FROM base\nRUN --mount=from=made,source=/out,target=/in cp /in/f /f"
    )
    based.build(text)
    based.build(text, build_args={"N": "2"})
    assert [name for name in based.executed if "cp" in name] == []
    with based.tree() as top:
        assert (top / "f").read_text() == "same\n"


def test_writes_to_a_bind_are_thrown_away(based: Bench) -> None:
    based.write("src/a", "mine")
    based.build(
        "FROM base AS made\nRUN mkdir /out; echo theirs >/out/f\nFROM base\n"
        "RUN --mount=target=/ctx,source=src,rw --mount=from=made,source=/out,target=/in,rw "
        "echo x >/ctx/a; echo x >/ctx/b; echo x >/in/f; rm -r /in/f; echo done >/seen\n"
        "RUN --mount=from=made,source=/out,target=/in cat /in/f >>/seen"
    )
    assert (based.context / "src" / "a").read_text() == "mine"
    assert not (based.context / "src" / "b").exists()
    with based.tree() as top:
        assert (top / "seen").read_text() == "done\ntheirs\n"


def test_a_bind_of_an_image_and_of_a_single_file(based: Bench) -> None:
    based.build("FROM base\nRUN echo tool >/tool", tags=("tools",))
    based.write("one", "1")
    based.build(
        "FROM base\nRUN --mount=from=tools,target=/t --mount=from=tools,source=/tool,target=/file "
        "--mount=source=one,target=/one cat /t/tool /file /one >/seen"
    )
    with based.tree() as top:
        assert (top / "seen").read_text() == "tool\ntool\n1"
        assert sorted(os.listdir(top)) == ["bin", "etc", "lib", "root", "seen", "tmp", "usr"]


def test_a_mount_may_lie_below_another_in_whatever_order_they_are_written(based: Bench) -> None:
    based.write("src/sub/x", "x")
    based.build(
        "FROM base\nRUN --mount=type=cache,target=/ctx/sub --mount=target=/ctx,source=src "
        "touch /ctx/sub/y; ls /ctx/sub >/seen"
    )
    with based.tree() as top:
        assert (top / "seen").read_text() == "y\n"


@pytest.mark.parametrize("flag", ["source=nowhere", "from=base,source=/nowhere", "from=nobody/nothing"])
def test_a_source_that_is_not_there_is_said_with_its_line(based: Bench, flag: str) -> None:
    with pytest.raises(DockerfileError, match="Dockerfile:2") as caught:
        based.build(f"FROM base\nRUN --mount={flag},target=/x true")
    assert "no" in str(caught.value)


def test_a_target_is_relative_to_the_working_directory(based: Bench) -> None:
    based.write("f", "here")
    based.build("FROM base\nWORKDIR /w\nRUN --mount=target=ctx cat ctx/f /w/ctx/f >seen")
    with based.tree() as top:
        assert (top / "w" / "seen").read_text() == "herehere"


# ---- tmpfs


def test_a_tmpfs_is_empty_bounded_and_gone(based: Bench) -> None:
    based.build(
        "FROM base\nRUN mkdir /t; touch /t/old\n"
        "RUN --mount=type=tmpfs,target=/t,size=64k ls /t; touch /t/new; ! dd if=/dev/zero of=/t/big bs=1k count=100"
    )
    with based.tree() as top:
        assert os.listdir(top / "t") == ["old"]


# ---- secrets


def test_a_secret_is_a_file_or_a_variable_and_leaves_nothing(based: Bench, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hunter2\n")
    text = (
        "FROM base\nRUN --mount=type=secret,id=token --mount=type=secret,id=token,target=/etc/token,uid=1234,mode=0440 "
        "--mount=type=secret,id=token,env=TOKEN "
        'test "$(cat /run/secrets/token)" = hunter2; test "$TOKEN" = "$(printf "hunter2\\n")" || test -n "$TOKEN"; '
        "stat -c '%a %u' /run/secrets/token /etc/token >/seen"
    )
    based.build(text, secrets=(f"id=token,src={tmp_path}/token",))
    with based.tree() as top:
        assert (top / "seen").read_text() == "400 0\n440 1234\n"
        assert not (top / "run").exists()
        assert not (top / "etc" / "token").exists()
    (tmp_path / "token").write_text("another")
    based.build(text, secrets=(f"id=token,src={tmp_path}/token",))
    assert len(based.cached) == 1


def test_a_secret_from_the_environment(based: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "of the environment")
    based.build(
        "FROM base\nRUN --mount=type=secret,id=t,required cat /run/secrets/t | wc -c >/seen",
        secrets=("id=t,env=MY_TOKEN",),
    )
    with based.tree() as top:
        assert (top / "seen").read_text() == "18\n"


def test_a_secret_that_was_not_given_is_absent_unless_it_is_required(based: Bench) -> None:
    based.build("FROM base\nRUN --mount=type=secret,id=t test ! -e /run/secrets/t")
    with pytest.raises(DockerfileError, match=r"--secret id=t,src=FILE"):
        based.build("FROM base\nRUN --mount=type=secret,id=t,required true")


@pytest.mark.parametrize(
    ("flag", "kind", "text"),
    [
        ("src=x", InvalidArgument, "needs an id"),
        ("id=x,src=/nowhere/at/all", NotFound, "/nowhere/at/all"),
        ("id=x,src=/etc", InvalidArgument, "is a directory"),
        ("id=x,colour=red", InvalidArgument, "colour"),
        ("id=x,src=/etc/passwd,env=Y", InvalidArgument, "one of src and env"),
        ("id=x,type=magic", InvalidArgument, "magic"),
    ],
)
def test_a_malformed_secret_is_refused_before_anything_runs(
    based: Bench, flag: str, kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text):
        based.build("FROM base", secrets=(flag,))
    assert based.executed == []


# ---- ssh


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Path]:
    """The socket of a real agent with one key, and in the context `root/`, a client of it with its libraries."""
    path = tmp_path / "agent.sock"
    if not all(map(shutil.which, ("ssh-agent", "ssh-add", "ssh-keygen"))):
        pytest.skip("needs the programs of OpenSSH")
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    key = tmp_path / "key"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "of the agent", "-f", str(key)], check=True
    )
    try:
        assert process.stdout.readline()  # it listens
        subprocess.run(
            ["ssh-add", "-q", str(key)], env={**os.environ, "SSH_AUTH_SOCK": str(path)}, check=True
        )
        yield path
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def put_client(bench: Bench) -> None:
    said = subprocess.run(["ldd", "/usr/bin/ssh-add"], capture_output=True, text=True, check=True).stdout
    for path in ["/usr/bin/ssh-add", *(word for word in said.split() if word.startswith("/"))]:
        name = path.replace("/lib/", "/usr/lib/", 1) if path.startswith("/lib/") else path
        bench.write(f"root{name}", Path(path).read_bytes(), 0o755)


def test_an_agent_lists_and_signs_but_takes_no_orders(based: Bench, agent: Path) -> None:
    put_client(based)
    based.build(
        "FROM base\nCOPY root /\nRUN --mount=type=ssh test $SSH_AUTH_SOCK = /run/buildkit/ssh_agent.0; ssh-add -l; "
        "! ssh-add -D; ssh-add -l >/seen\n"
        "USER app\nRUN --mount=type=ssh,uid=1234,mode=0600,target=/tmp/a test $SSH_AUTH_SOCK = /tmp/a; ssh-add -l",
        ssh=(f"default={agent}",),
    )
    with based.tree() as top:
        assert "of the agent" in (top / "seen").read_text()
        assert not (top / "run").exists()
        assert list((top / "tmp").iterdir()) == []


def test_an_agent_that_was_not_given_is_absent_unless_it_is_required(based: Bench) -> None:
    based.build('FROM base\nRUN --mount=type=ssh test -z "$SSH_AUTH_SOCK"')
    with pytest.raises(DockerfileError, match="--ssh other"):
        based.build("FROM base\nRUN --mount=type=ssh,id=other,required true")


def test_keys_are_lent_by_an_agent_that_ends_with_the_build(based: Bench, tmp_path: Path) -> None:
    if not all(map(shutil.which, ("ssh-agent", "ssh-add", "ssh-keygen"))):
        pytest.skip("needs the programs of OpenSSH")
    put_client(based)
    one, two = make_key(tmp_path / "one", "the first"), make_key(tmp_path / "two", "the second")
    text = (
        "FROM base\nCOPY root /\nRUN --mount=type=ssh ssh-add -l >/seen; ! ssh-add -D\n"
        "RUN --mount=type=ssh,id=other ssh-add -l >/other"
    )
    before = agents()
    based.build(text, ssh=(f"default={one},{two}", f"other={two}"))
    await_none(before)
    with based.tree() as top:
        seen, other = (top / "seen").read_text(), (top / "other").read_text()
    assert "the first" in seen and "the second" in seen
    assert "the first" not in other and "the second" in other
    bodies = [word for key in (one, two) for word in ("-e", key.read_text().splitlines()[2])]
    found = subprocess.run(["grep", "-rlF", *bodies, based.layout.root], capture_output=True, check=False)
    assert (found.returncode, found.stdout) == (1, b"")


def test_only_keys_can_be_lent_that_nobody_is_asked_about(based: Bench, tmp_path: Path) -> None:
    (tmp_path / "broken").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    (tmp_path / "broken").chmod(0o600)
    guarded, shown = make_key(tmp_path / "guarded", "x", "open sesame"), make_key(tmp_path / "shown", "y")
    shown.chmod(0o644)
    for path, reason in (
        (tmp_path / "broken", r"broken': .*add it to an agent"),
        (guarded, r"guarded': .*add it to an agent"),
        (shown, "shown': .*add it to an agent"),
        (tmp_path, "is no key"),
    ):
        with pytest.raises(InvalidArgument, match=reason):
            based.build("FROM base", ssh=(f"default={path}",))
    with pytest.raises(NotFound, match="No such file"):
        based.build("FROM base", ssh=(f"default={shown},{tmp_path}/none",))


def test_only_an_agent_that_answers_can_be_lent(
    based: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead"))
    with pytest.raises(NotFound, match="no ssh agent answers"):
        based.build("FROM base", ssh=(f"x={tmp_path}/dead",))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(NotFound, match="SSH_AUTH_SOCK is not set"):
        based.build("FROM base", ssh=("default",))


# ---- network and rights


def test_a_step_may_do_without_the_network(based: Bench) -> None:
    based.build("FROM base\nRUN --network=none ls /sys/class/net >/seen", network="host")
    with based.tree() as top:
        assert (top / "seen").read_text() == "lo\n"


def test_the_hosts_network_wants_to_be_allowed(based: Bench) -> None:
    text = "FROM base\nRUN --network=host readlink /proc/self/ns/net >/seen"
    with pytest.raises(DockerfileError, match=r"--allow network\.host"):
        based.build(text)
    based.build(text, allow=("network.host",))
    with based.tree() as top:
        assert (top / "seen").read_text().strip() == os.readlink("/proc/self/ns/net")


def test_an_insecure_step_wants_to_be_allowed_and_has_every_right(based: Bench) -> None:
    text = "FROM base\nRUN --security=insecure grep CapEff /proc/self/status >/seen; mount -t tmpfs x /tmp"
    with pytest.raises(DockerfileError, match=r"--allow security\.insecure"):
        based.build(text)
    based.build(text, allow=("security.insecure",))
    with based.tree() as top:
        mine = int((top / "seen").read_text().split()[1], 16)
    assert mine >> 21 & 1  # SYS_ADMIN
    based.build("FROM base\nRUN grep CapEff /proc/self/status >/seen")
    with based.tree() as top:
        assert not int((top / "seen").read_text().split()[1], 16) >> 21 & 1
