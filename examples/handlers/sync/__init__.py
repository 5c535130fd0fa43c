"""Example handler: sync."""
