"""The promise that an ended subscription stays ended: none is among those that the edges say they hold."""

from ledger import Broken, Ledger


def check(ledger: Ledger) -> None:
    name = "what has ended stays ended"
    for at, watched in ledger.record.watched:
        for call_id, ended_at in ledger.record.unsubscribed.items():
            if ended_at >= at:
                continue
            ledger.promise(name)
            if call_id in watched:
                presentity = watched[call_id]
                what = f"an edge holds the dialog {call_id}, which its phone ended at {ended_at:.1f}"
                ledger.broken.append(Broken(name, presentity, ended_at, at, what))
