"""What is true in the cluster: feeds say that something changed, `cluster` holds it typed, `verification` finds what feeds missed."""
