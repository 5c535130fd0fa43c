"""The agent's metrics: few, and as many for ten thousand subscriptions as for none."""

from collections.abc import Mapping

KINDS = {
    "hookline_agent_in_sync": ("gauge", "Whether the watches are alive and everything published is served."),
    "hookline_agent_ready": ("gauge", "Whether the pod has served what is published."),
    "hookline_agent_snapshot_complete": ("gauge", "Whether there is a whole snapshot."),
    "hookline_agent_heard_seconds": ("gauge", "Seconds since the API server last said something; -1: never."),
    "hookline_agent_snapshot_age_seconds": (
        "gauge",
        "Seconds since the snapshot in force was written; -1: before this start.",
    ),
    "hookline_agent_unserved_seconds": ("gauge", "Seconds for which what is published has not been served by all."),
    "hookline_agent_bad_tables": ("gauge", "Tables that are missing, not whole, or not what their hash says."),
    "hookline_agent_subscriptions": ("gauge", "Subscriptions in the snapshot."),
    "hookline_agent_held_back": ("gauge", "New subscriptions that wait for the forwarder to know them."),
    "hookline_agent_leaving": ("gauge", "Removed subscriptions that the forwarder keeps for now."),
    "hookline_agent_tags_incomplete": (
        "gauge",
        "Whether there are tables whose tagKey is not mounted: passwords are verified without tags.",
    ),
    "hookline_agent_lists_total": ("counter", "Lists of all tables."),
    "hookline_agent_watch_interruptions_total": ("counter", "Watches that ended."),
    "hookline_agent_parts_written_total": ("counter", "Files of parts that were written."),
    "hookline_agent_snapshots_written_total": ("counter", "Indexes that were written."),
    "hookline_agent_streams": ("gauge", "Operators that are told."),
}
"""Type and meaning of each, by name."""


def page(values: Mapping[str, float]) -> bytes:
    """The page of *values*, by name without the prefix."""
    lines: list[str] = []
    for name, (kind, help_) in KINDS.items():
        lines += [f"# HELP {name} {help_}", f"# TYPE {name} {kind}"]
        lines.append(f"{name} {values[name.removeprefix('hookline_agent_')]:g}")
    return ("\n".join(lines) + "\n").encode()
