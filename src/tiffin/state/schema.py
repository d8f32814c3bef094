"""Every table of the store of record, as an ordered list of migrations.

A migration is a list of statements run in one transaction; its index + 1 becomes `PRAGMA user_version`.
Append, never edit: databases out there have run the earlier ones. Times are nanoseconds since the epoch;
JSON columns hold one compact document. Reference counts are queries over these tables, never stored.
"""

_FIRST = [
    # An image is its config (id = config digest, Docker's image ID) and the manifest that carries it.
    """CREATE TABLE images (
        id TEXT PRIMARY KEY, manifest TEXT NOT NULL, media_type TEXT NOT NULL, manifest_size INTEGER NOT NULL,
        config TEXT NOT NULL, size INTEGER NOT NULL, created INTEGER NOT NULL, added INTEGER NOT NULL) STRICT""",
    """CREATE TABLE image_layers (
        image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE, position INTEGER NOT NULL,
        diff_id TEXT NOT NULL, blob TEXT NOT NULL, media_type TEXT NOT NULL, blob_size INTEGER NOT NULL,
        PRIMARY KEY (image, position)) STRICT, WITHOUT ROWID""",
    "CREATE INDEX image_layers_diff ON image_layers(diff_id)",
    "CREATE INDEX image_layers_blob ON image_layers(blob)",
    # name is the full reference, docker.io/library/alpine:latest
    "CREATE TABLE image_names (name TEXT PRIMARY KEY, image TEXT NOT NULL REFERENCES images(id)) STRICT",
    "CREATE INDEX image_names_image ON image_names(image)",
    # An unpacked layer under layers/<diff-id>/; size = bytes of its files
    "CREATE TABLE layers (diff_id TEXT PRIMARY KEY, size INTEGER NOT NULL, added INTEGER NOT NULL) STRICT",
    """CREATE TABLE build_cache (
        key TEXT PRIMARY KEY, diff_id TEXT, blob TEXT, media_type TEXT, blob_size INTEGER,
        detail TEXT NOT NULL, added INTEGER NOT NULL, used INTEGER NOT NULL) STRICT""",
    # record = what `create` fixed (see containers/record.py); the other columns are the state that changes.
    """CREATE TABLE containers (
        id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, image TEXT NOT NULL, record TEXT NOT NULL,
        auto_remove INTEGER NOT NULL, status TEXT NOT NULL, created INTEGER NOT NULL,
        pid INTEGER NOT NULL DEFAULT 0, pid_start INTEGER NOT NULL DEFAULT 0,
        supervisor INTEGER NOT NULL DEFAULT 0, supervisor_start INTEGER NOT NULL DEFAULT 0,
        boot_id TEXT NOT NULL DEFAULT '', exit_code INTEGER NOT NULL DEFAULT 0, error TEXT NOT NULL DEFAULT '',
        oom_killed INTEGER NOT NULL DEFAULT 0, started INTEGER NOT NULL DEFAULT 0,
        finished INTEGER NOT NULL DEFAULT 0) STRICT""",
    "CREATE INDEX containers_status ON containers(status)",
    "CREATE INDEX containers_image ON containers(image)",
    """CREATE TABLE networks (
        id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, driver TEXT NOT NULL, bridge TEXT NOT NULL,
        subnet TEXT NOT NULL, gateway TEXT NOT NULL, detail TEXT NOT NULL, created INTEGER NOT NULL) STRICT""",
    # Written before the veth, address and rules are made, so that whoever comes next can take them down.
    """CREATE TABLE endpoints (
        container TEXT NOT NULL, network TEXT NOT NULL, address TEXT NOT NULL, prefix INTEGER NOT NULL,
        gateway TEXT NOT NULL, mac TEXT NOT NULL, veth TEXT NOT NULL, ports TEXT NOT NULL,
        PRIMARY KEY (container, network), UNIQUE (network, address)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE published_ports (
        protocol TEXT NOT NULL, host_ip TEXT NOT NULL, host_port INTEGER NOT NULL,
        container TEXT NOT NULL, container_ip TEXT NOT NULL, container_port INTEGER NOT NULL,
        PRIMARY KEY (protocol, host_ip, host_port)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE volumes (
        name TEXT PRIMARY KEY, anonymous INTEGER NOT NULL, labels TEXT NOT NULL, created INTEGER NOT NULL) STRICT""",
    """CREATE TABLE volume_uses (
        container TEXT NOT NULL, volume TEXT NOT NULL REFERENCES volumes(name), destination TEXT NOT NULL,
        PRIMARY KEY (container, destination)) STRICT, WITHOUT ROWID""",
]

# `rmi --force` of an image that a stopped container still uses takes it out of sight; its layers must stay for
# the container, so its row stays too until the last such container is gone.
_REMOVED_IMAGES = ["ALTER TABLE images ADD COLUMN removed INTEGER NOT NULL DEFAULT 0"]

_REGISTRIES = [
    # An image index kept whole: the document is a blob; which of its images are here is in index_images.
    "CREATE TABLE indexes (digest TEXT PRIMARY KEY, media_type TEXT NOT NULL, size INTEGER NOT NULL) STRICT",
    """CREATE TABLE index_images (
        digest TEXT NOT NULL REFERENCES indexes(digest) ON DELETE CASCADE,
        image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
        PRIMARY KEY (digest, image)) STRICT, WITHOUT ROWID""",
    "CREATE INDEX index_images_image ON index_images(image)",
    # The index that the name stands for; '' = the manifest of the image itself.
    "ALTER TABLE image_names ADD COLUMN target TEXT NOT NULL DEFAULT ''",
    # Docker's RepoDigests: under which digest (manifest's or index's) a repository has the image.
    """CREATE TABLE image_digests (
        repository TEXT NOT NULL, digest TEXT NOT NULL, image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
        PRIMARY KEY (repository, digest, image)) STRICT, WITHOUT ROWID""",
    "CREATE INDEX image_digests_image ON image_digests(image)",
    # Repositories (registry/repository) that are known to hold a blob: to mount it from, to fetch it again.
    """CREATE TABLE blob_origins (
        blob TEXT NOT NULL, repository TEXT NOT NULL, PRIMARY KEY (blob, repository)) STRICT, WITHOUT ROWID""",
]

# What the embedded registry holds beside images: artifacts, indexes, the manifests below them, referrers.
_DOCUMENTS = [
    """CREATE TABLE registry_manifests (
        repository TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL, size INTEGER NOT NULL,
        subject TEXT NOT NULL, artifact_type TEXT NOT NULL, annotations TEXT NOT NULL, added INTEGER NOT NULL,
        PRIMARY KEY (repository, digest)) STRICT, WITHOUT ROWID""",
    "CREATE INDEX registry_manifests_digest ON registry_manifests(digest)",
    "CREATE INDEX registry_manifests_subject ON registry_manifests(subject)",
    # The blobs that such a manifest needs; those of an index are manifests.
    """CREATE TABLE registry_blobs (
        manifest TEXT NOT NULL, blob TEXT NOT NULL, PRIMARY KEY (manifest, blob)) STRICT, WITHOUT ROWID""",
    # What a full name stands for in the registry where image_names cannot say it: an artifact, an index, one of
    # several manifests of the same image. Whoever points the name elsewhere ends that.
    """CREATE TABLE registry_tags (
        name TEXT PRIMARY KEY, repository TEXT NOT NULL, digest TEXT NOT NULL) STRICT, WITHOUT ROWID""",
    """CREATE TRIGGER image_name_added AFTER INSERT ON image_names
        BEGIN DELETE FROM registry_tags WHERE name = NEW.name; END""",
    """CREATE TRIGGER image_name_changed AFTER UPDATE ON image_names
        BEGIN DELETE FROM registry_tags WHERE name = NEW.name; END""",
    """CREATE TRIGGER image_name_removed AFTER DELETE ON image_names
        BEGIN DELETE FROM registry_tags WHERE name = OLD.name; END""",
]

# One that nothing leads to is dropped after this moment: 0 once something has led to it.
_KEPT_DOCUMENTS = ["ALTER TABLE registry_manifests RENAME COLUMN added TO keep_until"]

# What happened, for `events`: the newest few thousand. AUTOINCREMENT, so that a reader sees every number once.
_EVENTS = [
    """CREATE TABLE events (
        number INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, type TEXT NOT NULL, action TEXT NOT NULL,
        actor TEXT NOT NULL, attributes TEXT NOT NULL) STRICT"""
]

# So that a store of ten thousand images is not read through: its configs are most of its bytes.
_LOOKUPS = [
    "CREATE INDEX images_listed ON images(created DESC, added DESC, id, size, removed)",
    "CREATE INDEX images_added ON images(added, id, manifest, media_type, manifest_size, removed)",
    "CREATE INDEX images_manifest ON images(manifest)",
    "CREATE INDEX image_names_target ON image_names(target)",
    "CREATE INDEX image_digests_digest ON image_digests(digest)",
    "CREATE INDEX registry_blobs_blob ON registry_blobs(blob)",
]

# What `update` changed of a container's limits: the fields of Resources by name, as JSON, over those of the record.
_CHANGED_LIMITS = ["ALTER TABLE containers ADD COLUMN limits TEXT NOT NULL DEFAULT ''"]

# policy: what `update` changes, see containers/policy.py; restarts: in a row, by the policy; stopped: by somebody, and
# not started since; health: '' without a check.
_KEEPING = [
    "ALTER TABLE containers ADD COLUMN policy TEXT NOT NULL DEFAULT '{}'",
    "ALTER TABLE containers ADD COLUMN restarts INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE containers ADD COLUMN stopped INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE containers ADD COLUMN health TEXT NOT NULL DEFAULT ''",
    # Apart from the row, which every command reads: some kilobytes a container.
    """CREATE TABLE health_logs (
        container TEXT PRIMARY KEY REFERENCES containers(id) ON DELETE CASCADE, streak INTEGER NOT NULL,
        log TEXT NOT NULL) STRICT, WITHOUT ROWID""",
]

# A volume may have a filesystem of its own. A row of volume_mounts: this container was started and has it mounted.
_VOLUME_DRIVERS = [
    "ALTER TABLE volumes ADD COLUMN options TEXT NOT NULL DEFAULT '{}'",
    """CREATE TABLE volume_mounts (
        volume TEXT NOT NULL, container TEXT NOT NULL, PRIMARY KEY (volume, container)) STRICT, WITHOUT ROWID""",
    "CREATE INDEX volume_mounts_container ON volume_mounts(container)",
    # Images that a container mounts beside its own: they are in use as that is.
    """CREATE TABLE mounted_images (
        container TEXT NOT NULL, image TEXT NOT NULL, PRIMARY KEY (container, image)) STRICT, WITHOUT ROWID""",
    """CREATE TRIGGER container_removed AFTER DELETE ON containers
        BEGIN DELETE FROM mounted_images WHERE container = OLD.id; END""",
    """CREATE VIEW image_users AS SELECT image, id, status, created FROM containers
        UNION ALL SELECT mounted_images.image, id, status, created FROM mounted_images
        JOIN containers ON id = container""",
]

# options of a network: see network/records.py. A container's memberships say which networks it joins when it starts, in
# order; without any it joins its record's. An endpoint is there while it runs.
_NETWORKS = [
    "ALTER TABLE networks ADD COLUMN options TEXT NOT NULL DEFAULT '{}'",
    "ALTER TABLE endpoints ADD COLUMN interface TEXT NOT NULL DEFAULT 'eth0'",
    "ALTER TABLE endpoints ADD COLUMN aliases TEXT NOT NULL DEFAULT '[]'",
    """CREATE TABLE memberships (
        container TEXT NOT NULL, position INTEGER NOT NULL, network TEXT NOT NULL, name TEXT NOT NULL,
        address TEXT NOT NULL, mac TEXT NOT NULL, aliases TEXT NOT NULL,
        PRIMARY KEY (container, network)) STRICT, WITHOUT ROWID""",
    """CREATE TRIGGER container_left AFTER DELETE ON containers
        BEGIN DELETE FROM memberships WHERE container = OLD.id; END""",
]

# Directories that RUN steps share from build to build: see build/running/cache_mounts.py. Times in nanoseconds.
_CACHE_MOUNTS = [
    """CREATE TABLE cache_mounts (
        name TEXT PRIMARY KEY, id TEXT NOT NULL, added INTEGER NOT NULL, used INTEGER NOT NULL)
        STRICT, WITHOUT ROWID""",
]

# Volumes that another program keeps. mountpoint: what it answered; failed: it did not take the unmounting, and is told
# again when the container starts, or goes.
_VOLUME_PLUGINS = [
    "ALTER TABLE volumes ADD COLUMN driver TEXT NOT NULL DEFAULT 'local'",
    "ALTER TABLE volume_mounts ADD COLUMN mountpoint TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE volume_mounts ADD COLUMN failed INTEGER NOT NULL DEFAULT 0",
]

# A network may have IPv6 beside IPv4, or alone: then `address` is ''.
_IPV6 = [
    "ALTER TABLE networks ADD COLUMN subnet6 TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE networks ADD COLUMN gateway6 TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE memberships ADD COLUMN address6 TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE endpoints RENAME TO endpoints_before",
    """CREATE TABLE endpoints (
        container TEXT NOT NULL, network TEXT NOT NULL, address TEXT NOT NULL, prefix INTEGER NOT NULL,
        gateway TEXT NOT NULL, mac TEXT NOT NULL, veth TEXT NOT NULL, ports TEXT NOT NULL,
        interface TEXT NOT NULL DEFAULT 'eth0', aliases TEXT NOT NULL DEFAULT '[]',
        address6 TEXT NOT NULL DEFAULT '', prefix6 INTEGER NOT NULL DEFAULT 0, gateway6 TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (container, network)) STRICT, WITHOUT ROWID""",
    """INSERT INTO endpoints
        (container, network, address, prefix, gateway, mac, veth, ports, interface, aliases)
        SELECT container, network, address, prefix, gateway, mac, veth, ports, interface, aliases
        FROM endpoints_before""",
    "DROP TABLE endpoints_before",
    "CREATE UNIQUE INDEX endpoints_address ON endpoints(network, address) WHERE address != ''",
    "CREATE UNIQUE INDEX endpoints_address6 ON endpoints(network, address6) WHERE address6 != ''",
]

# Containers under names of one's own choice: see network/links.py.
_LINKS = [
    """CREATE TABLE links (
        container TEXT NOT NULL, network TEXT NOT NULL, alias TEXT NOT NULL, target TEXT NOT NULL,
        PRIMARY KEY (container, network, alias)) STRICT, WITHOUT ROWID""",
    "CREATE INDEX links_target ON links(target)",
    """CREATE TRIGGER container_unlinked AFTER DELETE ON containers
        BEGIN DELETE FROM links WHERE container = OLD.id OR target = OLD.id; END""",
]

# Which of a container's networks is its way out: the one with the highest number.
_GATEWAYS = [
    "ALTER TABLE memberships ADD COLUMN gw_priority INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE endpoints ADD COLUMN gw_priority INTEGER NOT NULL DEFAULT 0",
]

MIGRATIONS: list[list[str]] = [
    _FIRST, _REMOVED_IMAGES, _REGISTRIES, _DOCUMENTS, _KEPT_DOCUMENTS, _EVENTS, _LOOKUPS,
    _CHANGED_LIMITS, _KEEPING, _VOLUME_DRIVERS, _NETWORKS, _CACHE_MOUNTS, _VOLUME_PLUGINS, _IPV6, _LINKS,
    _GATEWAYS,
]  # fmt: skip
