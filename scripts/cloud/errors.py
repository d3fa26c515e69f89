"""What Cloudflare's API refuses, as sentences that say what to do: a table by code, and by words where none came."""

from __future__ import annotations

import re
from dataclasses import dataclass

from scripts.local.errors import LocalError

LOGIN_HINT = (
    "log in (`./scripts/wrangler login`, in a browser), or set CLOUDFLARE_API_TOKEN, and CLOUDFLARE_ACCOUNT_ID where "
    "the token sees several accounts"
)
_PAID = "https://dash.cloudflare.com/?to=/:account/workers/plans"


@dataclass(frozen=True, slots=True)
class Advice:
    """What an error means and what to do about it; `words` find it where the answer has no code."""

    code: int
    meaning: str
    remedy: str
    words: str = ""


ADVICE = (
    Advice(
        100328,
        "this account is on the Workers Free plan, which takes no `limits.cpu_ms`",
        f"subscribe to Workers Paid ($5 a month): {_PAID}; or try with --plan free, which leaves out the limit and "
        "the REPL (10 ms of CPU a request are less than a run needs)",
        r"CPU limits are not supported",
    ),
    Advice(
        10089,
        "Analytics Engine is not switched on in this account",
        "switch it on once, at no cost: dashboard, Workers & Pages, Analytics Engine; wait a minute or two, run this "
        "again",
        r"enable Analytics Engine",
    ),
    Advice(
        10042,
        "R2 is not switched on in this account",
        "switch it on once: dashboard, R2 Object Storage (it asks for a way to pay; 10 GB a month are free)",
        r"enable R2",
    ),
    Advice(
        10063,
        "this account has no workers.dev subdomain yet",
        "choose one: dashboard, Workers & Pages, Overview; then run this again",
        r"workers\.dev subdomain",
    ),
    Advice(
        10097,
        "on the Workers Free plan Durable Objects must keep SQLite, which these do",
        "look whether `new_sqlite_classes` in wrangler.toml has been changed",
        r"Durable Objects with a free plan",
    ),
    Advice(10000, "Cloudflare does not accept the token", LOGIN_HINT, r"Authentication error"),
    Advice(9109, "the token may not do this, or has been withdrawn", LOGIN_HINT, r"Invalid access token|Unauthorized"),
    Advice(9106, "no token was sent", LOGIN_HINT),
    Advice(10001, "Cloudflare cannot read the token", LOGIN_HINT),
    Advice(
        10013,
        "Cloudflare had an error of its own",
        "run this again in a minute: what has been made is found again",
    ),
    Advice(
        10021,
        "Cloudflare has refused the Worker as it was uploaded",
        "its output above says why; a start-up that takes too long passes at a second try",
        r"startup",
    ),
    Advice(
        10074,
        "the migrations of Durable Objects on the account and in wrangler.toml do not follow each other",
        "deploy a version whose wrangler.toml has every migration that was deployed before",
        r"migration",
    ),
    Advice(
        0,
        "the account may have no more queues",
        "delete one that is not used: dashboard, Queues",
        r"queue limit",
    ),
    Advice(
        0,
        "Dynamic Workers need the Workers Paid plan",
        f"subscribe: {_PAID}; or deploy without the REPL: --plan free",
        r"(worker.?loaders?|dynamic workers?)\b.*\b(paid|plan|not (enabled|entitled|available))",
    ),
    Advice(
        0,
        "this needs the Workers Paid plan",
        f"subscribe: {_PAID}",
        r"(requires?|need(s|ed)?|upgrade to|switch to) (a |the )?(workers )?paid",
    ),
    Advice(
        0,
        "Cloudflare's API cannot be reached",
        "look whether this machine reaches it, through a proxy if there is one",
        r"fetch failed|ENOTFOUND|ECONNREFUSED|EAI_AGAIN|ETIMEDOUT",
    ),
    Advice(0, "wrangler is not logged in to an account", LOGIN_HINT, r"Not logged in|non-interactive environment"),
)
_CODE = re.compile(r"\[code: (\d+)\]|\"code\":\s*(\d+)")


class CloudflareError(LocalError):
    """What the API has refused; `codes` are those of its answer, `status` that of HTTP, 0 where there was none."""

    def __init__(
        self, message: str, *, hint: str = "", output: str = "", codes: tuple[int, ...] = (), status: int = 0
    ) -> None:
        super().__init__(message, hint=hint, output=output)
        self.codes = codes
        self.status = status

    @property
    def is_absence(self) -> bool:
        """Whether what was asked for is not there."""
        return self.status == 404


def explained(output: str, *, what: str, status: int = 0, codes: tuple[int, ...] = ()) -> CloudflareError:
    """The error in what wrangler or the API have said while they did `what`."""
    found = codes or tuple(int(one or other) for one, other in _CODE.findall(output))
    advice = advice_for(found, output)
    if advice is None:
        return CloudflareError(
            f"{what} failed", hint="mend what it says and run this again", output=output, codes=found, status=status
        )
    return CloudflareError(f"{what}: {advice.meaning}", hint=advice.remedy, output=output, codes=found, status=status)


def advice_for(codes: tuple[int, ...], output: str) -> Advice | None:
    """By code, where the table has it; else by what was said."""
    by_code = [advice for advice in ADVICE if advice.code and advice.code in codes]
    by_words = [
        advice for advice in ADVICE if advice.words and re.search(advice.words, output, re.IGNORECASE | re.DOTALL)
    ]
    return next(iter([*by_code, *by_words]), None)
