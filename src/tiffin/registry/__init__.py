"""OCI distribution: the client that images are pulled and pushed with, and the registry that tiffin itself serves.

    endpoints.py    a registry's name → where to ask, and how far to trust it     (settings, certs.d, mirrors)
    credentials.py  who the user is there                                         (~/.docker/config.json, helpers)
    auth.py         a challenge → an Authorization header                         (basic, bearer)
    transport.py    one request: pools, proxies, TLS, redirects, retries, limits  (urllib3)
    client.py       the API of a repository: resolve, fetch, push                 (distribution-spec)
    server/         the same API, served

Nothing here knows what an image is made of or where blobs are kept: bytes come from callers' streams and go to them.
"""
