"""The summary of a synchronization in one line."""

from __future__ import annotations

from omniagent_cli.stores.sync.driver import SyncReport
from omniagent_cli.ui.views import counted


def sync_summary(report: SyncReport, *, dry_run: bool = False) -> str:
    """Return what a synchronization did, or would do."""
    if not report.changes:
        return "Nothing to synchronize" if report.ok else "Nothing was synchronized"
    received, sent = (
        sum(getattr(c, name) for c in report.changes) for name in ("received", "sent")
    )
    removed = sum(change.removed_here + change.removed_there for change in report.changes)
    parts = [f"{counted(received, 'message')} received", f"{counted(sent, 'message')} sent"]
    if removed:
        parts.append(f"{counted(removed, 'message')} moved to the trash")
    verb = "Dry run: would synchronize" if dry_run else "Synchronized"
    return f"{verb} {counted(len(report.changes), 'session')}: {', '.join(parts)}"
