"""Who may ask again: the results that clients have not yet said they have."""

from wherry.store.entry import Outcome


class Session:
    """Results that a client may still ask for again: those from `oldest` on."""

    __slots__ = ("oldest", "results")

    def __init__(self, oldest: int = 0) -> None:
        self.oldest = oldest
        self.results: dict[int, Outcome] = {}

    def forget_below(self, oldest: int) -> None:
        """Drop the results that the client said it has."""
        if oldest <= self.oldest:
            return
        if oldest - self.oldest > len(self.results):
            self.results = {seq: got for seq, got in self.results.items() if seq >= oldest}
        else:
            for seq in range(self.oldest, oldest):
                self.results.pop(seq, None)
        self.oldest = oldest
