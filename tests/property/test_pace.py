"""No sequence of questions, gifts back, refusals, ends and restarts passes a model's rate in any window."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from rlm_worker.pace.schedule import Caller, Schedule, slack_of
from rlm_worker.ports import Rate

CALLERS = st.tuples(st.sampled_from("ab"), st.sampled_from("123"))


class Model(RuleBasedStateMachine):
    """A model whose callers send each call when it is granted, or as late as they may."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0
        self.sent: list[float] = []
        self.granted: dict[Caller, list[float]] = {}

    @initialize(calls=st.integers(1, 40), seconds=st.sampled_from([6.0, 60.0]))
    def begin(self, calls: int, seconds: float) -> None:
        self.rate = Rate(calls, seconds)
        self.schedule = Schedule(self.rate)

    @rule(caller=CALLERS, wanted=st.integers(1, 60), ahead=st.integers(0, 16), late=st.floats(0, 1))
    def ask(self, caller: Caller, wanted: int, ahead: int, late: float) -> None:
        self.schedule.ask(caller, wanted, ahead, self.now)
        self.serve(late)

    @rule(seconds=st.floats(0, 30), late=st.floats(0, 1))
    def wait(self, seconds: float, late: float) -> None:
        until = self.now + seconds
        while (due := self.schedule.next_at(self.now)) is not None and due <= until:
            self.now = max(self.now + 0.001, due)
            self.serve(late)
        self.now = max(self.now, until)

    @rule(caller=CALLERS)
    def give_back(self, caller: Caller) -> None:
        """The last grant of a run, not used yet and never to be."""
        granted = self.granted.get(caller, [])
        if granted and granted[-1] > self.now:
            self.sent.remove(granted.pop())
            self.schedule.give_back(caller, 1)

    @rule(caller=CALLERS)
    def leave(self, caller: Caller) -> None:
        self.schedule.leave(caller)

    @rule(retry_after=st.floats(0, 100))
    def refuse(self, retry_after: float) -> None:
        self.schedule.refused(self.now, retry_after)

    @rule()
    def restart(self) -> None:
        known = list(self.schedule.recent())
        self.schedule = Schedule(self.rate)
        self.schedule.restore(known, self.now)
        self.granted.clear()

    def serve(self, late: float) -> None:
        for caller, count in self.schedule.serve(self.now):
            at = self.now + late * slack_of(self.rate)
            self.sent += [at] * count
            self.granted.setdefault(caller, []).extend([at] * count)

    @invariant()
    def rate_is_kept(self) -> None:
        times = sorted(self.sent)
        first = 0
        for last, at in enumerate(times):
            while times[first] <= at - self.rate.seconds:
                first += 1
            assert last - first < self.rate.calls

    @invariant()
    def somebody_is_next(self) -> None:
        due = self.schedule.next_at(self.now)
        assert due is None or due <= self.now + 200


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
