"""The distribution API, served (distribution-spec 1.1, and Docker's registry API v2 where that differs).

    shelf.py      what is served: a Protocol, answered by the engine's store
    app.py        one request: who asks, from where, for what; routes
    manifests.py, blobs.py, uploads.py, listing.py (tags, repositories, referrers)    the endpoints of one noun each
    desk.py       what the endpoints share: threads, limits, bodies read to a bounded end
    access.py     htpasswd, and the TLS context
    errors.py     refusals in the specification's JSON form
    serve.py      the listening socket, limits on connections, signals

Handlers run in one event loop; what touches a disk or the database runs in a few threads. Nothing here believes a
client: names and digests are matched whole before they are used, and every body, wait and count has an end.
"""
