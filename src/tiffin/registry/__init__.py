"""OCI distribution: the client that images are pulled and pushed with, and the registry that tiffin itself serves.

    endpoints.py    a registry's name → where to ask, and how far to trust it     (settings, certs.d, mirrors)
    credentials.py  who the user is there                                         (~/.docker/config.json, helpers)
    auth.py         a challenge → an Authorization header, and requests with it   (basic, bearer)
      challenges.py, scopes.py, realms.py, tokens.py
    transport.py    one request: redirects, retries, limits, what is told of it   (urllib3)
      pools.py, proxies.py, response.py, bounded.py, waiting.py, redact.py
      origin.py     where a URL leads, and whether a registry may lead us there
    client.py       all registries, for one user: repositories, login, search     (distribution-spec)
      route.py      the addresses of one registry in the order in which they are tried
      repository.py the API of a repository: resolve, fetch, push
      blobs.py, uploads.py, referrers.py, pages.py, problems.py, search.py
    server/         the same API, served

Nothing here knows what an image is made of or where blobs are kept: bytes come from callers' streams and go to them.
"""
