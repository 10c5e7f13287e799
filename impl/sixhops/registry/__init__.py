"""The registry: Registry HTTP API V2 and OCI distribution 1.1 over one directory.

Rules
1. Nothing appears under its final name before it is complete, verified and synced; a kill at any instant
   loses at most the upload that was under way.
2. The directory has docker-registry's layout (`docker/registry/v2/blobs`, `.../repositories`), so either
   registry opens what the other wrote. What that layout has no place for lies in folders with a leading
   underscore, which docker-registry skips.
3. Memory does not grow with blob sizes, with the number of repositories, or with what a client sends.

How the rooms fit: `names`, `ranges`, `negotiation`, `references` and `errors` are pure; `files` knows durability
(and `wire.image.layout` paths); `blobs`, `uploads`, `manifests` and `referrers` are the stores; `maintenance` collects
and checks, `upkeep` does so unasked; `auth` and `tokens` know who may; `remote`, `downloads` and `mirror` fetch from
another registry; `pull`, `forms`, `lists` and `push` translate HTTP to calls on them; `server` routes.
"""
