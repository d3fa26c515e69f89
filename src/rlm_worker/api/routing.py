"""What rules would choose for a question, and what it would be by each policy: nothing is asked and nothing paid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from rlm_worker.http import Call, Handler, HttpResponse, read_json
from rlm_worker.routing.decide import Question, Router
from rlm_worker.settings import Settings
from rlm_worker.wire.requests import RoutingQuestion, refusal, with_defaults
from rlm_worker.wire.results import RoutingPreview
from rlm_worker.wire.routing import Routing

_MAX_BYTES = 262_144


@dataclass(frozen=True, slots=True)
class RoutingRoutes:
    """The handler over a deployment's rules."""

    settings: Settings

    def handlers(self) -> Mapping[str, Handler]:
        """By the name of its operation."""
        return {"previewRouting": self.preview}

    async def preview(self, call: Call) -> HttpResponse:
        body = await read_json(call.request, _MAX_BYTES, self.settings.body_idle_seconds)
        try:
            asked = RoutingQuestion.model_validate_json(bytes(body))
        except ValidationError as error:
            raise refusal(error) from None
        return HttpResponse.of_json_text(200, self._previewed(asked, call.owner).to_json())

    def _previewed(self, asked: RoutingQuestion, owner: str) -> RoutingPreview:
        question = Question(asked.query, asked.characters, owner)
        config = with_defaults(asked.config, self.settings.defaults)
        router = Router(self.settings.routing, self.settings.catalog, has_sandbox=self.settings.has_sandbox)
        alternatives: dict[str, Routing] = {}
        for policy in self.settings.routing.callers:
            alternatives[policy] = router.decide(config.model_copy(update={"routing": policy}), question).routing
        return RoutingPreview(routing=router.decide(config, question).routing, alternatives=alternatives)
