"""Which states a presentity's features had, by version: pure, from events, replies and gets."""

from collections import defaultdict
from dataclasses import dataclass

from record import FEATURES, Key, Made, Record

UNKNOWN = 1 << 60  # the version of a state of which only a phone heard: it may be any, and breaks nothing


@dataclass(frozen=True)
class View:
    """What a phone was told at a time, and the highest version that it was told until then."""

    highest: int
    serial: int
    at: float


class History:
    """Each version's state, and each phone's view of them over time."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.serials: dict[Key, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))  # version -> serials
        self.versions: dict[tuple[Key, int], set[int]] = defaultdict(set)  # key, serial -> versions
        first: dict[tuple[Key, int], Made] = {}
        for made in record.made:
            self.serials[made.key][made.version].add(made.serial)
            self.versions[made.key, made.serial].add(made.version)
            known = first.get((made.key, made.version))
            if made.source != "old state of an event" and made.version and (known is None or made.at < known.at):
                first[made.key, made.version] = made
        # the earliest evidence of each version that was there at that time
        self.made: dict[Key, list[Made]] = defaultdict(list)
        for made in sorted(first.values(), key=lambda made: made.at):
            self.made[made.key].append(made)
        self.views: dict[tuple[str, str], list[View]] = defaultdict(list)
        self.watch()

    def watch(self) -> None:
        """What each phone was told of each feature, over time."""
        highest: dict[tuple[str, str], int] = defaultdict(int)
        for notify in self.record.notifies:
            if not notify.is_taken:
                continue
            for feature, serial in notify.states.items():
                phone = notify.dialog.phone, feature
                version = self.version((notify.dialog.presentity, feature), serial, highest[phone])
                self.views[phone].append(View(max(highest[phone], version), serial, notify.at))
                if version != UNKNOWN:
                    highest[phone] = max(highest[phone], version)

    def version(self, key: Key, serial: int, highest: int) -> int:
        """The version of a state that a phone was told, whose highest was this.

        Of a state that was made more than once it is the first that is not older.
        """
        if serial == 0:
            return 0
        versions = sorted(self.versions.get((key, serial), {UNKNOWN}))
        return next((version for version in versions if version >= highest), versions[-1])

    def is_at_least(self, key: Key, serial: int, version: int) -> bool:
        """Whether a state was made by this version, or by a later one."""
        return any(made >= version for made in self.versions.get((key, serial), ()))

    def shown_at(self, phone: str, made: Made) -> float | None:
        """When the phone showed this state or a later one for the first time."""
        for view in self.views[phone, made.key[1]]:
            if view.highest >= made.version or view.serial == made.serial:
                return view.at
        return None

    def latest(self, key: Key, before: float) -> Made | None:
        """The highest version that is known to have been made before."""
        earlier = [made for made in self.made[key] if made.at < before]
        return max(earlier, key=lambda made: made.version, default=None)

    def gaps(self, key: Key) -> int:
        """How many versions nobody told of."""
        last = max(self.serials[key], default=0)
        return last - len([version for version in self.serials[key] if 0 < version <= last])

    def keys(self) -> list[Key]:
        presentities = sorted({dialog.presentity for dialog in self.record.dialogs})
        return [(presentity, feature) for presentity in presentities for feature in FEATURES]
