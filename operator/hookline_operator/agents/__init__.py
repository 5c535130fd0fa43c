"""What receiver pods say of themselves: which revisions they serve, which credentials were used."""
