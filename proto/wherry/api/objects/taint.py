"""What keeps pods off nodes, and what lets them on."""

from wherry.api.objects.view import View


class Taint(View, frozen=True, kw_only=True):
    """Entry of a Node's `.spec.taints`; effect NoSchedule, PreferNoSchedule or NoExecute."""

    key: str = ""
    effect: str = ""
    value: str = ""
    time_added: str | None = None


class Toleration(View, frozen=True, kw_only=True):
    """Entry of a Pod's `.spec.tolerations`; an empty effect means every effect."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""
    toleration_seconds: int | None = None

    def tolerates(self, taint: Taint) -> bool:
        """Tell whether this toleration covers `taint` (an empty key needs `Exists`)."""
        if self.effect and self.effect != taint.effect:
            return False
        if self.key and self.key != taint.key:
            return False
        if self.operator == "Exists":
            return True
        return bool(self.key) and self.value == taint.value
