"""The settings file: one TOML document, every option typed and documented here.

Read from /etc/tiffin/config.toml, then the user's own $XDG_CONFIG_HOME/tiffin/config.toml (~/.config), whose keys win;
$TIFFIN_CONFIG names one file instead of both. No file is no error: everything has a default. Loaded only by commands
that need it.
"""

import os

from tiffin.errors import InvalidArgument, PermissionDenied
from tiffin.typed import Any, NamedTuple

_FILE_MAX = 1 << 20


class RegistrySettings(NamedTuple):
    """[registries]"""

    mirrors: dict[str, tuple[str, ...]] = {}
    """registry → URLs that are asked before it, in order: `"docker.io" = ["https://mirror.example:5000"]`"""
    insecure: tuple[str, ...] = ()
    """registries (host, host:port) and networks (CIDR) that may be spoken to over http or with unverified TLS"""
    certs_dirs: tuple[str, ...] = ("/etc/tiffin/certs.d", "/etc/docker/certs.d")
    """directories of HOST[:PORT]/{*.crt,*.cert,*.key} as Docker has them"""
    downloads: int = 3
    """blobs fetched at once by one pull"""
    uploads: int = 5
    """blobs sent at once by one push"""
    stall_timeout: int = 30
    """seconds without a byte after which a transfer is broken off and resumed"""


class ImageSettings(NamedTuple):
    """[images]"""

    keep_compressed: bool = True
    """keep a layer's compressed blob once it is unpacked; false saves its bytes, and a later push or save makes it anew
    or fetches it again"""


class ContainerSettings(NamedTuple):
    """[containers]"""

    detach_keys: str = ""
    """keys that leave an attached container running, `"ctrl-p,ctrl-q"`; "" takes Docker's own setting, else these"""


class VolumeSettings(NamedTuple):
    """[volumes]"""

    plugin_sockets: tuple[str, ...] = ("/run/docker/plugins",)
    """directories with the sockets of volume plugins, NAME.sock"""
    plugin_specs: tuple[str, ...] = ("/etc/docker/plugins", "/usr/lib/docker/plugins")
    """directories with files that say where a plugin listens, NAME.spec or NAME.json"""
    plugin_timeout: int = 120
    """seconds that a plugin may take to make, mount, unmount or remove a volume"""


class NetworkSettings(NamedTuple):
    """[network]"""

    default_address: str = ""
    """where ports are published that name no address, `"127.0.0.1"`; "" is every address of the machine"""
    ipv6: bool = False
    """whether the default network has IPv6"""
    fixed_cidr_v6: str = ""
    """its subnet then, `"fd00:1::/64"`; "" is one of this engine's own"""


class Settings(NamedTuple):
    """Everything. `sources` are the files that were read."""

    registries: RegistrySettings = RegistrySettings()
    images: ImageSettings = ImageSettings()
    containers: ContainerSettings = ContainerSettings()
    volumes: VolumeSettings = VolumeSettings()
    network: NetworkSettings = NetworkSettings()
    sources: tuple[str, ...] = ()


def load_settings(environment: "dict[str, str] | None" = None) -> Settings:
    """The settings in force. Raises InvalidArgument naming file, key and what is wanted."""
    found = Settings()
    paths, required = _files(dict(os.environ) if environment is None else environment)
    for path in paths:
        document = _read(path, required)
        if document is not None:
            found = _merge(found, document, path)
    return found


def network_settings_of_ipv6(environment: "dict[str, str] | None" = None) -> NetworkSettings:
    """[network], of which `ipv6` and `fixed_cidr_v6` are right: no TOML is read where no file speaks of them, because
    a short command asks this."""
    environment = dict(os.environ) if environment is None else environment
    for path in _files(environment)[0]:
        try:
            with open(path, "rb") as file:
                if b"v6" in file.read(_FILE_MAX):
                    return load_settings(environment).network
        except OSError:
            continue
    return NetworkSettings()


def detach_keys(environment: "dict[str, str] | None" = None) -> str:
    """The keys in force: of the settings file, else `detachKeys` of Docker's own config.json, else Docker's default."""
    environment = dict(os.environ) if environment is None else environment
    return load_settings(environment).containers.detach_keys or _docker_keys(environment) or "ctrl-p,ctrl-q"


def _docker_keys(environment: dict[str, str]) -> str:
    directory = environment.get("DOCKER_CONFIG") or os.path.join(
        environment.get("HOME") or "/root", ".docker"
    )
    try:
        with open(f"{directory}/config.json", "rb") as file:
            data = file.read(_FILE_MAX + 1)
    except OSError:
        return ""
    import json

    try:
        keys = json.loads(data).get("detachKeys")
    except (ValueError, AttributeError, RecursionError):
        return ""  # Docker's file: what is wrong with it is said by what writes to it
    return keys if isinstance(keys, str) else ""


def _files(environment: dict[str, str]) -> tuple[tuple[str, ...], bool]:
    """The files to read, and whether each must exist."""
    if named := environment.get("TIFFIN_CONFIG"):
        return (named,), True
    home = environment.get("XDG_CONFIG_HOME") or os.path.join(environment.get("HOME") or "/root", ".config")
    return ("/etc/tiffin/config.toml", f"{home}/tiffin/config.toml"), False


def _read(path: str, required: bool) -> "dict[str, Any] | None":
    try:
        with open(path, "rb") as file:
            data = file.read(_FILE_MAX + 1)
    except (FileNotFoundError, NotADirectoryError):
        if required:
            raise InvalidArgument(f"no settings file {path}, which $TIFFIN_CONFIG names") from None
        return None
    except OSError as error:
        raise PermissionDenied(f"cannot read the settings file {path}: {error.strerror}") from error
    if len(data) > _FILE_MAX:
        raise InvalidArgument(f"{path} is larger than {_FILE_MAX >> 20} MiB; it cannot be a settings file")
    import tomllib  # 5 ms: only where there is a file

    try:
        return tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{path} is not valid TOML: {error}") from error


def _merge(settings: Settings, document: dict[str, Any], path: str) -> Settings:
    groups: dict[str, Any] = {name: getattr(settings, name) for name in Settings._fields if name != "sources"}
    for section, values in document.items():
        if section not in groups or not isinstance(values, dict):
            raise InvalidArgument(f"{path}: unknown section [{section}]; there are {', '.join(groups)}")
        for key, value in values.items():
            name = key.replace("-", "_")
            if name not in groups[section]._fields:
                raise InvalidArgument(
                    f"{path}: unknown key {key!r} in [{section}]{_near(name, groups[section])}"
                )
            default = getattr(type(groups[section])(), name)
            groups[section] = groups[section]._replace(
                **{name: _checked(value, default, f"{path}: {section}.{key}")}
            )
    return Settings(**groups, sources=(*settings.sources, path))


def _near(name: str, group: Any) -> str:
    import difflib

    close = difflib.get_close_matches(name, group._fields, 1)
    return f"; did you mean {close[0].replace('_', '-')!r}?" if close else ""


def _checked(value: Any, default: Any, where: str) -> Any:
    """`value` in the type of `default`: a list of strings becomes a tuple."""
    if isinstance(default, bool):
        if isinstance(value, bool):
            return value
        raise InvalidArgument(f"{where} must be true or false")
    if isinstance(default, int):
        if type(value) is int and value > 0:
            return value
        raise InvalidArgument(f"{where} must be a whole number above 0")
    if isinstance(default, str):
        if isinstance(value, str):
            return value
        raise InvalidArgument(f"{where} must be a string")
    if isinstance(default, dict):
        if isinstance(value, dict):
            return {str(name): _strings(urls, f"{where}.{name}") for name, urls in value.items()}
        raise InvalidArgument(f"{where} must be a table of lists")
    return _strings(value, where)


def _strings(value: Any, where: str) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise InvalidArgument(f"{where} must be a list of strings")
