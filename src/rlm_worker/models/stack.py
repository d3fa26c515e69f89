"""The decorators around a model, put together once."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from rlm_worker.budget.funding import Funded, Funds
from rlm_worker.budget.ledger import Ledger
from rlm_worker.pace.client import RunPace
from rlm_worker.pace.paced import Paced
from rlm_worker.ports import Clock, Deployment, Journal, Model

from .calls import Coalesced, FallingBack, Journalled, Lengthened, Limited, Retrying, SchemaOptional, Throttled, Timed
from .catalog import Catalog
from .chains import Chains
from .concurrency import BackoffSignal, CapacityLimiter
from .latency import Latency
from .metered import Metered
from .pricing import Pricing

# What a judge's call may take: attempts, and seconds for each of them and for coming back later.
_JUDGE_ATTEMPTS, _JUDGE_SECONDS = 3, 30.0


@dataclass(frozen=True, slots=True)
class ModelStack:
    """What the calls of one run have in common, and how each of them is made.

    A call goes, from the outside in:

    1. `Coalesced`: equal calls under way are one.
    2. `Journalled`: what was paid before is answered from the journal.
    3. `Limited`: the call is counted, and ends at the run's deadline.
    4. `Lengthened`: an answer that found no room to begin is asked for once more, with room.
    5. `SchemaOptional`: an answer that cannot be held to its schema is asked for once more, without.

    From here on each attempt is made anew:

    6. `Retrying`: again after a passing failure.
    7. `FallingBack`: the next model of the chain where this one has no room, no answer in time, or a rule says so.
    8. `Throttled`: as many at once as the platform takes.
    9. `Funded`: the key's account covers the attempt.
    10. `Paced`: the account's rate has a place for it.
    11. `Metered`: the run's budget covers it; what came of it is written down before anyone hears of it.
    12. `Timed`: not longer than an attempt may take.

    Nothing is sent that 9 and 11 have not reserved, and nothing that was sent leaves 11 unbooked. Waiting for a place
    is no part of an attempt: it costs nothing and counts in no time-out but the run's.
    """

    adapter: Model
    journal: Journal
    clock: Clock
    catalog: Catalog
    deployment: Deployment
    ledger: Ledger
    pace: RunPace
    pricing: Pricing = field(default_factory=Pricing)
    latency: Latency = field(default_factory=Latency)
    backoff: BackoffSignal = field(default_factory=BackoffSignal)
    chains: Chains | None = None

    def build(self, funds: Funds) -> Model:
        """The model as a run's strategy sees it, spending those funds."""
        attempt = self._attempt(funds, self.deployment.call_timeout_seconds)
        patience = math.inf if self.ledger.limits.deadline is not None else self.deployment.patience_seconds
        chains = self.chains or Chains(self.catalog, self.clock, self.pricing)
        falling_back = FallingBack(attempt, chains, self.journal)
        retrying = Retrying(falling_back, self.clock, self.deployment, patience, self.backoff)
        lengthened = Lengthened(SchemaOptional(retrying), self.ledger, self.pricing)
        limited = Limited(lengthened, self.ledger)
        return Coalesced(Journalled(limited, self.journal, self.ledger))

    def build_judge(self, funds: Funds) -> Model:
        """The same for judges, who are given up soon: words can always take their place."""
        limits = self.deployment
        hasty = replace(
            limits,
            attempts=min(limits.attempts, _JUDGE_ATTEMPTS),
            call_timeout_seconds=min(limits.call_timeout_seconds, _JUDGE_SECONDS),
        )
        attempt = self._attempt(funds, hasty.call_timeout_seconds)
        retrying = Retrying(attempt, self.clock, hasty, min(limits.patience_seconds, _JUDGE_SECONDS), self.backoff)
        return Coalesced(Journalled(Limited(retrying, self.ledger), self.journal, self.ledger))

    def _attempt(self, funds: Funds, seconds: float) -> Model:
        """One attempt at a call, once it has a slot."""
        timed = Timed(self.adapter, seconds)
        metered = Metered(timed, self.ledger, self.journal, self.pricing, self.catalog, self.clock, self.latency)
        funded = Funded(Paced(metered, self.pace), funds, self.pricing)
        first, most = self.deployment.first_concurrency, self.deployment.max_concurrency
        return Throttled(funded, CapacityLimiter(self.clock, first=first, most=most))
