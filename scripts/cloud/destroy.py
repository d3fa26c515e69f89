"""`scripts/deploy --destroy`: everything that a deployment has on its account, listed, then deleted for good."""

from __future__ import annotations

from collections.abc import Callable

from scripts.cloud.api import CloudflareAPI
from scripts.cloud.config import Target
from scripts.cloud.errors import CloudflareError
from scripts.cloud.plan import Found
from scripts.local.processes import say

_TELL_EVERY = 500


def what_goes(api: CloudflareAPI, target: Target, found: Found) -> list[str]:
    """A line for each thing that is there; empty where nothing is."""
    worker = []
    if found.secrets is not None:
        worker.append(f"the Worker {target.worker}, with every session, batch, account and key in its Durable Objects")
        worker += [f"its secret {name}" for name in found.secrets]
    return [
        *worker,
        *(f"the R2 bucket {name}, {_contents(api, name)}" for name in found.buckets),
        *(f"the queue {name}, with what waits in it" for name in found.queues),
        *(f"the KV namespace {title}, with every cached result" for title in found.namespaces),
    ]


def what_stays(target: Target) -> str:
    """What nobody can delete."""
    return f"Analytics Engine keeps the points of {', '.join(target.datasets)} for three months; they hold no texts."


def destroy(api: CloudflareAPI, target: Target, found: Found) -> None:
    """Deletes it; what is gone already is passed over, so it may be repeated.

    The Worker goes first: from then on nobody writes into the rest, and nothing refers to it.
    """
    if found.secrets is not None:
        _gone(f"the Worker {target.worker}", lambda: api.call("DELETE", f"/workers/scripts/{target.worker}?force=true"))
    queues = api.queues()
    for name in found.queues:
        _gone(f"the queue {name}", lambda name=name: api.call("DELETE", f"/queues/{queues[name]}"))  # type: ignore[misc]
    for title, id_ in found.namespaces.items():
        _gone(f"the KV namespace {title}", lambda id_=id_: api.call("DELETE", f"/storage/kv/namespaces/{id_}"))  # type: ignore[misc]
    for bucket in found.buckets:
        _empty(api, bucket)
        _gone(f"the R2 bucket {bucket}", lambda bucket=bucket: api.call("DELETE", f"/r2/buckets/{bucket}"))  # type: ignore[misc]


def _gone(what: str, delete: Callable[[], object]) -> None:
    say(f"deleting {what}")
    try:
        delete()
    except CloudflareError as error:
        if not error.is_absence:
            raise


def _empty(api: CloudflareAPI, bucket: str) -> None:
    for number, found in enumerate(api.objects(bucket), start=1):
        api.delete_object(bucket, str(found["key"]))
        if number % _TELL_EVERY == 0:
            say(f"{number:,} objects of {bucket} are deleted")


def _contents(api: CloudflareAPI, bucket: str) -> str:
    count, size = 0, 0.0
    for found in api.objects(bucket):
        count += 1
        size += float(str(found.get("size") or 0))
    return f"with {count:,} objects, {size / 1e6:,.1f} MB"
