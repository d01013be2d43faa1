"""When the product was able to keep a promise: pure, from the faults of a run and how late the harness itself ran."""

from record import Fault, Record, is_of_nats

TOLD_SECONDS = 5.0
LAG_FACTOR = 3.0
NEVER = float("inf")


class Health:
    """Deadlines that wait for the end of every fault that is in their way."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.faults = sorted(record.faults, key=lambda fault: fault.began_at)

    def deadline(self, since: float, seconds: float = TOLD_SECONDS) -> float:
        """Until when something that is due since then has to be done; `NEVER` while a fault goes on."""
        due = since + seconds
        for fault in self.faults:
            if fault.began_at > due:
                break
            if fault.ended_at is None:
                return NEVER
            if fault.ended_at + fault.allowance > since:
                due = max(due, fault.ended_at + fault.allowance - TOLD_SECONDS + seconds)
        return due + LAG_FACTOR * self.record.lag(since, due)

    def is_well(self, since: float, until: float, target: str = "") -> bool:
        """Whether no fault (of this target, or of anything that is no other role) lay between."""
        return not any(self.touches(fault, target) and self.lies(fault, since, until) for fault in self.faults)

    @staticmethod
    def lies(fault: Fault, since: float, until: float) -> bool:
        return fault.began_at < until and (fault.ended_at is None or fault.ended_at > since)

    @staticmethod
    def touches(fault: Fault, target: str) -> bool:
        is_shared = is_of_nats(fault.target)
        return not target or is_shared or fault.target == target
