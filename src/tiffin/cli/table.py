"""Every command, in one table: dispatch, `--help`, completion and the reference page are all made from it.

A command's module (`tiffin.cli.commands.<module>`) has
    DESCRIPTION   one paragraph
    EXAMPLES      lines of `# what` and `tiffin ...`
    arguments(parser)          its options and operands
    run(args, session) -> int  does it, returns the exit code
and is imported only when it is the command asked for.
"""

from tiffin.typed import NamedTuple


class Command(NamedTuple):
    """`words` is how the group form is typed ("container run"); `short` the form at the top ("run"), or ""."""

    words: str
    short: str
    module: str
    usage: str
    summary: str

    @property
    def shown(self) -> str:
        return self.short or self.words


COMMANDS = (
    Command(
        "container attach",
        "attach",
        "attach",
        "CONTAINER",
        "Attach to a running container's input and output",
    ),
    Command("image build", "build", "build", "[OPTIONS] PATH", "Build an image from a Dockerfile"),
    Command("builder du", "", "builder_du", "[OPTIONS]", "Show what the build cache holds"),
    Command("builder export", "", "builder_export", "[OPTIONS] ID", "Write a cache mount to a tar archive"),
    Command("builder history", "", "builder_history", "[OPTIONS]", "List the builds whose logs are kept"),
    Command("builder import", "", "builder_import", "ID [FILE|-]", "Unpack a tar archive into a cache mount"),
    Command("builder logs", "", "builder_logs", "[OPTIONS] [BUILD [STEP]]", "Show what a build said"),
    Command("builder prune", "", "builder_prune", "[OPTIONS]", "Remove the build cache"),
    Command(
        "container commit",
        "commit",
        "commit",
        "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
        "Make an image from a container's changes",
    ),
    Command(
        "image compact", "", "compact", "[OPTIONS] [IMAGE...]", "Remove compressed copies of unpacked layers"
    ),
    Command(
        "context ls",
        "",
        "context_ls",
        "[OPTIONS] [PATH]",
        "Show what of a directory a build can see, and why",
    ),
    Command(
        "container cp",
        "cp",
        "cp",
        "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|- | SRC_PATH|- CONTAINER:DEST_PATH",
        "Copy files between a container and the machine",
    ),
    Command(
        "container create", "create", "create", "[OPTIONS] IMAGE [COMMAND] [ARG...]", "Create a container"
    ),
    Command("container diff", "diff", "diff", "CONTAINER", "Show what changed in a container's files"),
    Command(
        "container exec",
        "exec",
        "exec",
        "[OPTIONS] CONTAINER COMMAND [ARG...]",
        "Run a command in a running container",
    ),
    Command(
        "container export",
        "export",
        "export",
        "[OPTIONS] CONTAINER",
        "Write a container's files to a tar archive",
    ),
    Command(
        "image history", "history", "history", "[OPTIONS] IMAGE", "Show the steps that an image was made by"
    ),
    Command("system fsck", "fsck", "fsck", "[OPTIONS]", "Verify everything that is stored, and repair it"),
    Command("system df", "", "system_df", "[OPTIONS]", "Show what takes up the disk"),
    Command("image ls", "images", "images", "[OPTIONS] [REPOSITORY[:TAG]]", "List images"),
    Command(
        "image import",
        "import",
        "import_",
        "[OPTIONS] FILE|- [REPOSITORY[:TAG]]",
        "Make an image from a tarball of a root filesystem",
    ),
    Command("system info", "info", "info", "[OPTIONS]", "Show facts about the engine and the machine"),
    Command(
        "inspect",
        "inspect",
        "inspect",
        "[OPTIONS] NAME|ID [NAME|ID...]",
        "Show everything about containers or images as JSON",
    ),
    Command(
        "container inspect",
        "",
        "inspect_container",
        "[OPTIONS] CONTAINER [CONTAINER...]",
        "Show everything about containers as JSON",
    ),
    Command(
        "image inspect",
        "",
        "inspect_image",
        "[OPTIONS] IMAGE [IMAGE...]",
        "Show everything about images as JSON",
    ),
    Command(
        "container kill", "kill", "kill", "CONTAINER [CONTAINER...]", "Send a signal to running containers"
    ),
    Command("image load", "load", "load", "[OPTIONS]", "Load images from an archive"),
    Command("login", "login", "login", "[OPTIONS] [SERVER]", "Log in to a registry"),
    Command("logout", "logout", "logout", "[SERVER]", "Log out from a registry"),
    Command("container logs", "logs", "logs", "[OPTIONS] CONTAINER", "Show what a container wrote"),
    Command(
        "manifest annotate",
        "",
        "manifest_annotate",
        "[OPTIONS] MANIFEST_LIST MANIFEST",
        "Say what platform an image of a list is for",
    ),
    Command(
        "manifest create",
        "",
        "manifest_create",
        "[OPTIONS] MANIFEST_LIST MANIFEST [MANIFEST...]",
        "Make a manifest list out of images in registries",
    ),
    Command(
        "manifest inspect",
        "",
        "manifest_inspect",
        "[OPTIONS] [MANIFEST_LIST] MANIFEST",
        "Show a manifest or manifest list in its registry",
    ),
    Command(
        "manifest push",
        "",
        "manifest_push",
        "[OPTIONS] MANIFEST_LIST",
        "Send a manifest list to its registry",
    ),
    Command(
        "manifest rm",
        "",
        "manifest_rm",
        "MANIFEST_LIST [MANIFEST_LIST...]",
        "Forget manifest lists made here",
    ),
    Command(
        "network connect",
        "",
        "network_connect",
        "[OPTIONS] NETWORK CONTAINER",
        "Let a container join a network",
    ),
    Command("network create", "", "network_create", "[OPTIONS] NETWORK", "Make a network"),
    Command(
        "network disconnect",
        "",
        "network_disconnect",
        "[OPTIONS] NETWORK CONTAINER",
        "Take a container out of a network",
    ),
    Command(
        "network inspect",
        "",
        "network_inspect",
        "[OPTIONS] NETWORK [NETWORK...]",
        "Show everything about networks as JSON",
    ),
    Command("network ls", "", "network_ls", "[OPTIONS]", "List networks"),
    Command("network prune", "", "network_prune", "[OPTIONS]", "Remove networks that no container has"),
    Command("network rm", "", "network_rm", "[OPTIONS] NETWORK [NETWORK...]", "Remove networks"),
    Command(
        "container port", "port", "port", "CONTAINER [PORT[/PROTO]]", "List a container's published ports"
    ),
    Command("container ls", "ps", "ps", "[OPTIONS]", "List containers"),
    Command("image prune", "", "prune_images", "[OPTIONS]", "Remove images that nothing needs"),
    Command("image push", "push", "push", "[OPTIONS] NAME[:TAG]", "Send an image to its registry"),
    Command(
        "registry serve", "", "registry_serve", "[OPTIONS]", "Offer this engine's images to other machines"
    ),
    Command("image pull", "pull", "pull", "[OPTIONS] NAME[:TAG|@DIGEST]", "Fetch an image from a registry"),
    Command(
        "container pause", "pause", "pause", "CONTAINER [CONTAINER...]", "Hold every process of containers"
    ),
    Command(
        "container unpause", "unpause", "unpause", "CONTAINER [CONTAINER...]", "Let paused containers go on"
    ),
    Command("container prune", "", "prune_containers", "[OPTIONS]", "Remove the containers that do not run"),
    Command("container rename", "rename", "rename", "CONTAINER NEW_NAME", "Give a container another name"),
    Command("container top", "top", "top", "CONTAINER [PS OPTIONS]", "Show the processes of a container"),
    Command("system events", "events", "events", "[OPTIONS]", "Show what happens to containers and images"),
    Command(
        "container restart", "restart", "restart", "[OPTIONS] CONTAINER [CONTAINER...]", "Restart containers"
    ),
    Command("container rm", "rm", "rm", "[OPTIONS] CONTAINER [CONTAINER...]", "Remove containers"),
    Command("image rm", "rmi", "rmi", "[OPTIONS] IMAGE [IMAGE...]", "Remove images"),
    Command(
        "container run", "run", "run", "[OPTIONS] IMAGE [COMMAND] [ARG...]", "Create and run a new container"
    ),
    Command("image save", "save", "save", "[OPTIONS] IMAGE [IMAGE...]", "Save images to an archive"),
    Command("search", "search", "search", "[OPTIONS] TERM", "Search Docker Hub, or a registry, for images"),
    Command(
        "container start", "start", "start", "[OPTIONS] CONTAINER [CONTAINER...]", "Start stopped containers"
    ),
    Command(
        "container stats", "stats", "stats", "[OPTIONS] [CONTAINER...]", "Show what containers use, live"
    ),
    Command(
        "container stop", "stop", "stop", "[OPTIONS] CONTAINER [CONTAINER...]", "Stop running containers"
    ),
    Command(
        "system install-units",
        "",
        "system_install_units",
        "[OPTIONS]",
        "Have systemd start containers with the machine",
    ),
    Command("system prune", "", "system_prune", "[OPTIONS]", "Remove what is not in use"),
    Command(
        "system start-containers",
        "",
        "system_start_containers",
        "",
        "Start the containers whose restart policy says so",
    ),
    Command(
        "system stop-containers",
        "",
        "system_stop_containers",
        "",
        "Stop every container, for the machine to go down",
    ),
    Command("image tag", "tag", "tag", "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", "Give an image another name"),
    Command("version", "version", "version", "[OPTIONS]", "Show the version"),
    Command(
        "container update",
        "update",
        "update",
        "[OPTIONS] CONTAINER [CONTAINER...]",
        "Change the limits of containers",
    ),
    Command("volume create", "", "volume_create", "[OPTIONS] [VOLUME]", "Make a volume"),
    Command(
        "volume export", "", "volume_export", "[OPTIONS] VOLUME", "Write what a volume holds to a tar archive"
    ),
    Command("volume import", "", "volume_import", "VOLUME [FILE|-]", "Unpack a tar archive into a volume"),
    Command(
        "volume inspect",
        "",
        "volume_inspect",
        "[OPTIONS] VOLUME [VOLUME...]",
        "Show everything about volumes as JSON",
    ),
    Command("volume ls", "", "volume_ls", "[OPTIONS]", "List volumes"),
    Command("volume prune", "", "volume_prune", "[OPTIONS]", "Remove volumes that no container has"),
    Command("volume rm", "", "volume_rm", "[OPTIONS] VOLUME [VOLUME...]", "Remove volumes"),
    Command("volume update", "", "volume_update", "[OPTIONS] VOLUME", "Change the labels of a volume"),
    Command(
        "container wait",
        "wait",
        "wait",
        "CONTAINER [CONTAINER...]",
        "Wait until containers stop, print their exit codes",
    ),
)

GROUPS = {
    "builder": "Builds",
    "container": "Containers",
    "context": "Build contexts",
    "image": "Images",
    "manifest": "Manifest lists",
    "network": "Networks",
    "registry": "Registries",
    "system": "The engine as a whole",
    "volume": "Volumes",
}

# Docker's second names for the same commands.
ALIASES = {
    "container list": "container ls",
    "container ps": "container ls",
    "context list": "context ls",
    "container remove": "container rm",
    "image list": "image ls",
    "image remove": "image rm",
    "network list": "network ls",
    "network remove": "network rm",
    "builder build": "image build",
    "volume list": "volume ls",
    "volume remove": "volume rm",
}


def find(words: list[str]) -> tuple[Command | None, int]:
    """The command that `words` begins with, and how many of the words name it; (None, 0) when none does."""
    if not words:
        return None, 0
    pair = " ".join(words[:2])
    pair = ALIASES.get(pair, pair)
    for command in COMMANDS:
        if command.words == pair:
            return command, len(command.words.split())
    for command in COMMANDS:
        if words[0] in (command.short, command.words):
            return command, 1
    return None, 0
