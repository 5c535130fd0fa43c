"""What follows from what is true. Pure: no clock, no I/O, no logger, no framework; times and chance come as values."""
