"""What a reviewer does: decide, have it carried out, and the same again for what failed."""

from moderation.calls import API, Call, call_for
from moderation.cometchat import CallFailed, CometChat
from moderation.item import Item, Settlement, State
from moderation.queue import Queue


class Review:
    """The queue and CometChat together."""

    def __init__(self, queue: Queue, cometchat: CometChat, api: str = API) -> None:
        self._queue = queue
        self._cometchat = cometchat
        self._api = api

    def decide(self, number: int, verdict: State, by: str, note: str = "") -> Item:
        """
        Settle an item and have CometChat do what follows.

        The decision stands from the moment it is in the queue: should CometChat not be reachable (CallFailed), or the
        process end in between, `carry_out_due` makes the call later. Raises what Queue.decide raises, and BadSubject
        before anything was decided.
        """
        item = self._queue.item(number)
        call = call_for(item, verdict, self._api)
        decided = self._queue.decide(item, Settlement(verdict, item.latest, by, note), call)
        if call is not None:
            self._carry_out(number, call)
        return decided

    def carry_out_due(self) -> tuple[int, list[str]]:
        """Make every call that is due: how many are done now, and why the others are not."""
        done, failures = 0, []
        for number, call in self._queue.due():
            try:
                done += self._carry_out(number, call)
            except CallFailed as error:
                failures.append(str(error))
        return done, failures

    def _carry_out(self, number: int, call: Call) -> bool:
        if not self._cometchat.make(call):
            return False
        self._queue.made(number, call)
        return True
