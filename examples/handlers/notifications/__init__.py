"""Example handler: notifications."""
