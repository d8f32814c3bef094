"""Docker's configuration file, read and written as Docker does; what belongs to others stays."""

import base64
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.credential_helper import HelperProgram, install
from tiffin.errors import EngineError, InvalidArgument, LimitExceeded, PermissionDenied
from tiffin.registry.credentials import Credential, Credentials, key_of
from tiffin.registry.endpoints import HUB_AUTH_KEY

HOST = "registry.example:5000"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of a configuration file that is not there yet, which $DOCKER_CONFIG leads to."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return tmp_path / "docker" / "config.json"


def write(file: Path, document: Any) -> Credentials:
    file.parent.mkdir(exist_ok=True)
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    return Credentials()


# ---- where


def test_the_file_is_where_docker_config_says_else_at_home(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Credentials().path == str(file)
    assert Credentials("/x/config.json").path == "/x/config.json"
    monkeypatch.delenv("DOCKER_CONFIG")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert Credentials().path == "/home/somebody/.docker/config.json"


def test_no_file_is_an_empty_one_and_reading_makes_none(file: Path) -> None:
    credentials = Credentials()
    assert credentials.get(HOST) is None
    assert credentials.all() == {}
    assert not credentials.erase(HOST)
    assert not file.parent.exists()
    assert write(file, "").get(HOST) is None
    assert write(file, "{}").get(HOST) is None
    assert write(file, {"auths": None, "credHelpers": None}).all() == {}


# ---- reading


@pytest.mark.parametrize(
    "key",
    [HOST, f"https://{HOST}", f"http://{HOST}", f"https://{HOST}/v2/", f"{HOST}/v1/", f"{HOST}/team"],
)
def test_a_key_may_have_a_scheme_and_a_path(file: Path, key: str) -> None:
    credentials = write(file, {"auths": {key: {"auth": encoded("me:pass:with:colons")}}})
    assert credentials.get(HOST) == Credential("me", "pass:with:colons")
    assert credentials.get("registry.example") is None
    assert credentials.all() == {HOST: "me"}


def test_the_plainest_key_of_a_host_wins(file: Path) -> None:
    names = {f"{HOST}/team": "scoped", f"https://{HOST}": "url", HOST: "exact"}
    credentials = write(file, {"auths": {key: {"auth": encoded(f"{user}:x")} for key, user in names.items()}})
    assert credentials.get(HOST) == Credential("exact", "x")
    del names[HOST]
    credentials = write(file, {"auths": {key: {"auth": encoded(f"{user}:x")} for key, user in names.items()}})
    assert credentials.get(HOST) == Credential("url", "x")


@pytest.mark.parametrize("key", [HUB_AUTH_KEY, "docker.io", "index.docker.io", "https://index.docker.io/v1"])
def test_docker_hub_is_known_by_all_of_its_names(file: Path, key: str) -> None:
    credentials = write(file, {"auths": {key: {"auth": encoded("me:x")}}})
    assert credentials.get("docker.io") == credentials.get("") == Credential("me", "x")
    assert credentials.all() == {"docker.io": "me"}


def test_what_docker_keeps_for_its_own_login_is_not_a_password(file: Path) -> None:
    keys = [f"{HUB_AUTH_KEY}access-token", f"{HUB_AUTH_KEY}refresh-token"]
    credentials = write(file, {"auths": {key: {"auth": encoded("me:x")} for key in keys}})
    assert credentials.get("docker.io") is None


@pytest.mark.parametrize(
    ("entry", "credential"),
    [
        ({"username": "me", "password": "x"}, Credential("me", "x")),
        ({"auth": encoded("me:x\0\0")}, Credential("me", "x")),
        ({"auth": encoded("me:"), "identitytoken": "t"}, Credential("me", "", "t")),
        ({"registrytoken": "r"}, Credential(registry_token="r")),
        ({"auth": "", "email": "me@x"}, None),
        ({}, None),
    ],
)
def test_an_entry_has_a_password_or_a_token_or_nothing(
    file: Path, entry: dict[str, str], credential: Credential | None
) -> None:
    assert write(file, {"auths": {HOST: entry}}).get(HOST) == credential


@pytest.mark.parametrize(
    "entry", [{"auth": "hunter2 hunter2!"}, {"auth": encoded("hunter2")}, {"auth": 5}, "hunter2", None]
)
def test_t18_a_malformed_entry_is_named_and_not_shown(file: Path, entry: Any) -> None:
    credentials = write(file, {"auths": {HOST: entry, "other.example": {"auth": encoded("me:x")}}})
    with pytest.raises(InvalidArgument) as refused:
        credentials.get(HOST)
    text = str(refused.value)
    assert str(file) in text
    assert f"'tiffin logout {HOST}'" in text
    assert "hunter2" not in text
    assert encoded("hunter2") not in text
    assert credentials.get("other.example") == Credential("me", "x")
    assert credentials.erase(HOST)
    assert credentials.get(HOST) is None


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{"auths": hunter2}', "is not valid JSON (line 1: Expecting value)"),
        ("[" * 100_000, "is not valid JSON"),
        ("[]", "is not a JSON object"),
        ('{"auths": []}', "has a 'auths' that is not an object"),
        ('{"auths": ["hunter2"]}', "has a 'auths' that is not an object"),
        ('{"credHelpers": "hunter2"}', "has a 'credHelpers' that is not an object"),
        ('{"credsStore": {"hunter2": 1}}', "has a 'credsStore' that is not a string"),
    ],
)
def test_t18_a_malformed_file_is_named_and_not_quoted(file: Path, text: str, what: str) -> None:
    credentials = write(file, text)
    for attempt in (lambda: credentials.get(HOST), lambda: credentials.store(HOST, Credential("me", "x"))):
        with pytest.raises(InvalidArgument) as refused:
            attempt()
        assert str(refused.value) == f"{file} {what}: mend it, or move it away and log in again"
        assert refused.value.__cause__ is None
    assert file.read_text() == text


def test_a_file_that_is_no_configuration_is_refused(file: Path) -> None:
    credentials = write(file, " " * (5 << 20))
    with pytest.raises(LimitExceeded, match="larger than 4 MiB"):
        credentials.get(HOST)
    file.unlink()
    file.mkdir()
    with pytest.raises(PermissionDenied, match="Is a directory"):
        credentials.get(HOST)


@pytest.mark.parametrize("key", ["", " ", "..", "a b", "https://", f"{HUB_AUTH_KEY}access-token"])
def test_a_key_that_means_no_registry_is_nobodys(file: Path, key: str) -> None:
    entries = {key: {"auth": encoded("me:x")}, HOST: {"auth": encoded("you:x")}}
    credentials = write(file, {"auths": entries})
    assert credentials.get("docker.io") is None
    assert credentials.all() == {HOST: "you"}
    assert credentials.erase(HOST)
    assert json.loads(file.read_text()) == {"auths": {key: {"auth": encoded("me:x")}}}


def test_an_entry_without_a_secret_is_no_login_but_goes_with_one(file: Path) -> None:
    credentials = write(file, {"auths": {HOST: {}}})
    assert not credentials.erase(HOST)
    assert json.loads(file.read_text()) == {"auths": {}}


# ---- writing


def test_a_password_is_written_as_docker_writes_it(file: Path) -> None:
    where = Credentials().store(HOST, Credential("me", "pä:ss"))
    assert where == str(file)
    assert file.read_text() == (
        '{\n\t"auths": {\n\t\t"registry.example:5000": {\n\t\t\t"auth": "'
        + encoded("me:pä:ss")
        + '"\n\t\t}\n\t}\n}'
    )
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert Credentials().get(HOST) == Credential("me", "pä:ss")
    assert os.listdir(file.parent) == ["config.json"]


@pytest.mark.parametrize(
    "credential", [Credential("me", "x"), Credential("me", "", "token"), Credential(registry_token="r")]
)
@pytest.mark.parametrize("registry", ["docker.io", HOST, "[::1]:5000"])
def test_what_is_stored_is_found_again(file: Path, registry: str, credential: Credential) -> None:
    Credentials().store(registry, credential)
    assert Credentials().get(registry) == credential
    assert list(json.loads(file.read_text())["auths"]) == [key_of(registry)]
    assert Credentials().erase(registry)
    assert Credentials().get(registry) is None
    assert not Credentials().erase(registry)
    assert json.loads(file.read_text()) == {"auths": {}}


def test_what_others_wrote_stays_in_its_place(file: Path) -> None:
    before = {
        "HttpHeaders": {"User-Agent": "Dock\u00e9r"},
        "auths": {"a.example": {"auth": encoded("me:x"), "email": "e"}, HOST: {"auth": encoded("old:old")}},
        "plugins": {"x": {"n": 1.5, "huge": 2**70}},
    }
    credentials = write(file, before)
    credentials.store(HOST, Credential("new", "new"))
    after = json.loads(file.read_text())
    assert list(after) == list(before)
    assert after["auths"].pop(HOST) == {"auth": encoded("new:new")}
    before["auths"].pop(HOST)  # type: ignore[attr-defined]  # a dictionary
    assert after == before


def test_a_string_that_is_no_text_stays_as_it_was(file: Path) -> None:
    credentials = write(file, r'{"x": "\ud800", "y": "\u00e9"}')
    credentials.store(HOST, Credential("me", "x"))
    assert json.loads(file.read_text())["x"] == "\ud800"
    assert credentials.get(HOST) == Credential("me", "x")


def test_a_link_is_followed_and_stays_a_link(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "dotfiles" / "docker.json"
    target.parent.mkdir()
    file.parent.mkdir()
    file.symlink_to("../dotfiles/docker.json")
    for password in ("first", "second"):  # a dangling link first
        Credentials().store(HOST, Credential("me", password))
        assert file.is_symlink()
        assert Credentials(str(target)).get(HOST) == Credential("me", password)
    assert os.listdir(target.parent) == ["docker.json"]


def test_a_file_that_others_could_read_is_closed_to_them(file: Path) -> None:
    credentials = write(file, {})
    file.chmod(0o644)
    credentials.store(HOST, Credential("me", "x"))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = f"{tmp_path}/file/config.json"
    assert Credentials(path).get(HOST) is None
    with pytest.raises(PermissionDenied, match=f"cannot write {path}: "):
        Credentials(path).store(HOST, Credential("me", "x"))


def test_logins_at_the_same_moment_all_count(file: Path) -> None:
    names = [f"r{number}.example" for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: Credentials().store(name, Credential("me", name)), names))
    assert Credentials().all() == dict.fromkeys(sorted(names), "me")


def test_logging_out_removes_every_name_of_the_host_and_no_part_of_it(file: Path) -> None:
    keys = [HOST, f"https://{HOST}", f"http://{HOST}/v2/", f"{HOST}/team", "other.example"]
    credentials = write(file, {"auths": {key: {"auth": encoded("me:x")} for key in keys}})
    assert credentials.erase(HOST)
    assert list(json.loads(file.read_text())["auths"]) == [f"{HOST}/team", "other.example"]


# ---- helpers


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HelperProgram:
    return install(tmp_path / "bin", "test", monkeypatch)


@pytest.mark.parametrize("document", [{"credsStore": "test"}, {"credHelpers": {HOST: "test"}}])
def test_a_helper_keeps_what_the_file_does_not(file: Path, helper: HelperProgram, document: Any) -> None:
    credentials = write(file, document)
    assert credentials.get(HOST) is None
    assert credentials.store(HOST, Credential("me", "secret")) == "docker-credential-test"
    assert helper.kept()[HOST] == {"ServerURL": HOST, "Username": "me", "Secret": "secret"}
    assert json.loads(file.read_text()) == {**document, "auths": {HOST: {}}}
    assert credentials.get(HOST) == Credential("me", "secret")
    assert credentials.all() == {HOST: "me"}
    assert credentials.erase(HOST)
    assert helper.kept() == {}
    assert json.loads(file.read_text()) == {**document, "auths": {}}
    assert not credentials.erase(HOST)


def test_an_identity_token_is_kept_under_the_name_of_a_token(file: Path, helper: HelperProgram) -> None:
    credentials = write(file, {"credsStore": "test"})
    credentials.store("docker.io", Credential("me", "", "token"))
    assert helper.kept()[HUB_AUTH_KEY]["Username"] == "<token>"
    assert credentials.get("docker.io") == Credential(identity_token="token")
    assert credentials.all() == {"docker.io": ""}


def test_a_registrys_own_helper_goes_before_the_store_and_that_before_the_file(
    file: Path, helper: HelperProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = install(tmp_path / "bin", "other", monkeypatch)
    credentials = write(
        file,
        {
            "credsStore": "test",
            "credHelpers": {HOST: "other", "plain.example": ""},
            "auths": {name: {"auth": encoded("file:x")} for name in (HOST, "b.example", "plain.example")},
        },
    )
    credentials.store(HOST, Credential("own", "x"))
    credentials.store("b.example", Credential("common", "x"))
    assert list(other.kept()) == [HOST]
    assert list(helper.kept()) == ["b.example"]
    assert credentials.get("plain.example") == Credential("file", "x")
    assert credentials.all() == {HOST: "own", "b.example": "common", "plain.example": "file"}
    assert credentials.get("unknown.example") is None


def test_a_password_of_the_file_is_forgotten_when_a_helper_took_over(
    file: Path, helper: HelperProgram
) -> None:
    credentials = write(file, {"credsStore": "test", "auths": {HOST: {"auth": encoded("me:x")}}})
    assert credentials.get(HOST) is None
    assert credentials.erase(HOST)
    assert helper.calls() == ["get", "get"]
    assert json.loads(file.read_text())["auths"] == {}


@pytest.mark.parametrize("name", ["../x", "a b", "x;y", "/bin/sh", "ü", "x\n"])
def test_a_helper_is_no_path(file: Path, name: str) -> None:
    with pytest.raises(InvalidArgument, match="cannot be a credential helper"):
        write(file, {"credsStore": name}).get(HOST)


def test_a_helper_that_is_not_there_is_named_with_the_file_that_wants_it(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "bin", "test", monkeypatch).program.chmod(0o644)
    with pytest.raises(EngineError, match=r"no docker-credential-test on .PATH, which .*config.json names"):
        write(file, {"credsStore": "test"}).get(HOST)


def test_a_helper_is_not_taken_from_the_working_directory(
    file: Path, helper: HelperProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(helper.program.parent)
    monkeypatch.setenv("PATH", f":.:{os.defpath}")
    with pytest.raises(EngineError, match="no docker-credential-test"):
        write(file, {"credsStore": "test"}).get(HOST)


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("echo the keyring is locked; exit 1", "get failed: the keyring is locked"),
        ("exit 3", "get failed with exit code 3"),
        ('echo \'{"Username":"me","Secret":"hunter2"}\'; exit 1', "get failed with exit code 1"),
        ("echo hunter2", "the answer is not a JSON object"),
        ("echo '[\"hunter2\"]'", "the answer is not a JSON object"),
        ('echo \'{"Username":"hunter2"}\'', "the answer has no Username and Secret"),
        ("exec head -c 3000000 /dev/zero", "printed more than 1024 KiB"),
    ],
)
def test_t18_a_helper_that_fails_is_named_and_no_secret_shown(
    file: Path, helper: HelperProgram, script: str, text: str
) -> None:
    helper.write(f"#!/bin/sh\n{script}\n")
    with pytest.raises(EngineError) as refused:
        write(file, {"credsStore": "test"}).get(HOST)
    assert text in str(refused.value)
    assert "docker-credential-test" in str(refused.value)
    assert "hunter2" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_t18_a_helper_that_repeats_the_secret_is_not_repeated(file: Path, helper: HelperProgram) -> None:
    helper.write("#!/bin/sh\necho cannot keep hunter2\nexit 1\n")
    with pytest.raises(EngineError, match="store failed with exit code 1") as refused:
        write(file, {"credsStore": "test"}).store(HOST, Credential("me", "hunter2"))
    assert "hunter2" not in str(refused.value)
    assert json.loads(file.read_text()) == {"credsStore": "test"}


@pytest.mark.parametrize("script", ["exec sleep 60", "exec >&-; exec sleep 60"])
def test_a_helper_that_hangs_is_ended(
    file: Path, helper: HelperProgram, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tiffin.registry import credential_helpers

    helper.write(f"#!/bin/sh\n{script}\n")
    with pytest.raises(EngineError, match="did not"):
        credential_helpers.Helper("test", "x", timeout=0.3).get(HOST)


# ---- secrets


def test_t18_no_secret_is_in_a_repr() -> None:
    credential = Credential("me", "hunter2", "hunter2", "hunter2")
    assert "hunter2" not in f"{credential} {credential!r} {[credential]}"
    assert repr(Credential("me", "x")) == "Credential(username='me', secret=***)"
