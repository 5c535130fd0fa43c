"""Example handler: analytics."""
