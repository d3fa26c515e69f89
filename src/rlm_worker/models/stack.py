"""The decorators around a model, put together once."""

from __future__ import annotations

from dataclasses import dataclass, field

from rlm_worker.budget.funding import Funded, Grant
from rlm_worker.budget.ledger import Ledger
from rlm_worker.ports import Clock, Deployment, Journal, Model

from .calls import Coalesced, FallingBack, Journalled, Lengthened, Limited, Retrying, Throttled, Timed
from .catalog import Catalog
from .concurrency import BackoffSignal, CapacityLimiter
from .latency import Latency
from .metered import Metered
from .pricing import Pricing


@dataclass(frozen=True, slots=True)
class ModelStack:
    """What the calls of one run have in common, and how each of them is made.

    A call goes, from the outside in:

    1. `Coalesced`: equal calls under way are one.
    2. `Journalled`: what was paid before is answered from the journal.
    3. `Limited`: the call is counted, and ends at the run's deadline.
    4. `Lengthened`: an answer that found no room to begin is asked for once more, with room.

    From here on each attempt is made anew:

    5. `Retrying`: again after a passing failure.
    6. `FallingBack`: another model where there is no capacity for this one.
    7. `Throttled`: as many at once as the platform takes.
    8. `Funded`: the key's account covers the attempt.
    9. `Metered`: the run's budget covers it; what came of it is written down before anyone hears of it.
    10. `Timed`: not longer than an attempt may take.

    Nothing is sent that 8 and 9 have not reserved, and nothing that was sent leaves 9 unbooked.
    """

    adapter: Model
    journal: Journal
    clock: Clock
    catalog: Catalog
    deployment: Deployment
    ledger: Ledger
    pricing: Pricing = field(default_factory=Pricing)
    latency: Latency = field(default_factory=Latency)
    backoff: BackoffSignal = field(default_factory=BackoffSignal)

    def build(self, grant: Grant) -> Model:
        """The model as a run's strategy sees it, spending that grant."""
        attempt = self._attempt(grant)
        retrying = Retrying(FallingBack(attempt, self.catalog), self.clock, self.deployment, self.backoff)
        limited = Limited(Lengthened(retrying, self.ledger, self.pricing), self.ledger)
        return Coalesced(Journalled(limited, self.journal, self.ledger))

    def _attempt(self, grant: Grant) -> Model:
        """One attempt at a call, once it has a slot."""
        timed = Timed(self.adapter, self.deployment.call_timeout_seconds)
        metered = Metered(timed, self.ledger, self.journal, self.pricing, self.catalog, self.clock, self.latency)
        funded = Funded(metered, self.ledger, grant, self.pricing, self.clock.now)
        first, most = self.deployment.first_concurrency, self.deployment.max_concurrency
        return Throttled(funded, CapacityLimiter(self.clock, first=first, most=most))
