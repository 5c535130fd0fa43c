"""Example handler: moderation."""
