"""What the lab says when it cannot go on: what failed, why, and what to do."""


class LabError(Exception):
    """A step that failed.

    Attributes:
        what: The thing that did not work, with its reason, in one line.
        advice: What the reader can do about it; may be empty.
        details: Raw text worth seeing (the end of a log file); may be empty.
    """

    def __init__(self, what: str, advice: str = "", details: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.advice = advice
        self.details = details
