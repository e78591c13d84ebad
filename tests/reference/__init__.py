"""The formulas as printed, pair by pair: slow, plain, and what the fast forms are held against."""
