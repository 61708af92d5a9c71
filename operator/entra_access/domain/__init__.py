"""What is wanted, what is seen, and what follows: pure functions and values. No I/O and no clock."""
