"""Example handler: automation."""
