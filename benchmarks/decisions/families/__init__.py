"""Question families by what they are made of: each module holds `FAMILIES`, name -> function that builds it."""
